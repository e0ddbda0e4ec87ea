"""One file per physiological signal: raw recordings in, frozen target embeddings out."""
