"""MedMod: clinical phenotypes of stays in intensive care (MIMIC-IV) for the films of MIMIC-CXR-JPG.

MedMod is code, not files: it extracts ``all_stays.csv`` and ``phenotype_labels.csv`` from MIMIC-IV; the films are those
of MIMIC-CXR-JPG. Here both are tied together, one film per stay. What is watched for:

- The labels have no id column and stand in ascending order of ``stay_id``, which ``all_stays.csv`` does not. They are
  joined by ``stay_id``; where the extract has list files, which name the stays, both have to agree.
- Distillation sees the patients of Symile-MIMIC, who are patients of MIMIC too. Every subject of its training and
  validation set is left out, whichever of the subject's admissions it holds; without Symile's tables the reading is
  refused, unless one says that the subjects may stay. (The released code leaves out single admissions of the training
  set, so that patients remain on both sides.)
- Several stays of a subject have to stay together: the splits are by subject.
- The paper counts 28 categories and its code trains 25. Both are right: 25 phenotypes, and three flags of death, two of
  which are the same vector. They are named apart and chosen by an option.

Which film belongs to a stay is a typed option: the paper's rule, or MedMod's own.
"""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import MEDMOD_MORTALITY, MEDMOD_PHENOTYPES
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.official_trees import MIMIC_CXR_LANDMARKS, find_folder, ids, look_for, mimic_cxr_table
from pacx.data.records import Records
from pacx.data.splits import image_level_splits
from pacx.data.tables import SourceTable, missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_WINDOW = ("intime", "outtime", "admittime", "dischtime")
_FLAG_CODES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0}
_METADATA = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
_STRATUM = "Other upper respiratory disease"


class FilmOfStay(Enum):
    """Which film belongs to a stay."""

    EARLIEST_IN_ADMISSION = "earliest-in-admission"
    """The paper's: the first film, in any view, between admission (to ward or unit) and discharge (from the later)."""

    LATEST_AP_IN_UNIT = "latest-ap-in-unit"
    """MedMod's: the last AP film within the stay in the unit whose study has CheXpert labels."""


class MedModLabels(Enum):
    """Which of the labels are read; the others remain as plain columns."""

    PHENOTYPES = MEDMOD_PHENOTYPES
    MORTALITY = MEDMOD_MORTALITY
    PHENOTYPES_AND_MORTALITY = MEDMOD_PHENOTYPES + MEDMOD_MORTALITY


@dataclass(frozen=True, kw_only=True)
class MedModOptions:
    """How to tie stays and films together.

    Args:
        mimic_cxr_jpg: the folder of MIMIC-CXR-JPG that holds ``files``; by default looked for below the root.
        symile: the folder of Symile-MIMIC whose subjects are left out; by default looked for below the root.
        keep_symile_subjects: read without leaving them out, for encoders that never saw Symile-MIMIC.
        film: which film belongs to a stay.
        labels: 25 phenotypes, three flags of death, or both.
    """

    mimic_cxr_jpg: Path | None = None
    symile: Path | None = None
    keep_symile_subjects: bool = False
    film: FilmOfStay = FilmOfStay.EARLIEST_IN_ADMISSION
    labels: MedModLabels = MedModLabels.PHENOTYPES


class MedModDataset(Dataset[MedModOptions]):
    """Reads MedMod's extract beside MIMIC-CXR-JPG."""

    # The paper's 9,098 films of 8,035 patients are not to be expected here: they hold subjects of Symile-MIMIC, and
    # depend on the version of MIMIC-IV.
    card = DatasetCard(
        name="medmod",
        title="MedMod phenotypes for MIMIC-CXR-JPG",
        task=Task.MULTILABEL,
        licence="PhysioNet Credentialed Health Data License (MIMIC-IV, MIMIC-CXR-JPG); not to be shared",
        access="PhysioNet, MIMIC-IV and MIMIC-CXR-JPG 2.1.0, credentialed; then run extract_subjects_iv and "
        "create_phenotyping of github.com/nyuad-cai/MedMod",
        citation="MedMod: nyuad-cai, CHIL 2025; MIMIC-CXR-JPG 2.1.0, PhysioNet, 2024; MIMIC-IV, PhysioNet.",
        layout=(
            "MedMod's data/root/{all_stays.csv,phenotype_labels.csv}",
            "mimic-cxr-jpg/{mimic-cxr-2.0.0-metadata.csv.gz,files/pNN/pNNNNNNNN/sNNNNNNNN/DICOM_ID.jpg} "
            "(or its folder as an option)",
            "symile-mimic/{train.csv,val.csv,labs_means.json} (or its folder as an option)",
        ),
    )
    options_type = MedModOptions

    def read(self, root: Path, options: MedModOptions) -> Records:
        """Turn stays and films into records, one film per stay that has one.

        Raises:
            UsageError: a folder is not there, or Symile-MIMIC is nowhere and its subjects were not allowed to stay.
            DataError: a table is missing or does not fit the others.
        """
        extract = find_folder(root, "all_stays.csv", self.card)
        mimic = options.mimic_cxr_jpg or look_for(root, MIMIC_CXR_LANDMARKS)
        if mimic is None:
            raise missing(root / MIMIC_CXR_LANDMARKS[0], self.card)
        stays = self._stays(extract)
        excluded, notes = self._symile_subjects(root, options)
        is_shared = stays["patient_id"].isin(excluded)
        if excluded:
            num_subjects = stays["patient_id"][is_shared].nunique()
            notes = (f"{int(is_shared.sum())} stays of {num_subjects} subjects of Symile-MIMIC are left out.",)
        stays = stays[~is_shared]
        table = _linked(stays, self._films(mimic, options.film), options.film)
        if table.empty:
            raise DataError(f"no stay of {extract} has a film in {mimic}; check that both are of the same MIMIC")
        above = Path(os.path.commonpath([root.absolute(), mimic.absolute()]))
        below = mimic.absolute().relative_to(above).as_posix()
        table["image_path"] = [f"{below}/{path}".removeprefix("./") for path in table["path"]]
        notes += (f"{len(stays) - len(table)} of {len(stays)} stays have no film and are left out.",)
        kept = table.drop(columns=["path", "start", "end", "unit_start", "unit_end", "taken"])
        return Records(kept.assign(split=""), options.labels.value, (), above, notes)

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """70/10/20 of the stays, whoever's they are, stratified by one of the phenotypes."""
        table = records.table
        if _STRATUM not in table:
            raise UsageError(f"the released code stratifies by '{_STRATUM}'; read the phenotypes")
        return image_level_splits(table["split"], test_share=0.2, val_share=0.125, strata=table[_STRATUM])

    def _stays(self, extract: Path) -> "pd.DataFrame":
        """Every stay with its window and its labels."""
        import pandas as pd

        table = read_table(
            extract / "all_stays.csv",
            ("subject_id", "hadm_id", "stay_id", *_WINDOW, *MEDMOD_MORTALITY),
            card=self.card,
        )
        moments = {name: _moments(table, name) for name in _WINDOW}
        stays = pd.DataFrame(
            {
                "sample_id": ids(table, "stay_id"),
                "patient_id": ids(table, "subject_id"),
                "hadm_id": ids(table, "hadm_id"),
                "start": moments["intime"].where(moments["intime"] < moments["admittime"], moments["admittime"]),
                "end": moments["outtime"].where(moments["outtime"] > moments["dischtime"], moments["dischtime"]),
                "unit_start": moments["intime"],
                "unit_end": moments["outtime"],
                **{name: table.coded(name, _FLAG_CODES) for name in MEDMOD_MORTALITY},
            }
        )
        if stays["sample_id"].duplicated().any():
            raise DataError(f"{table.path} names a stay twice; expected one row per stay_id, extract it again")
        labels = self._labels(extract, stays["sample_id"])
        return stays.merge(labels, left_on="sample_id", right_index=True, how="left", validate="one_to_one")

    def _labels(self, extract: Path, stay_ids: "pd.Series[str]") -> "pd.DataFrame":
        """The 25 phenotypes by stay id: the file's rows are the stays in ascending order of their ids."""
        table = read_table(extract / "phenotype_labels.csv", MEDMOD_PHENOTYPES, card=self.card)
        if len(table) != len(stay_ids):
            raise DataError(
                f"{table.path} has {len(table)} rows for {len(stay_ids)} stays; expected one per stay of all_stays.csv "
                "by ascending stay_id, so extract both again"
            )
        ascending = stay_ids.astype("int64").sort_values().astype(str)
        labels = _phenotypes(table).set_axis(ascending, axis="index")
        for split in ("train", "val", "test"):
            path = extract.parent / "phenotyping" / f"{split}_listfile.csv"
            if not path.is_file():
                continue
            listed = read_table(path, ("stay_id", *MEDMOD_PHENOTYPES), card=self.card)
            named = _phenotypes(listed).set_axis(ids(listed, "stay_id"), axis="index")
            named = named[named.index.isin(labels.index)]
            num_wrong = int((named != labels.loc[named.index]).any(axis=1).sum())
            if num_wrong:
                raise DataError(
                    f"{path} gives {num_wrong} stays other labels than {table.path} by ascending stay_id; the label "
                    "file belongs to other stays or is in another order, extract it again"
                )
        return labels

    def _symile_subjects(self, root: Path, options: MedModOptions) -> tuple[set[str], tuple[str, ...]]:
        """Subjects whom distillation may have seen, and what to note if they stay."""
        if options.keep_symile_subjects:
            return set(), (
                "SUBJECTS OF SYMILE-MIMIC ARE NOT LEFT OUT: do not judge an encoder here that was distilled on it.",
            )
        home = options.symile or look_for(root, ("labs_means.json",))
        if home is None:
            raise UsageError(
                f"Symile-MIMIC is not below {root}, so its subjects cannot be left out of MedMod, on which encoders "
                "distilled from it are judged; give its folder as symile, or allow keep_symile_subjects"
            )
        tables = [read_table(home / f"{split}.csv", ("subject_id",), card=self.card) for split in ("train", "val")]
        return {subject for table in tables for subject in ids(table, "subject_id")}, ()

    def _films(self, mimic: Path, rule: FilmOfStay) -> "pd.DataFrame":
        """Every film of MIMIC-CXR-JPG that the rule may choose."""
        import pandas as pd

        table = read_table(mimic_cxr_table(mimic, "metadata"), _METADATA, card=self.card)
        subject, study, dicom = ids(table, "subject_id"), ids(table, "study_id"), table.text("dicom_id")
        films = pd.DataFrame(
            {
                "patient_id": subject,
                "study_id": study,
                "dicom_id": dicom,
                "view": table.text("ViewPosition"),
                "taken": _taken(table),
                "path": "files/p" + subject.str[:2] + "/p" + subject + "/s" + study + "/" + dicom + ".jpg",
            }
        )
        if rule is FilmOfStay.EARLIEST_IN_ADMISSION:
            return films
        labels = read_table(mimic_cxr_table(mimic, "chexpert"), ("study_id",), card=self.card)
        labelled = ids(labels, "study_id")
        return films[(films["view"] == "AP") & films["study_id"].isin(set(labelled))]


DATASET = MedModDataset()


def _phenotypes(table: SourceTable) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({name: table.coded(name, _FLAG_CODES) for name in MEDMOD_PHENOTYPES})


def _moments(table: SourceTable, name: str) -> "pd.Series[pd.Timestamp]":
    import pandas as pd

    moments = pd.to_datetime(table.text(name), format="%Y-%m-%d %H:%M:%S", errors="coerce")
    table.require(name, moments.notna(), "YYYY-MM-DD hh:mm:ss")
    return moments


def _taken(table: SourceTable) -> "pd.Series[pd.Timestamp]":
    """When each film was taken: a day as a number, and a time as a number that lost its leading zeros."""
    import pandas as pd

    clock = table.matching("StudyTime", r"(\d{1,6})(?:\.(\d*))?", "HHMMSS with or without a fraction")
    moments = pd.to_datetime(ids(table, "StudyDate") + clock[0].str.zfill(6), format="%Y%m%d%H%M%S", errors="coerce")
    table.require("StudyDate", moments.notna(), "YYYYMMDD, and a time of day in StudyTime")
    fraction = ("0." + clock[1].fillna("").replace("", "0")).astype(float)
    return moments + pd.to_timedelta(fraction, unit="s")


def _linked(stays: "pd.DataFrame", films: "pd.DataFrame", rule: FilmOfStay) -> "pd.DataFrame":
    """One film per stay, stays in the order of their beginning; a film that one stay has, no other gets."""
    is_latest = rule is FilmOfStay.LATEST_AP_IN_UNIT
    start, end = ("unit_start", "unit_end") if is_latest else ("start", "end")
    pairs = stays.merge(films, on="patient_id")
    pairs = pairs[(pairs["taken"] >= pairs[start]) & (pairs["taken"] <= pairs[end])]
    pairs = pairs.sort_values([start, "sample_id", "taken", "dicom_id"], ascending=[True, True, not is_latest, True])
    done: set[str] = set()
    is_chosen = np.zeros(len(pairs), bool)
    for row, (stay, film) in enumerate(zip(pairs["sample_id"], pairs["dicom_id"], strict=True)):
        if stay not in done and film not in done:
            is_chosen[row] = True
            done |= {stay, film}
    return pairs[is_chosen].reset_index(drop=True)
