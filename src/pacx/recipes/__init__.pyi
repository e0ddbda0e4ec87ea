from .distill import DistillRun as DistillRun
from .ecg import EcgRun as EcgRun
from .ecg_measures import EcgMeasuresRun as EcgMeasuresRun
from .labs import LabsRun as LabsRun
from .mae import MAERun as MAERun
from .run import Run as Run
from .run import recipe as recipe
from .vitals import VitalsRun as VitalsRun
