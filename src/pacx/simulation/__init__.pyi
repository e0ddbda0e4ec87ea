from .hospital import HospitalConfig as HospitalConfig
from .hospital import write_hospital as write_hospital
from .twin import Twin as Twin
from .twin import TwinConfig as TwinConfig
from .twin import write_twin as write_twin
