"""What a dataset adapter is: an official tree in, records out, and nothing else.

An adapter is one file in ``datasets/`` that carries a ``DATASET``; ``datasets()`` finds it. Adapters decode no image,
copy no file, look for no image file and decide no split that the dataset does not define itself: they say what its
tables and folders say. Whether the files are there is for ``doctor`` and the packer to find out. This room imports
pandas in the functions that use it, so that lists and help are instant (docs/adr/0027).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pacx.core.discovery import Plugins, discover
from pacx.core.errors import UsageError
from pacx.data.packs.pack import Pack
from pacx.data.records import Records

if TYPE_CHECKING:
    import pandas as pd


OptionsT = TypeVar("OptionsT")


class Task(Enum):
    """What a dataset's labels ask of an encoder.

    Example:
        >>> from pacx.data import Task
        >>> Task("multilabel") is Task.MULTILABEL
        True
    """

    UNLABELLED = "unlabelled"
    BINARY = "binary"
    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"
    SEGMENTATION = "segmentation"
    ANY = "any"
    """It depends on the user's own files."""


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How a dataset's films are divided where its makers leave it open; always by whole patients.

    Args:
        fractions: shares of train, val and test where no film has a split.
        val_share_of_train: share of the official training patients that are held out for validation, where the makers
            define a training and a test set only.
    """

    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    val_share_of_train: float = 0.1


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What a person has to know before using a dataset.

    Args:
        name: as typed on the command line.
        title: as its makers call it.
        task: what its labels ask.
        licence: under which terms it may be used.
        access: where it is had, and what has to be signed.
        citation: what to cite.
        layout: the tree below the root, one path pattern with its meaning each; shown when a tree is wrong.
        splits: what is done where the makers define no split.
        counts: how often something occurs in the complete dataset, in the words of
            ``pacx.data.checks.record_counts``; only figures that were seen in a source, never an estimate.
        image_globs: patterns below the root that every image and mask file matches; a file that matches and is in no
            record is surplus. Empty: surplus files cannot be told.
        masks_have_image_size: whether a mask has the height and width of its film, so that another size is a fault.
        splits_share_patients: whether the makers' own splits are known to share patients, so that it is worth a warning
            but no fault of this copy.

    Example:
        >>> from pacx.data import DatasetCard, Task
        >>> card = DatasetCard(
        ...     name="spa", title="Films of a spa", task=Task.BINARY, licence="ours", access="ask us", citation="-"
        ... )
        >>> card.splits.fractions
        (0.7, 0.1, 0.2)
    """

    name: str
    title: str
    task: Task
    licence: str
    access: str
    citation: str
    layout: tuple[str, ...] = ()
    splits: SplitPlan = field(default_factory=SplitPlan)
    counts: Mapping[str, int] = field(default_factory=dict)
    image_globs: tuple[str, ...] = ()
    masks_have_image_size: bool = True
    splits_share_patients: bool = False


@dataclass(frozen=True, kw_only=True)
class Issue:
    """Something about a copy of a dataset that whoever uses it has to know.

    Args:
        check: what was looked at, in a word or two ("lab order").
        message: one sentence: what, where, what was expected, what to do. Never a value from a file's header.
        is_fault: the copy is not what its makers ship; False where it is, and the user should still know.
        files: every file at fault, where the message names the first few.
    """

    check: str
    message: str
    is_fault: bool = True
    files: tuple[str, ...] = ()


class Dataset(ABC, Generic[OptionsT]):
    """One dataset on disk, as its makers distribute it.

    Example:
        A dataset of somebody else; ``docs/adding/dataset.md`` says how a package brings it along.

        >>> from pathlib import Path
        >>> from pacx.data import Dataset, DatasetCard, FolderOptions, Records, Task
        >>> class Spa(Dataset[FolderOptions]):
        ...     card = DatasetCard(name="spa", title="Spa", task=Task.ANY, licence="ours", access="ask", citation="")
        ...     options_type = FolderOptions
        ...     def read(self, root, options):
        ...         import pandas as pd
        ...         ids = sorted(path.name for path in root.glob("*.png"))
        ...         table = pd.DataFrame({"sample_id": ids, "image_path": ids, "patient_id": ids})
        ...         return Records(table.assign(study_id="", view="", split=""), (), (), root)
        >>> records = Spa().read(Path("films"), FolderOptions())
        >>> len(records) == len(list(Path("films").glob("*.png")))
        True
    """

    card: DatasetCard
    options_type: type[OptionsT]
    """The frozen dataclass of what a user may choose when reading it; its defaults read the official tree."""

    @abstractmethod
    def read(self, root: Path, options: OptionsT) -> Records:
        """Turn the tree below ``root`` into records.

        Args:
            root: the folder as the makers distribute it.
            options: what the user chose.

        Returns:
            One row per film; a label that the makers leave open is NaN, a split that they leave open is "".

        Raises:
            UsageError: the folder or a file named by the options is not there.
            DataError: the tree is not what the makers distribute; the message says what was expected.
        """

    def expected_counts(self, options: OptionsT) -> Mapping[str, int]:
        """How often something occurs in a complete copy read with these options, in words of ``checks.record_counts``.

        The card's counts, unless an adapter has options that leave films out.
        """
        return self.card.counts

    def inspect(self, root: Path, options: OptionsT, records: Records) -> Sequence[Issue]:
        """What ``pacx data doctor`` should say of this dataset beyond counts, files, masks and patients.

        For the checks that only this dataset needs and that are too slow, or too forgiving, for ``read``: held against
        the complete copy, reading whatever files it needs.

        Args:
            root: the folder ``records`` was read from.
            options: as given to ``read``.
            records: what ``read`` made of it.

        Returns:
            what was found; empty when all is well.
        """
        return ()

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """The split of each film as the authors' released code draws it, most often by image: to measure what it does.

        Raises:
            UsageError: the released code draws no split of its own for this dataset.
        """
        raise UsageError(f"the released code draws no split of {self.card.name}; use the default split policy")


def datasets() -> Plugins[Dataset[Any]]:
    """Every dataset there is an adapter for, by name: ours, and the entry points ``pacx.datasets`` of others."""
    # abstract classes are only compared with
    return discover("pacx.data.datasets", "DATASET", Dataset, group="pacx.datasets")  # type: ignore[type-abstract]  # plug-ins derive from it


def task_of(pack: Pack) -> Task:
    """What a pack's labels ask, by the card of the dataset it was made from; ``Task.ANY`` where that is not known."""
    known = datasets()
    name = pack.manifest.dataset
    return known[name].card.task if name in known else Task.ANY
