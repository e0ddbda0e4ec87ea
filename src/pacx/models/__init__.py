"""Networks and their files on disk; each knows tensors, none knows where data comes from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
