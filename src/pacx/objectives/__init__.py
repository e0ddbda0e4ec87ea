"""One file per objective: what an image embedding is pulled towards, with the heads that die with training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
