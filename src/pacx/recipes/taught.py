"""What every Stage 2 has in common: an encoder, films, frozen targets; and what it may be told instead, by class.

A run is a way of teaching (gradients, closed form) and what is taught (own targets, a control). The ways are classes of
their own; what is taught is ``frozen_targets``, which a control overrides, whatever the way.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack, require_columns
from pacx.modalities.targets import FrozenTargets, open_targets
from pacx.recipes.run import Run

RunT = TypeVar("RunT", bound="TaughtRun")


@dataclass(frozen=True, kw_only=True)
class TaughtRun(Run):
    """A run that tells a film encoder of its patients' physiology."""

    encoder: Path
    """The Stage 1 encoder folder."""

    pack: Path
    """Films of the patients whose ECG and labs were embedded."""

    targets: tuple[Path, ...]
    """Frozen target folders, one or more (as the splits are shipped) per modality; leave one out for an ablation."""

    @property
    @abstractmethod
    def seed_of_targets(self) -> int:
        """Of whatever is random in what is taught."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """What is taught; ``fitting`` are the pack's training rows."""
        return open_targets(self.targets)

    def taught_otherwise(self, kind: type[RunT], **changes: Any) -> RunT:  # noqa: ANN401 - fields of ``kind``
        """The same run as a class that changes what is taught, such as a control, with other fields changed too."""
        return kind(**{**{each.name: getattr(self, each.name) for each in fields(self)}, **changes})


@dataclass(frozen=True, kw_only=True)
class ShuffledPairs(TaughtRun):
    """The right targets of the wrong patients, of every training film; validation patients keep their own."""

    within: tuple[str, ...] = ()
    """Columns of the pack's records, such as view: only films equal in all of them exchange targets. What a run then
    gains over this control is more than these columns tell."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """Targets exchanged among the training films."""
        from pacx.modalities.controls import with_shuffled_pairs

        rows = pack.table.iloc[fitting]
        require_columns(rows, self.within, self.pack, "exchange within")
        # a missing value is a value of its own, whatever a column is made of
        words = [rows[name].astype("string").fillna("unknown") for name in self.within]
        strata = [", ".join(each) for each in zip(*words, strict=True)] if words else None
        ids, patients, seed = rows["sample_id"].tolist(), pack.patient_ids[fitting].tolist(), self.seed_of_targets
        opened = super().frozen_targets(pack, fitting)
        return [with_shuffled_pairs(target, ids, patients, seed=seed, strata=strata) for target in opened]


@dataclass(frozen=True, kw_only=True)
class RandomTargets(TaughtRun):
    """Noise of the targets' width."""

    def frozen_targets(self, pack: Pack, fitting: NDArray[np.int64]) -> Sequence[FrozenTargets]:
        """Noise for every sample that has a target."""
        from pacx.modalities.controls import random_targets

        opened = super().frozen_targets(pack, fitting)
        return [random_targets(target, seed=self.seed_of_targets) for target in opened]
