"""Any directory of DICOM files, as an archive exports them: names without endings, patients known to the headers only.

Nothing of a header becomes a record: patients and studies are numbered in the order in which their first file stands
in the sorted directory. Labels come from nowhere; films with a table beside them are read by ``folder``.
"""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import UsageError
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.film_folders import films_below, may_be_dicom_film, require_films
from pacx.data.folder_walk import is_folder
from pacx.data.own_films.film_tree import FilmTree
from pacx.data.own_films.people import people_of_headers
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
        """Find the films among the DICOM files below a folder, which are known by their content.

        Raises:
            UsageError: the folder is not there.
            DataError: it holds no film, a folder or file in it cannot be opened, or a file lies above the level that
                names the patient.
        """
        import pandas as pd

        if not is_folder(root):
            raise UsageError(f"{root} is not a folder; give the folder that holds the DICOM files")
        folder = films_below(root, may_be_dicom_film)
        require_films(folder, root, "DICOM films; pictures of other kinds are read by folder")
        paths, objects, notes = folder.files.films, folder.files.objects, folder.notes
        people = people_of_headers(paths, objects)
        patients = people.patients
        if options.patient_folder is not None:
            patients = FilmTree(root, paths).patients_at(options.patient_folder)
        elif num_alone := patients.count(""):
            alone = f"{num_alone} of {len(paths)} headers name no patient; each such film counts as its own patient."
            notes = (alone, *notes)
        table = pd.DataFrame(
            {
                "sample_id": paths,
                "image_path": paths,
                "patient_id": [patient or path for patient, path in zip(patients, paths, strict=True)],
                "study_id": people.studies,
                "view": "",
                "split": "",
            }
        )
        return Records(table, (), (), root, notes, has_unknown_patients=not all(patients))


DATASET = DicomFolder()
