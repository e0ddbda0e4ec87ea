"""Is a copy of a dataset complete and right?

`tree -> records -> counts, files, patients, a sample of films, the adapter's own checks -> diagnosis`. Counts are held
against the dataset's card, or against ``twin.json`` where the tree is a simulated twin. The doctor changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacx.core.errors import DataError
from pacx.core.twin_file import twin_counts
from pacx.core.typed_json import plain
from pacx.data.checks.doctor_files import missing_files, surplus_files, unreadable_films
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import Dataset, Issue, OptionsT, Task
from pacx.data.packs.pack import drawn_by
from pacx.data.records import MASK_PREFIX, Records, shown
from pacx.data.splits import patients_in_two_splits


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often something occurs: in the complete dataset, and here. None: nobody says what to expect."""

    name: str
    expected: int | None
    found: int


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the doctor says of a copy.

    Args:
        dataset: its name.
        root: where it lies.
        is_twin: whether it is a simulated twin, so that the counts expected are the simulator's.
        counts: in the words of ``pacx.data.checks.record_counts``; empty where the tree could not be read at all.
        num_checked: films that were decoded.
        issues: faults and warnings, in the order they were found.
        notes: what a pack of it would say of how its table came about, and of what was left out.
    """

    dataset: str
    root: Path
    is_twin: bool
    counts: tuple[Count, ...]
    num_checked: int
    issues: tuple[Issue, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_green(self) -> bool:
        """Whether nothing is at fault; warnings may remain."""
        return not any(issue.is_fault for issue in self.issues)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain JSON values, for ``pacx data doctor --json``."""
        return {**plain(self), "is_green": self.is_green}


def examine(
    dataset: Dataset[OptionsT],
    root: Path,
    options: OptionsT,
    *,
    state: Path,
    num_samples: int | None,
    num_workers: int = 1,
) -> Diagnosis:
    """Examine a copy of a dataset.

    Args:
        dataset: its adapter.
        root: the folder.
        options: of the adapter.
        state: a file that remembers which films were decoded already while the examination runs; removed at its end.
            Interrupted, the same call goes on from there.
        num_samples: films to decode, evenly drawn; None decodes all.
        num_workers: decoding processes.

    Returns:
        What was counted and what is wrong; a tree that cannot be read is an issue too, and no error.

    Raises:
        UsageError: the folder, or a file named by the options, is not there.

    Example:
        >>> from pathlib import Path
        >>> from pacx.data import FolderOptions, examine
        >>> from pacx.data.dataset import datasets
        >>> state = Path("examined.json")
        >>> found = examine(datasets()["folder"], Path("films"), FolderOptions(), state=state, num_samples=5)
        >>> found.is_green, found.num_checked
        (True, 5)
    """
    counts: tuple[Count, ...] = ()
    num_checked, is_twin = 0, False
    issues: list[Issue] = []
    notes: tuple[str, ...] = ()
    try:
        expected = twin_counts(root, dataset.card.name)
        is_twin = expected is not None
        records = dataset.read(root, options)
        notes = (*_whose(records), *records.notes)
        counts = _counts(dataset.expected_counts(options) if expected is None else expected, tally(records))
        issues += _wrong_counts(counts, "twin.json" if is_twin else "the complete dataset")
        issues += _patients(dataset, records)
        issues += _masks(dataset, records)
        issues += missing_files(records)
        issues += surplus_files(records, root, dataset.card.image_globs)
        unreadable, num_checked = unreadable_films(
            records,
            state=state,
            num_samples=num_samples,
            num_workers=num_workers,
            is_size_shared=dataset.card.masks_have_image_size,
        )
        issues += unreadable
        issues += dataset.inspect(root, options, records)
    except DataError as error:
        issues.append(Issue(check="layout", message=str(error)))
    return Diagnosis(
        dataset=dataset.card.name,
        root=root,
        is_twin=is_twin,
        counts=counts,
        num_checked=num_checked,
        issues=tuple(issues),
        notes=notes,
    )


def _counts(expected: Mapping[str, int], found: Mapping[str, int]) -> tuple[Count, ...]:
    names = [*found, *(name for name in expected if name not in found)]
    return tuple(Count(name=name, expected=expected.get(name), found=found.get(name, 0)) for name in names)


def _wrong_counts(counts: Sequence[Count], where: str) -> Iterator[Issue]:
    for count in counts:
        if count.expected not in (None, count.found):
            yield Issue(
                check="counts",
                message=f"{count.name} is {count.found:,}, but {count.expected:,} in {where}; get the files again",
            )


def _whose(records: Records) -> Iterator[str]:
    """What intervals of results on a pack of it will be drawn by, where that is not the patient throughout."""
    table = records.table
    if records.has_unknown_patients:
        words = drawn_by((table["patient_id"] != table["sample_id"]).to_numpy(bool))
        yield f"Results on these films are by {words}."


def _patients(dataset: Dataset[Any], records: Records) -> Iterator[Issue]:
    divided = patients_in_two_splits(records.table)
    if divided:
        yield Issue(
            check="patients",
            message=f"{len(divided)} patients have films in two splits; scores come out too high",
            is_fault=not dataset.card.splits_share_patients,
        )


def _masks(dataset: Dataset[Any], records: Records) -> Iterator[Issue]:
    if dataset.card.task is not Task.SEGMENTATION:
        return
    for name in records.mask_names:
        without = records.table["image_path"][records.table[MASK_PREFIX + name] == ""].tolist()
        if without:
            yield Issue(
                check="masks",
                message=f"{len(without)} films have no {name} mask: {shown(without)}",
                files=tuple(without),
            )
