"""An archive's export: patients are told apart and no header value is written down."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SECRET, dicom

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.dicom_folder import DATASET, DicomFolderOptions
from pacx.data.packs.packing import pack_records

PIXELS = np.random.default_rng(0).integers(0, 4096, (32, 40), dtype=np.uint16)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    root = tmp_path / "export"
    for place, patient, study in [
        ("A/1/IM0", "x", "1.1"),
        ("A/1/IM1", "x", "1.1"),
        ("A/2/IM0", "x", "1.2"),
        ("B/IM0", "y", "2"),
    ]:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(
            dicom(PIXELS, bits_stored=12, PatientID=f"{SECRET}-{patient}", StudyInstanceUID=study)
        )
    (root / "C.dcm").write_bytes(dicom(PIXELS, bits_stored=12, PatientID="", ViewPosition="PA"))
    (root / "DICOMDIR").write_bytes((root / "C.dcm").read_bytes())
    (root / "notes.txt").write_text("not a film")
    return root


def test_patients_and_studies_are_numbered_and_nothing_of_a_header_stays(export: Path, tmp_path: Path) -> None:
    records = DATASET.read(export, DicomFolderOptions())
    assert records.table["image_path"].tolist() == ["A/1/IM0", "A/1/IM1", "A/2/IM0", "B/IM0", "C.dcm"]
    assert records.table["patient_id"].tolist() == [*["patient-000001"] * 3, "patient-000002", "C.dcm"]
    assert records.table["study_id"].tolist() == ["study-000001", "study-000001", "study-000002", "study-000003", ""]
    assert records.notes == ("1 of 5 headers name no patient; each such film counts as its own patient.",)
    pack = pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=16))
    assert len(pack) == 5
    for path in pack.path.iterdir():
        assert b"Doe" not in path.read_bytes()
    assert "Doe" not in str(asdict(pack.manifest))


def test_a_folder_level_may_name_the_patient(export: Path) -> None:
    (export / "C.dcm").unlink()
    records = DATASET.read(export, DicomFolderOptions(patient_folder=1))
    assert records.table["patient_id"].tolist() == ["A", "A", "A", "B"]
    with pytest.raises(DataError, match="B/IM0 lies above folder level 2"):
        DATASET.read(export, DicomFolderOptions(patient_folder=2))
    with pytest.raises(UsageError, match="is level 1"):
        DicomFolderOptions(patient_folder=0)


def test_a_folder_without_dicom_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(b"short")
    with pytest.raises(DataError, match=r"there are 1 of other kinds \(such as 'film\.png'\)"):
        DATASET.read(tmp_path, DicomFolderOptions())
