"""What result rows call the encoders that everybody compares: recipes write it, reports read it."""

MAE, PACX, RANDOM, IMAGENET = "mae", "pacx", "random", "imagenet"
ECG_ONLY, LABS_ONLY = "ecg-only", "labs-only"
CONTRASTIVE_ONLY, REGRESSION_ONLY = "contrastive-only", "regression-only"
ABLATIONS = (ECG_ONLY, LABS_ONLY, CONTRASTIVE_ONLY, REGRESSION_ONLY)
"""The columns of the paper's Table 3 beside the full recipe."""
