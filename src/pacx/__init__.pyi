from .inference.encoder import Encoder as Encoder
from .inference.encoder import load_encoder as load_encoder

__version__: str
