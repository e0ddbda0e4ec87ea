"""Is it better? Protocols on frozen encoders, each ending in result rows with intervals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
