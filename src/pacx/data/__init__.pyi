from .checks.doctor import examine as examine
from .dataset import Dataset as Dataset
from .dataset import DatasetCard as DatasetCard
from .dataset import Task as Task
from .datasets.folder import FolderOptions as FolderOptions
from .packs.from_dataset import pack_dataset as pack_dataset
from .packs.pack import Pack as Pack
from .records import Records as Records
