"""One file per objective: what an image embedding is pulled towards, with the heads that die with training."""
