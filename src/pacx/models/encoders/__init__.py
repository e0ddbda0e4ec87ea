"""Film encoders: our folder, timm's and transformers' models, and opening one by name."""
