"""What lies beside an encoder: classifier, read-outs, reference films. Numpy alone."""
