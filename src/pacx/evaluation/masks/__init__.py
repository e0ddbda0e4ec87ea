"""How well masks can be decoded from patch tokens."""
