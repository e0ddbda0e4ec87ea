from .demo import DemoConfig as DemoConfig
from .demo import run_demo as run_demo
