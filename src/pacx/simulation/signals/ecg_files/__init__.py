"""Simulated ECGs as carts and archives write them: one file a format, none of which knows a reader."""
