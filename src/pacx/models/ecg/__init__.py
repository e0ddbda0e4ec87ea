"""Encoders of electrocardiograms: ECGFounder, and a masked autoencoder of one's own."""
