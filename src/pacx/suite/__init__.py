"""Every protocol on every pack for every encoder, and the certificate that can be held against the files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
