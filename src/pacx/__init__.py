"""PaCX: chest X-ray encoders that have learnt physiology. Research software, not a medical device."""
