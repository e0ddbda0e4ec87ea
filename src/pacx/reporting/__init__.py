"""Result rows and run folders in; tables, figures and one self-contained page out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
