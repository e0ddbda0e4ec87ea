"""An encoder folder to what others run: ONNX graphs, their parity with torch, a card."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
