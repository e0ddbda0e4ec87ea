"""Which DICOM objects are chest films, and what the others are: one table for folders, files and the server.

By SOP class, modality and presentation intent, which are codes and no patient's values. A film is: computed
radiography, digital radiography FOR PRESENTATION, and a secondary capture (public sets and scanned films come so) that
no modality says to be something else. A file whose header says nothing of the kind, as anonymisers leave them, is a
film if it has pixels. Detector values FOR PROCESSING are none: they are mostly the negative of the film beside them.

Source: DICOM PS3.4 table B.5-1 (SOP classes), PS3.3 C.7.3.1.1.1 (modalities), C.8.11.1 (presentation intent).
"""

from dataclasses import dataclass, field

DEFLATED = "1.2.840.10008.1.2.1.99"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_DIRECTORY = "1.2.840.10008.1.3.10"
_PRESENTED, _PROCESSED = f"{_STORAGE}1.1", f"{_STORAGE}1.1.1"
_CAPTURE = f"{_STORAGE}7"
_FILMS = (f"{_STORAGE}1", _PRESENTED, _CAPTURE)

FOR_PROCESSING = "FOR PROCESSING X-ray image"
_REPORT, _CT, _MR, _MAMMOGRAM, _DENTAL = "structured report", "CT image", "MR image", "mammogram", "dental X-ray image"
_ULTRASOUND, _PET, _NUCLEAR = "ultrasound image", "PET image", "nuclear medicine image"
_STATE, _KEY, _DOCUMENT, _THERAPY = "presentation state", "key object note", "document", "radiotherapy object"
_FLUOROSCOPY, _ANGIOGRAM, _PHOTOGRAPH = "fluoroscopy image", "angiogram", "photograph"
_WAVEFORM, _SEGMENTATION, _TOMOSYNTHESIS, _EYE = "waveform", "segmentation", "tomosynthesis image", "image of an eye"
_INDEX, _REGISTRATION, _EMPTY, _OTHER = "archive index", "registration", "object without an image", "other object"
_CAPTURE_OF_A_SCREEN = "colour or multi-frame screen capture"

_BY_CLASS = {
    "1.1.1": FOR_PROCESSING, "1.2": _MAMMOGRAM, "1.3": _DENTAL, "2": _CT, "3": _ULTRASOUND, "4": _MR, "5": _NUCLEAR,
    "6": _ULTRASOUND, "9": _WAVEFORM, "11": _STATE, "12.1": _ANGIOGRAM, "12.2": _FLUOROSCOPY, "12.3": _ANGIOGRAM,
    "13.1.1": _ANGIOGRAM, "13.1.2": _DENTAL, "13.1": _TOMOSYNTHESIS, "14": _ANGIOGRAM, "20": _NUCLEAR, "66": _OTHER,
    "66.1": _REGISTRATION, "66.3": _REGISTRATION, "66.4": _SEGMENTATION, "66.5": _SEGMENTATION, "67": _OTHER,
    "77": _PHOTOGRAPH, "78": _EYE, "79": _EYE, "80": _EYE, "81": _EYE, "88": _REPORT, "88.59": _KEY, "104": _DOCUMENT,
    "128": _PET, "130": _PET, "481": _THERAPY,
}  # fmt: skip
"""By what follows 1.2.840.10008.5.1.4.1.1, the longest beginning first; classes that are not here may be films."""
_BY_MODALITY = {
    "CT": _CT, "MR": _MR, "NM": _NUCLEAR, "PT": _PET, "PET": _PET, "US": _ULTRASOUND, "IVUS": _ULTRASOUND,
    "MG": _MAMMOGRAM, "IO": _DENTAL, "PX": _DENTAL, "XA": _ANGIOGRAM, "RF": _FLUOROSCOPY, "SR": _REPORT, "KO": _KEY,
    "PR": _STATE, "SEG": _SEGMENTATION, "REG": _REGISTRATION, "DOC": _DOCUMENT, "ECG": _WAVEFORM, "EPS": _WAVEFORM,
    "HD": _WAVEFORM, "RTIMAGE": _THERAPY, "RTDOSE": _THERAPY, "RTSTRUCT": _THERAPY, "RTPLAN": _THERAPY,
    "RTRECORD": _THERAPY, "SM": _PHOTOGRAPH, "GM": _PHOTOGRAPH, "XC": _PHOTOGRAPH, "ES": _PHOTOGRAPH, "OP": _EYE,
    "OPT": _EYE, "OCT": _EYE, "BMD": _OTHER, "TG": _OTHER, "LS": _OTHER,
}  # fmt: skip
"""Modalities that are no radiograph of the chest; CR, DX, RG, OT and whatever else may be one."""


@dataclass(frozen=True, kw_only=True)
class DicomObject:
    """What a header says an object is, and whose; "" where it does not say.

    Args:
        sop_class: UID of its class.
        modality: code of what made it.
        intent: FOR PRESENTATION or FOR PROCESSING.
        has_image: whether the header describes pixels.
        num_channels: of a pixel; 0 where it does not say.
        num_frames: images in the object; 0 where it does not say.
        patient: id of the patient; for numbering only, never said or written.
        study: UID of the study; likewise.
    """

    sop_class: str = ""
    modality: str = ""
    intent: str = ""
    has_image: bool = True
    num_channels: int = 0
    num_frames: int = 0
    patient: str = field(default="", repr=False)
    study: str = field(default="", repr=False)

    @property
    def other_than_film(self) -> str:
        """What it is where it is no chest film, a noun in the singular; "" for a film."""
        return self._by_class() or self._by_modality()

    def _by_class(self) -> str:
        if self.sop_class == _DIRECTORY:
            return _INDEX
        parts = self.sop_class.removeprefix(_STORAGE).split(".") if self.sop_class.startswith(_STORAGE) else []
        beginnings = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((_BY_CLASS[each] for each in beginnings if each in _BY_CLASS), "")

    def _by_modality(self) -> str:
        if self.modality in _BY_MODALITY:
            return _BY_MODALITY[self.modality]
        if not self.has_image and self.sop_class not in _FILMS:  # a film without pixels is a damaged one
            return _EMPTY
        if self.intent == "FOR PROCESSING":
            return FOR_PROCESSING
        is_capture = f"{self.sop_class}.".startswith(f"{_CAPTURE}.")
        return _CAPTURE_OF_A_SCREEN if is_capture and (self.num_channels > 1 or self.num_frames > 1) else ""


def class_of(own: str, of_file: str) -> str:
    """The SOP class of an object: its own, or the one that the file's preamble tells where an anonymiser removed that.

    From the preamble alone nothing is taken for unprocessed: VinDr-CXR's files, all of them films, have kept no more.
    """
    return own or (_PRESENTED if of_file == _PROCESSED else of_file)
