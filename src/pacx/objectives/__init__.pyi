from .config import ObjectiveConfig as ObjectiveConfig
from .objective import Objective as Objective
