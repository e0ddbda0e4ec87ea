"""The encoder in people's hands: the image alone, nothing of training."""
