"""An encoder in a user's hands: opening it, embedding films, applying its heads. Nothing of training."""
