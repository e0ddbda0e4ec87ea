"""One file per physiological signal: raw recordings in, frozen target embeddings out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
