"""Tuberculosis: the Shenzhen and Montgomery sets of the National Library of Medicine.

The paper's "TB" is Shenzhen alone, and so is the default; Montgomery, or both, is an option. Reads the official trees
(``ChinaSet_AllFiles``, ``MontgomerySet``, side by side or one as the root) and, for Shenzhen, the Kaggle mirror with
its doubled folder ``images/images`` and ``shenzhen_metadata.csv``. What it watches for:

- The label is the digit before ``.png``. Where the mirror's table is there, its findings ("normal" or not) are held
  against the digits, and a contradiction is refused.
- One film per patient; the number in its name is the patient. There is no official split.
- Clinical readings are typed by hand: age and sex are taken where they can be understood, and nothing depends on them.
- Montgomery has 80 normal films and 58 with tuberculosis; a widely used loader says otherwise.

The films of Shenzhen are grey stored as RGB; the packer takes their luma, which is exactly that grey. A widely used
reader remarks that they are inverted and inverts nothing: the doctor looks whether the mediastinum is brighter than the
lungs, as on a positive film, and says so if it is not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import TUBERCULOSIS_LABELS
from pacx.data.dataset import Dataset, DatasetCard, Issue, SplitPlan, Task
from pacx.data.images.decode import decode_grey, to_square
from pacx.data.images.unreadable import UnreadableImage
from pacx.data.records import Records, shown
from pacx.data.splits import image_level_splits
from pacx.data.tables import missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_FILMS_LOOKED_AT = 32
_MIRROR_TABLE = "shenzhen_metadata.csv"
_YEARS_PER_UNIT = {"y": 1.0, "m": 1.0 / 12.0, "d": 1.0 / 365.0}
_AGE = re.compile(r"(\d+)\s*(y|m|d|$)", re.IGNORECASE)
_SEX = re.compile(r"\b(f|m|female|male)\b", re.IGNORECASE)


class Hospital(Enum):
    """Whose films are read; the value is how many there are, and how many with tuberculosis, in the complete set."""

    SHENZHEN = (662, 336)
    MONTGOMERY = (138, 58)
    BOTH = (800, 394)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One hospital's set on disk."""

    folders: tuple[str, ...]  # where its films may lie, the first that exists
    name: re.Pattern[str]
    shown_name: str


_SOURCES = {
    Hospital.SHENZHEN: _Source(
        folders=("ChinaSet_AllFiles/CXR_png", "CXR_png", "images/images"),
        name=re.compile(r"(CHNCXR_\d{4})_([01])\.png"),
        shown_name="CHNCXR_dddd_[01].png",
    ),
    Hospital.MONTGOMERY: _Source(
        folders=("MontgomerySet/CXR_png", "CXR_png"),
        name=re.compile(r"(MCUCXR_\d{4})_([01])\.png"),
        shown_name="MCUCXR_dddd_[01].png",
    ),
}


@dataclass(frozen=True, kw_only=True)
class NlmTbOptions:
    """How to read the tuberculosis sets.

    Args:
        hospital: SHENZHEN is the paper's set; MONTGOMERY is the smaller one, and BOTH are read from the folder around
            ChinaSet_AllFiles and MontgomerySet.
    """

    hospital: Hospital = Hospital.SHENZHEN


class NlmTbDataset(Dataset[NlmTbOptions]):
    """Reads Shenzhen and Montgomery."""

    card = DatasetCard(
        name="nlm-tb",
        title="Tuberculosis chest X-ray sets of Shenzhen and Montgomery (NLM)",
        task=Task.BINARY,
        licence="free with attribution to the National Library of Medicine and Shenzhen No. 3 People's Hospital",
        access="open download from the National Library of Medicine (ChinaSet_AllFiles, MontgomerySet), or the Kaggle "
        "mirror raddar/tuberculosis-chest-xrays-shenzhen",
        citation="Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, "
        "Quantitative Imaging in Medicine and Surgery 2014",
        layout=(
            "ChinaSet_AllFiles/CXR_png/CHNCXR_dddd_[01].png with ClinicalReadings/*.txt",
            f"or images/images/CHNCXR_dddd_[01].png with {_MIRROR_TABLE}",
            "MontgomerySet/CXR_png/MCUCXR_dddd_[01].png with ClinicalReadings/*.txt (option)",
        ),
        splits=SplitPlan(fractions=(0.7, 0.1, 0.2)),
        counts={"films": 662, "patients": 662, "present:Tuberculosis": 336, "unknown:Tuberculosis": 0},
        image_globs=("**/CXR_png/CHNCXR_*.png", "images/images/*.png"),
    )
    options_type = NlmTbOptions

    def read(self, root: Path, options: NlmTbOptions) -> Records:
        """Turn the films of one hospital or of both into records.

        Raises:
            UsageError: the folder is not there.
            DataError: it holds no film of the hospital, or the mirror's table contradicts the films' names.
        """
        import pandas as pd

        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; give the one that holds ChinaSet_AllFiles")
        wanted = _SOURCES if options.hospital is Hospital.BOTH else (options.hospital,)
        parts = {hospital: self._films(root, _SOURCES[hospital]) for hospital in wanted}
        if Hospital.SHENZHEN in parts and (root / _MIRROR_TABLE).is_file():
            self._check_findings(root / _MIRROR_TABLE, parts[Hospital.SHENZHEN][0])
        table = pd.concat([films for films, _ in parts.values()], ignore_index=True)
        notes = [note for _, notes in parts.values() for note in notes]
        return Records(table, TUBERCULOSIS_LABELS, (), root, tuple(notes))

    def expected_counts(self, options: NlmTbOptions) -> Mapping[str, int]:
        """The films of the hospital that is read."""
        films, sick = options.hospital.value
        return {**self.card.counts, "films": films, "patients": films, "present:Tuberculosis": sick}

    def inspect(self, root: Path, options: NlmTbOptions, records: Records) -> Sequence[Issue]:
        """Look at a few films: is dense bright?"""
        paths = records.table["image_path"]
        chosen = paths.iloc[np.unique(np.linspace(0, len(paths) - 1, _FILMS_LOOKED_AT).astype(int))]
        contrasts = [contrast for path in chosen if (contrast := _mediastinum_over_lungs(root / path)) is not None]
        if not contrasts or np.median(contrasts) > 0:
            return ()
        message = f"most films of {root} show the mediastinum darker than the lungs, so they are negatives; invert them"
        return (Issue(check="polarity", message=message),)

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """By film, which is by patient here: 20 % test, 15 % of the rest validation, stratified (68/12/20)."""
        strata = records.table[TUBERCULOSIS_LABELS[0]]
        return image_level_splits(records.table["split"], test_share=0.2, val_share=0.15, strata=strata)

    def _films(self, root: Path, source: _Source) -> "tuple[pd.DataFrame, list[str]]":
        """One hospital's part of the table, and a note if its folder holds pictures of other names."""
        import pandas as pd

        for folder in source.folders:
            names = sorted(path.name for path in (root / folder).glob("*.png") if not path.name.startswith("."))
            matches = [match for match in map(source.name.fullmatch, names) if match]
            if matches:
                strangers = sorted(set(names) - {match[0] for match in matches})
                break
        else:
            raise missing(root / source.folders[0] / source.shown_name, self.card)
        place = Path(folder)
        readings = [
            _reading(root / place.parent / "ClinicalReadings" / f"{Path(match[0]).stem}.txt") for match in matches
        ]
        columns = {
            "sample_id": [Path(match[0]).stem for match in matches],
            "image_path": [(place / match[0]).as_posix() for match in matches],
            "patient_id": [match[1] for match in matches],
            "study_id": "",
            "view": "",
            "split": "",
            TUBERCULOSIS_LABELS[0]: [float(match[2]) for match in matches],
            "age": [age for age, _ in readings],
            "sex": [sex for _, sex in readings],
        }
        note = f"{len(strangers)} pictures in {folder} are not named as its films and are left out: {shown(strangers)}."
        return pd.DataFrame(columns), [note] if strangers else []

    def _check_findings(self, path: Path, films: "pd.DataFrame") -> None:
        """The mirror's table must say "normal" of exactly the films whose name ends in 0."""
        source = _SOURCES[Hospital.SHENZHEN]
        table = read_table(path, ("study_id", "findings"), card=self.card)
        names = table.text("study_id")
        table.require("study_id", names.str.fullmatch(source.name.pattern), source.shown_name)
        table.require("study_id", ~names.duplicated(), "each film once")
        is_normal = table.text("findings").str.lower() == "normal"
        table.require("findings", is_normal == names.str.endswith("_0.png"), "'normal' where the name ends in _0, only")
        unlisted = sorted(set(films["sample_id"] + ".png") - set(names))
        if unlisted:
            raise DataError(f"{path} does not list {len(unlisted)} films: {shown(unlisted)}; expected one row per film")


DATASET = NlmTbDataset()


def _mediastinum_over_lungs(path: Path) -> float | None:
    """How much brighter the middle of a film is than what lies left and right of it, in greys; None: not readable."""
    try:
        film = to_square(decode_grey(path), 100).astype(np.float64)[30:60]
    except UnreadableImage:
        return None
    lungs = np.concatenate([film[:, 22:38], film[:, 62:78]], axis=1)
    return float(film[:, 46:56].mean() - lungs.mean())


def _reading(path: Path) -> tuple[float, str]:
    """Age in years and sex from a clinical reading; NaN and "" where there is none or it cannot be understood."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return np.nan, ""
    head = " ".join(lines[:2] if ":" in "".join(lines[:1]) else lines[:1])  # Montgomery: one "key: value" per line
    age, sex = _AGE.search(head), _SEX.search(head)
    years = float(age[1]) * _YEARS_PER_UNIT[age[2].lower() or "y"] if age else np.nan
    return years, sex[1][0].upper() if sex else ""
