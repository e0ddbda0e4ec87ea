"""Official files to records to packs to batches: the only way a film enters the project."""
