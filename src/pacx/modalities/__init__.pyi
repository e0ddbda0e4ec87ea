from .modality import EmbeddingJob as EmbeddingJob
from .modality import EmbeddingSettings as EmbeddingSettings
from .modality import Modality as Modality
from .modality import ModalityCard as ModalityCard
from .targets import FrozenTargets as FrozenTargets
from .targets import open_targets as open_targets
