"""One image file in, one grey film out: the door through which a stranger's file enters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
