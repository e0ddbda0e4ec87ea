"""PaCX: chest X-ray encoders that have learnt physiology. Research software, not a medical device.

The names that a room offers stand in its ``__init__.pyi``; they are loaded when they are first used, so that importing
``pacx`` or a room of it imports nothing else.
"""

from importlib import metadata

import lazy_loader

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__version__ = metadata.version("pacx")
__all__ = [*_names, "__version__"]
