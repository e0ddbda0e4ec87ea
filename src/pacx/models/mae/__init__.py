"""The masked autoencoder of films: network, decoders, checkpoints of others, arithmetic per step."""
