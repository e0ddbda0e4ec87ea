"""Which DICOM objects are chest films: the same answer for a folder, a named file and the server."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import dicom

from pacx.core.errors import DataError
from pacx.data.datasets.dicom_folder import DATASET as DICOM_FOLDER
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.film_folders import films_among
from pacx.data.images.decode import grey_from_bytes
from pacx.data.images.dicom_objects import DicomObject
from pacx.data.images.headers import read_object
from pacx.data.images.unreadable import UnreadableImage
from pacx.inference.film_files import expanded
from pacx.serving.decoding.worker import Question, decoded
from pacx.serving.refusal import Refusal

PIXELS = np.random.default_rng(0).integers(0, 4096, (32, 40), dtype=np.uint16)
KEYWORDS = {
    "ComputedRadiographyImageStorage": "",
    "DigitalXRayImageStorageForPresentation": "",
    "DigitalXRayImageStorageForProcessing": "FOR PROCESSING X-ray image",
    "SecondaryCaptureImageStorage": "",
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage": "",
    "DigitalMammographyXRayImageStorageForPresentation": "mammogram",
    "DigitalMammographyXRayImageStorageForProcessing": "mammogram",
    "DigitalIntraOralXRayImageStorageForPresentation": "dental X-ray image",
    "CTImageStorage": "CT image",
    "EnhancedCTImageStorage": "CT image",
    "MRImageStorage": "MR image",
    "UltrasoundImageStorage": "ultrasound image",
    "UltrasoundMultiFrameImageStorage": "ultrasound image",
    "XRayAngiographicImageStorage": "angiogram",
    "XRayRadiofluoroscopicImageStorage": "fluoroscopy image",
    "BreastTomosynthesisImageStorage": "tomosynthesis image",
    "NuclearMedicineImageStorage": "nuclear medicine image",
    "PositronEmissionTomographyImageStorage": "PET image",
    "EnhancedSRStorage": "structured report",
    "KeyObjectSelectionDocumentStorage": "key object note",
    "GrayscaleSoftcopyPresentationStateStorage": "presentation state",
    "SegmentationStorage": "segmentation",
    "SpatialRegistrationStorage": "registration",
    "TwelveLeadECGWaveformStorage": "waveform",
    "EncapsulatedPDFStorage": "document",
    "RTDoseStorage": "radiotherapy object",
    "RTImageStorage": "radiotherapy object",
    "MediaStorageDirectoryStorage": "archive index",
    "VLPhotographicImageStorage": "photograph",
}
"""SOP classes by pydicom's names for them, and what they are; "" is a film."""


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_class_says_what_an_object_is(keyword: str) -> None:
    assert DicomObject(sop_class=getattr(pydicom.uid, keyword)).other_than_film == KEYWORDS[keyword]


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({}, ""),
        ({"modality": "CR"}, ""),
        ({"modality": "RG"}, ""),
        ({"modality": "OTHER"}, ""),
        ({"modality": "CT"}, "CT image"),
        ({"modality": "DX", "intent": "FOR PROCESSING"}, "FOR PROCESSING X-ray image"),
        ({"modality": "DX", "intent": "FOR PRESENTATION"}, ""),
        ({"modality": "SR", "has_image": False}, "structured report"),
        ({"has_image": False}, "object without an image"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.1", "has_image": False}, ""),  # a film, and a damaged one
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.1", "modality": "MG"}, "mammogram"),  # taken with a CR plate
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7", "modality": "DX"}, ""),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7", "modality": "US"}, "ultrasound image"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7", "num_channels": 3}, "colour or multi-frame screen capture"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7.2", "num_frames": 9}, "colour or multi-frame screen capture"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.2.999"}, "CT image"),  # of a standard to come
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.200"}, ""),
        ({"sop_class": "1.3.46.670589.2.4.1.1"}, ""),  # a maker's own
    ],
)
def test_modality_intent_and_pixels_say_the_rest(header: Mapping[str, object], what: str) -> None:
    assert DicomObject(**header).other_than_film == what  # type: ignore[arg-type]  # headers vary by case


CT = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}
RAW = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1", "PresentationIntentType": "FOR PROCESSING"}


@pytest.mark.parametrize("header", [CT, RAW], ids=["CT", "for processing"])
def test_every_door_refuses_what_is_no_film_in_the_same_words(header: dict[str, str], tmp_path: Path) -> None:
    data = dicom(PIXELS, bits_stored=12, **header)
    (tmp_path / "film.dcm").write_bytes(data)
    what = read_object(tmp_path / "film.dcm").other_than_film
    with pytest.raises(UnreadableImage, match=f"no chest film: {what}"):
        grey_from_bytes(data)
    asked = Question(media_type="application/dicom", sides_px=(32,), wants_picture=False, cpu_s=60)
    assert decoded(asked, data) == Refusal(422, f"the DICOM object is no chest film: {what}")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    for name, header in {
        "a/CR0": {"StudyInstanceUID": "1.1", "PatientID": "x"},
        "a/CT0": {**CT, "StudyInstanceUID": "1.2", "PatientID": "y"},
        "a/CT1": {**CT, "StudyInstanceUID": "1.2", "PatientID": "y"},
        "b/DX0": {"StudyInstanceUID": "1.3", "PatientID": "z"},
        "b/DX1": {**RAW, "StudyInstanceUID": "1.3", "PatientID": "z"},
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(dicom(PIXELS, bits_stored=12, **header))
    return tmp_path


def test_what_is_no_film_is_left_out_and_counted_by_kind_by_every_verb(export: Path) -> None:
    note = (
        "3 DICOM files that are no chest films are left out: 2 CT images (such as 'a/CT0'), "
        "1 FOR PROCESSING X-ray image (such as 'b/DX1')."
    )
    for dataset in (FOLDER, DICOM_FOLDER):
        records = dataset.read(export, dataset.options_type())
        assert records.table["image_path"].tolist() == ["a/CR0", "b/DX0"]
        assert note in records.notes
    assert records.table["patient_id"].tolist() == ["patient-000001", "patient-000002"]
    for words in ([export], [export / "*" / "*"], [export / name for name in ("a/CR0", "a/CT0", "a/CT1", "b/DX0")]):
        files, notes = expanded(words)
        assert files == [export / "a/CR0", export / "b/DX0"]
        assert "2 CT images" in notes[0]


def test_a_patient_with_detector_values_alone_is_told(export: Path) -> None:
    (export / "b/DX0").unlink()
    notes = films_among(["a/CR0", "b/DX1"], export).notes
    assert notes[1].startswith("Patients with images FOR PROCESSING and no film: 1; ask the archive")
    (export / "a/CR0").unlink()
    with pytest.raises(DataError, match="1 FOR PROCESSING X-ray image"):
        DICOM_FOLDER.read(export, DICOM_FOLDER.options_type())


@pytest.mark.parametrize(
    ("kept", "what"), [("1.2.840.10008.5.1.4.1.1.1.1.1", ""), ("1.2.840.10008.5.1.4.1.1.2", "CT image")]
)
def test_a_class_that_only_the_preamble_still_tells(kept: str, what: str, tmp_path: Path) -> None:
    """VinDr-CXR's films have lost the class in their headers; to leave one out takes more than the preamble."""
    path = tmp_path / "film.dcm"
    path.write_bytes(dicom(PIXELS, bits_stored=12, SOPClassUID=kept, Modality=None))
    dataset = pydicom.dcmread(path)
    del dataset.SOPClassUID
    dataset.save_as(path, enforce_file_format=False)
    assert read_object(path).other_than_film == what


@pytest.mark.parametrize("with_meta", [True, False])
def test_a_file_without_preamble_says_whose_it_is_and_what(with_meta: bool, tmp_path: Path) -> None:
    whole = dicom(PIXELS, bits_stored=12, PatientID="x", StudyInstanceUID="1.2", Modality="CT")
    bare = whole[132:] if with_meta else whole[144 + int.from_bytes(whole[140:144], "little") :]
    (tmp_path / "slice").write_bytes(bare)
    found = read_object(tmp_path / "slice")
    assert (found.patient, found.study, found.modality) == ("x", "1.2", "CT")


def test_a_header_is_read_no_further_than_it_has_to_be(tmp_path: Path) -> None:
    whole = dicom(PIXELS, bits_stored=12, PatientID="x", StudyInstanceUID="1.2")
    path = tmp_path / "film.dcm"
    path.write_bytes(whole[: whole.index(b"\x28\x00\x11\x00") + 20])  # cut off behind the rows
    found = read_object(path)
    assert (found.patient, found.study, found.has_image) == ("x", "1.2", True)
    assert "x'" not in repr(found)
