from .config import SuiteConfig as SuiteConfig
from .suite import Suite as Suite
from .verification import verify as verify
