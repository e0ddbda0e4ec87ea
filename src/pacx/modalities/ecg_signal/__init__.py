"""ECG recordings: reading their files, filtering them, and why one is not let through."""
