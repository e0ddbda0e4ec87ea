"""A pack of ECGs: recordings read, checked, filtered and hashed once, the only thing anything downstream reads."""
