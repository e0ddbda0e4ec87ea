"""Official files to records to packs to batches: the only way a film enters the project."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
