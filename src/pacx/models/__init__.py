"""Networks and their files on disk; each knows tensors, none knows where data comes from."""
