"""One file per kind of hospital copy that can be linked; each carries a ``SOURCE``."""
