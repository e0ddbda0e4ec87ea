"""One file per dataset: an official tree in, records out. Nothing else knows a dataset's name."""
