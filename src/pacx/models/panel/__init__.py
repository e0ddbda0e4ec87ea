"""The denoising autoencoder over a panel of measurements, and the paper's fifty laboratory tests."""
