from .config import TrainingConfig as TrainingConfig
