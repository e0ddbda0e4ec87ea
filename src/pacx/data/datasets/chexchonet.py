"""CheXchoNet 1.0.0: radiographs with labels from echocardiography.

What it watches for:

- The column ``cxr_path`` of the table names a folder ``cxrs`` that the release does not have: paths are built from
  ``cxr_filename`` and the folder ``images``.
- The composite label must be "severe hypertrophy or dilated ventricle" on every row; it is never computed anew from the
  measurements, about whose cut-offs the makers' own files disagree.
- A measurement of 0 cm is a missing one, and becomes unknown.
- A patient has about three films and there is no official split: splits are drawn by patient. The authors' released
  code draws them by film, so that most patients it tests on were trained on.

The films were equalised locally (CLAHE) by the makers, which makes them look unlike those of any other set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import UsageError
from pacx.core.findings import CHEXCHONET_LABELS
from pacx.data.dataset import Dataset, DatasetCard, SplitPlan, Task
from pacx.data.records import Records
from pacx.data.splits import image_level_splits
from pacx.data.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


_COMPOSITE, _HYPERTROPHY, _DILATION = CHEXCHONET_LABELS
_BINARY = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "False": 0.0, "True": 1.0}
_NUM_FILMS, _NUM_PATIENTS = 71_589, 24_689
_POSITIVES = {_COMPOSITE: 9_861, _HYPERTROPHY: 6_191, _DILATION: 4_343}
_MEASUREMENTS_CM = ("ivsd", "lvpwd", "lvidd")
_HISTORY = ("heart_transplant", "lung_transplant", "pacemaker_or_icd")
_SEXES = ("F", "M", "")


@dataclass(frozen=True, kw_only=True)
class ChexchonetOptions:
    """How to read CheXchoNet.

    Args:
        labels: some of composite_slvh_dlv (the paper's task), slvh and dlv.
    """

    labels: tuple[str, ...] = (_COMPOSITE,)

    def __post_init__(self) -> None:
        unknown = [name for name in self.labels if name not in CHEXCHONET_LABELS]
        if unknown or not self.labels:
            wrong = f"label '{unknown[0]}'" if unknown else "no label"
            raise UsageError(f"{wrong} is asked for; CheXchoNet has {', '.join(CHEXCHONET_LABELS)}")


class ChexchonetDataset(Dataset[ChexchonetOptions]):
    """Reads ``metadata.csv`` and its films; labels come from the echocardiogram of the same patient."""

    card = DatasetCard(
        name="chexchonet",
        title="CheXchoNet 1.0.0",
        task=Task.BINARY,
        licence="PhysioNet Restricted Health Data License 1.5.0",
        access="PhysioNet chexchonet/1.0.0, restricted: sign the data use agreement",
        citation="Elias and Bhave, CheXchoNet: a chest radiograph dataset with gold standard echocardiography labels, "
        "PhysioNet 2024, doi:10.13026/kp08-ws25",
        layout=("metadata.csv", "images/PATIENT_NNNNNNNN.jpg (the table's cxr_path says otherwise)"),
        splits=SplitPlan(fractions=(0.7, 0.1, 0.2)),
        counts={
            "films": _NUM_FILMS,
            "patients": _NUM_PATIENTS,
            f"present:{_COMPOSITE}": _POSITIVES[_COMPOSITE],
            f"unknown:{_COMPOSITE}": 0,
        },
        image_globs=("images/*.jpg",),
    )
    options_type = ChexchonetOptions

    def read(self, root: Path, options: ChexchonetOptions) -> Records:
        """Turn a copy of CheXchoNet into records.

        Raises:
            UsageError: the folder is not there.
            DataError: the table is missing or is not CheXchoNet's.
        """
        import pandas as pd

        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; give the one that holds metadata.csv")
        needed = ("patient_id", "cxr_filename", "age", "sex", *_MEASUREMENTS_CM, *CHEXCHONET_LABELS, *_HISTORY)
        table = read_table(root / "metadata.csv", needed, card=self.card)
        names = table.text("cxr_filename")
        table.require("cxr_filename", names.str.fullmatch(r"[^/\\]+\.jpg"), "the name of a .jpg file, without a folder")
        table.require("sex", table.text("sex").isin(_SEXES), "F, M or blank")
        labels = {name: table.coded(name, _BINARY) for name in CHEXCHONET_LABELS}
        either = labels[_HYPERTROPHY].where(labels[_HYPERTROPHY] == 1, labels[_DILATION])
        table.require(_COMPOSITE, labels[_COMPOSITE] == either, f"{_HYPERTROPHY} or {_DILATION}, whichever is 1")
        measured = {name: table.numbers(name) for name in _MEASUREMENTS_CM}
        columns: dict[str, object] = {
            "sample_id": names.str.removesuffix(".jpg"),
            "image_path": "images/" + names,
            "patient_id": table.text("patient_id"),
            "study_id": "",
            "view": "PA",
            "split": "",
            **{name: labels[name] for name in options.labels},
            "age": table.numbers("age"),
            "sex": table.text("sex"),
            **{f"{name}_cm": values.where(values > 0) for name, values in measured.items()},
            **{name: table.coded(name, _BINARY) for name in _HISTORY},
        }
        return Records(pd.DataFrame(columns), options.labels, (), root)

    def expected_counts(self, options: ChexchonetOptions) -> Mapping[str, int]:
        """The films, and the positives of the labels that are asked for."""
        labels = {f"present:{name}": _POSITIVES[name] for name in options.labels}
        return {
            "films": _NUM_FILMS,
            "patients": _NUM_PATIENTS,
            **labels,
            **{f"unknown:{name}": 0 for name in options.labels},
        }

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """By film: 20 % test, 10 % of the rest validation, stratified (72/8/20); patients are divided."""
        strata = records.table[records.label_names[0]]
        return image_level_splits(records.table["split"], test_share=0.2, val_share=0.1, strata=strata)


DATASET = ChexchonetDataset()
