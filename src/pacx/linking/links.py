"""LINKS: a folder of pairs with the rule that made them, and what was lost on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacx.core.artifacts import staged_directory, write_json
from pacx.core.errors import DataError
from pacx.data.pairs.linked_films import FORMAT_VERSION, PAIRS_FILE, STORY_FILE, read_pairs, read_story
from pacx.linking.flow import Flow

if TYPE_CHECKING:
    import pandas as pd

_IDS = ("subject_id", "hadm_id", "study_id", "ecg_study_id")


@dataclass(frozen=True)
class Links:
    """Pairs of films, ECGs and laboratory values.

    Args:
        path: the folder.
        pairs: one row per pair: subject_id, hadm_id, dicom_id, study_id, film_time, film_path, split (train, val, test;
            empty where the hospital has none), ecg_study_id, ecg_time, ecg_path, one float column per laboratory item
            in the panel's units, NaN where there is no measurement, previous_dicom_id and previous_film_time of the
            patient's last film before this one, and previous_pairs, how many pairs that one has.
        items: names of the item columns.
        flow: from rows to pairs.
    """

    path: Path
    pairs: "pd.DataFrame"
    items: tuple[str, ...]
    flow: Flow

    @classmethod
    def open(cls, path: Path) -> "Links":
        """Open what ``pacx data link`` wrote.

        Raises:
            UsageError: there is no such folder.
            DataError: it is of another version, or damaged.
        """
        story = read_story(path)
        pairs = read_pairs(path)
        try:
            items = tuple(map(str, story["items"]))
            flow = Flow.from_json(story["flow"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({type(error).__name__}); link again") from error
        return cls(path, pairs, items, flow)


def write_links(
    path: Path,
    pairs: "pd.DataFrame",
    items: tuple[str, ...],
    flow: Flow,
    origin: dict[str, Any],
    pictures: Mapping[str, bytes],
) -> None:
    """Write pairs; ids are whole numbers where all of them are, text where not.

    Args:
        path: the folder to make.
        pairs: as ``Links`` has them.
        items: names of the item columns.
        flow: from rows to pairs.
        origin: what was linked and by which rule, as JSON values.
        pictures: of the flow, by file name.
    """
    table = pairs.assign(**{name: _whole(pairs[name]) for name in _IDS if name in pairs})
    with staged_directory(path) as partial:
        table.to_parquet(partial / PAIRS_FILE, index=False)
        for name, content in pictures.items():
            (partial / name).write_bytes(content)
        story = {"format_version": FORMAT_VERSION, **origin, "items": list(items), "flow": flow.to_json()}
        write_json(partial / STORY_FILE, story)


def _whole(ids: "pd.Series") -> "pd.Series":
    known = ids.dropna()
    is_whole = known.astype(str).str.fullmatch(r"0|[1-9][0-9]{0,17}").all()
    return ids.astype("Int64" if len(known) < len(ids) else "int64") if is_whole else ids
