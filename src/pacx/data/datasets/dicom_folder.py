"""Any directory of DICOM files, as an archive exports them: names without endings, patients known to the headers only.

Nothing of a header becomes a record: patients and studies are numbered in the order in which their first file stands
in the sorted directory. Labels come from nowhere; films with a table beside them are read by ``folder``.
"""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.core.progress import progress
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.film_folders import files_below, is_dicom_film
from pacx.data.records import Records


@dataclass(frozen=True, kw_only=True)
class DicomFolderOptions:
    """How to tell patients apart.

    Args:
        patient_folder: which folder level below the root names the patient: 1 is the first. By default the patient id
            in each header does, without being written down.
    """

    patient_folder: int | None = None

    def __post_init__(self) -> None:
        if self.patient_folder is not None and self.patient_folder < 1:
            raise UsageError(f"patient_folder is {self.patient_folder}; the first folder below the root is level 1")


class DicomFolder(Dataset[DicomFolderOptions]):
    """Reads any directory of DICOM files."""

    card = DatasetCard(
        name="dicom-folder",
        title="A folder of DICOM files, as an archive exports them",
        task=Task.UNLABELLED,
        licence="yours",
        access="any directory of single-frame grey DICOM files; for labels or masks, use folder with a csv",
        citation="",
    )
    options_type = DicomFolderOptions

    def read(self, root: Path, options: DicomFolderOptions) -> Records:
        """Find the DICOM files below a folder by their content.

        Raises:
            UsageError: the folder is not there.
            DataError: it holds no DICOM file, or a file lies above the level that names the patient.
        """
        import pandas as pd

        from pacx.data.images.dicom import HeaderNumbers

        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; give the folder that holds the DICOM files")
        below = files_below(root, is_dicom_film)
        paths = below.chosen
        if not paths:
            raise DataError(
                f"no file below {root} is a DICOM film; passed over: {below}; films of other kinds are read by folder"
            )
        notes: tuple[str, ...] = ()
        numbers = HeaderNumbers()
        patients, studies = [], []
        with progress("reading headers", len(paths), "files") as bar:
            for path in paths:
                patient, study = numbers.of(root / path)
                patients.append(f"patient-{patient:06d}" if patient else path)
                studies.append(f"study-{study:06d}" if study else "")
                bar.advance()
        if options.patient_folder is not None:
            patients = [_folder_at(path, options.patient_folder, root) for path in paths]
        elif num_alone := sum(patient == path for patient, path in zip(patients, paths, strict=True)):
            notes = (f"{num_alone} of {len(paths)} headers name no patient; each such film counts as its own patient.",)
        table = pd.DataFrame(
            {
                "sample_id": paths,
                "image_path": paths,
                "patient_id": patients,
                "study_id": studies,
                "view": "",
                "split": "",
            }
        )
        return Records(table, (), (), root, notes)


DATASET = DicomFolder()


def _folder_at(path: str, level: int, root: Path) -> str:
    folders = Path(path).parts[:-1]
    if len(folders) < level:
        raise DataError(f"{path} lies above folder level {level} of {root}, which was said to name the patient")
    return "/".join(folders[:level])
