"""What the header of a DICOM file says that decides whether it is a film, and whose; read up to there and no further.

Header values never leave this module but as codes, numbers and the sentence of what an object is.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag, Tag

from pacx.data.file_kinds import NUM_BYTES_TOLD_BY, FileKind, has_preamble, kind_of
from pacx.data.images.dicom_objects import DEFLATED, DicomObject, class_of

_FIELDS = (
    "SOPClassUID", "Modality", "PresentationIntentType", "PatientID", "StudyInstanceUID", "SamplesPerPixel",
    "NumberOfFrames", "Rows",
)  # fmt: skip
_TAGS = tuple(map(Tag, _FIELDS))
_LAST = max(_TAGS)
_is_reading: ContextVar[bool] = ContextVar("is_reading", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """Keep pydicom's warnings and log lines, which quote header values, from everybody."""
    for name in ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"):
        logging.getLogger(name).addFilter(_passes)  # adding a filter that is there already changes nothing
    token = _is_reading.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _is_reading.reset(token)


def _passes(record: logging.LogRecord) -> bool:
    return not _is_reading.get()


def object_of(dataset: Dataset) -> DicomObject:
    """What a dataset that was read says it is."""

    def said(name: str) -> str:
        return str(dataset.get(name) or "").strip()

    meta = getattr(dataset, "file_meta", None) or Dataset()
    return DicomObject(
        sop_class=class_of(said("SOPClassUID"), str(meta.get("MediaStorageSOPClassUID") or "").strip()),
        modality=said("Modality").upper(),
        intent=said("PresentationIntentType").upper(),
        has_image="Rows" in dataset or "PixelData" in dataset,
        num_channels=int(dataset.get("SamplesPerPixel") or 0),
        num_frames=int(dataset.get("NumberOfFrames") or 0),
        patient=said("PatientID"),
        study=said("StudyInstanceUID"),
    )


def read_object(path: Path) -> DicomObject | None:
    """Read what a DICOM file says it is; of a damaged header nothing, and decoding will name the file.

    Returns:
        None for a file that is not DICOM.

    Raises:
        OSError: the file cannot be opened.
    """
    with silence(), path.open("rb") as file:
        start = file.read(NUM_BYTES_TOLD_BY)
        if kind_of(start) is not FileKind.DICOM:
            return None
        file.seek(0)
        try:
            if not has_preamble(start):
                return _object_without_preamble(file.read())
            meta = read_file_meta_info(path)
            if meta.get("TransferSyntaxUID") == DEFLATED:  # a header that may inflate without bound stays closed
                return DicomObject(sop_class=class_of("", str(meta.get("MediaStorageSOPClassUID") or "").strip()))
            return object_of(read_partial(file, stop_when=_is_behind, specific_tags=list(_TAGS)))
        except Exception:
            return DicomObject()


def _object_without_preamble(data: bytes) -> DicomObject:
    if DEFLATED.encode() in data:  # stays closed, as with a preamble; where its header ends is its own word
        return DicomObject()
    return object_of(read_partial(io.BytesIO(data), stop_when=_is_behind, force=True, specific_tags=list(_TAGS)))


def _is_behind(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag > _LAST
