"""What is fitted to frozen embeddings, and how well it does: probes, neighbours, read-outs, reference films."""
