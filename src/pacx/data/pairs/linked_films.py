"""What ``pacx data link`` wrote, as everything that goes on from there takes it: one row per film that has a pair.

A pair is about its film: ``dicom_id`` is the sample id of the film in a pack, of its ECG and of its laboratory values,
so that the three meet whatever their files are called. By rule symile two admissions within days may claim one film;
the pair that stands first counts, and the others are told. What is made of links says of which, in a note, so that
targets of other links are not taken for these.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacx.core.artifacts import read_json, sha256_of
from pacx.core.errors import DataError, UsageError
from pacx.core.tables.ids import whole_number_id

if TYPE_CHECKING:
    import pandas as pd

    from pacx.data.records import Records

FORMAT_VERSION = 1
PAIRS_FILE, STORY_FILE = "pairs.parquet", "links.json"
_NEEDED = ("subject_id", "dicom_id", "film_path", "ecg_path")
_NUM_DIGITS = 12
_MADE_OF = re.compile(rf"of links ([0-9a-f]{{{_NUM_DIGITS}}})")
_MOST_ABSENT = 0.5


@dataclass(frozen=True, eq=False)
class LinkedFilms:
    """Films and what belongs to each.

    Args:
        path: the folder of links.
        table: text columns sample_id (unique), patient_id, film_path, split ("" where the links have none) and
            ecg_path ("" where the film has no ECG), and one float column per item, NaN where there is no measurement.
        items: names of the item columns.
        fingerprint: of the pairs, whatever lies beside them.
        num_pairs: of the links; more than films where several pairs have the same.
    """

    path: Path
    table: "pd.DataFrame"
    items: tuple[str, ...]
    fingerprint: str
    num_pairs: int

    @classmethod
    def open(cls, path: Path) -> "LinkedFilms":
        """Open what ``pacx data link`` wrote.

        Raises:
            UsageError: there is no such folder.
            DataError: it is of another version, or damaged.
        """
        import pandas as pd

        from pacx.data.records import SPLITS

        story = read_story(path)
        pairs = read_pairs(path)
        items = tuple(map(str, story["items"]))
        lacking = [name for name in (*_NEEDED, *items) if name not in pairs]
        if lacking or pairs.empty:
            what = f"lacks column {lacking[0]}" if lacking else "has no pair"
            raise DataError(f"{path / PAIRS_FILE} {what}; link again")
        table = pd.DataFrame({"sample_id": _text(pairs["dicom_id"]), "patient_id": _text(pairs["subject_id"])})
        if (table == "").any(axis=None):
            raise DataError(f"{path / PAIRS_FILE} has pairs without a film or a patient; link again")
        for name in ("film_path", "ecg_path", "split"):
            table[name] = _text(pairs[name]) if name in pairs else ""
        if wrong := set(table["split"]) - {*SPLITS, ""}:
            raise DataError(f"{path / PAIRS_FILE} has {len(wrong)} words in its column split that are none; link again")
        values = pairs[list(items)].apply(pd.to_numeric, errors="coerce").astype("float64")
        films = pd.concat([table, values], axis=1)
        films = films[~films["sample_id"].duplicated()].reset_index(drop=True)
        return cls(path, films, items, sha256_of(path / PAIRS_FILE)[:_NUM_DIGITS], len(pairs))

    def __len__(self) -> int:
        return len(self.table)

    def notes(self, what: str) -> tuple[str, ...]:
        """What has to be said of anything that was made of these links, the links themselves first.

        Args:
            what: how many of the films it has, in words.
        """
        notes = [f"pairs of links {self.fingerprint} ({self.path.name}): {what}"]
        if num_more := self.num_pairs - len(self):
            notes.append(f"{num_more:,} of {self.num_pairs:,} pairs have the film of an earlier one and are left out")
        return tuple(notes)


def read_story(path: Path) -> Mapping[str, Any]:
    """What ``links.json`` says.

    Raises:
        UsageError: the folder is none of links.
        DataError: it is of another version.
    """
    if not (path / STORY_FILE).is_file():
        raise UsageError(f"{path} is no folder of links; pacx data link makes one")
    story: object = read_json(path / STORY_FILE)
    if not isinstance(story, dict) or story.get("format_version") != FORMAT_VERSION or "items" not in story:
        raise DataError(f"{path} was written by another version; link again")
    return story


def read_pairs(path: Path) -> "pd.DataFrame":
    """The pairs as they were written.

    Raises:
        DataError: the file is not there, or damaged.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path / PAIRS_FILE)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DataError(f"{path / PAIRS_FILE} is missing or damaged; link again") from error


def with_pairs_only(records: "Records", linked: LinkedFilms) -> "Records":
    """The films of a dataset that have a pair, called as the links call them.

    A film is known by its sample id, or by its path below the root where no sample id meets. Whose it is the links say,
    so that films, ECGs and values agree; into which split it falls the dataset says, and the links where it does not.

    Args:
        records: of the dataset that the links were made of.
        linked: the films that have a pair.

    Raises:
        DataError: fewer than half of the linked films are among the records.
    """
    import pandas as pd

    keys = {whole_number_id(name): row for row, name in enumerate(linked.table["sample_id"])}
    found = records.table["sample_id"].map(whole_number_id).map(keys)
    if found.isna().all():
        keys = {_plain(name): row for row, name in enumerate(linked.table["film_path"])}
        found = records.table["image_path"].map(_plain).map(keys)
    found = found[found.notna() & ~found.duplicated()]
    num_absent = len(linked) - len(found)
    if num_absent > _MOST_ABSENT * len(linked):
        raise DataError(
            f"{num_absent:,} of {len(linked):,} films of {linked.path} are not among the {len(records):,} of "
            f"{records.root}; give the links that were made of these films, and the root that their paths begin at"
        )
    table = records.table.loc[found.index].reset_index(drop=True)
    pairs = linked.table.iloc[found.astype(int)].reset_index(drop=True)
    table["sample_id"], table["patient_id"] = pairs["sample_id"], pairs["patient_id"]
    if not table["split"].any():
        table["split"] = pairs["split"]
    notes = linked.notes(f"{len(table):,} of {len(records):,} films have one, the others are left out")
    if num_absent:
        notes += (f"{num_absent:,} of {len(linked):,} films of the pairs are not here",)
    notes += _shares(linked, pairs)
    if records.has_unknown_patients:
        notes += ("whose the films are, which the dataset does not tell, the links say",)
    return replace(records, table=pd.DataFrame(table), notes=(*records.notes, *notes), has_unknown_patients=False)


def require_same_links(notes_of: Mapping[str, Sequence[str]]) -> None:
    """Refuse what was made of different links, by its notes; what was made without links goes with any.

    Args:
        notes_of: the notes of each, by what it is.

    Raises:
        DataError: two of them are of different links.
    """
    made_of = {what: set(_MADE_OF.findall(" ".join(notes))) for what, notes in notes_of.items()}
    linked = {what: links for what, links in made_of.items() if links}
    if len(set.union(set(), *linked.values())) > 1:
        said = ", ".join(f"{what} of {' and '.join(sorted(links))}" for what, links in linked.items())
        raise DataError(f"these were made of different links ({said}); make all of them of one")


def _shares(linked: LinkedFilms, pairs: "pd.DataFrame") -> tuple[str, ...]:
    has_ecg, has_value = pairs["ecg_path"] != "", pairs[list(linked.items)].notna().any(axis=1)
    return (
        f"of them {int((has_ecg & has_value).sum()):,} have an ECG and laboratory values, "
        f"{int((has_ecg & ~has_value).sum()):,} an ECG alone, {int((has_value & ~has_ecg).sum()):,} values alone",
    )


def _plain(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./")


def _text(column: "pd.Series") -> "pd.Series[str]":
    """Ids and paths as text; "" where there is none."""
    return column.astype("object").where(column.notna(), "").map(str).map(whole_number_id)
