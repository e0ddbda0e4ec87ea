from .export import ExportConfig as ExportConfig
from .export import export_encoder as export_encoder
