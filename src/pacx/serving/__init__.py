"""The HTTP server: requests in, answers out. No torch, nothing of training."""
