"""What every protocol is told alike: which encoders are held against which, on what, and what their rows say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pacx.evaluation.results import Subject
from pacx.evaluation.settings import NUM_DRAWS
from pacx.models.device import chosen_device

if TYPE_CHECKING:  # a command's help is shown without scipy
    from pacx.evaluation.statistics.bootstrap import RowMaker


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison of encoders on one dataset.

    Args:
        dataset: the name that rows carry.
        baseline: the encoder that the others are compared with, paired over patients; None = no differences.
        provenance: commit, command or remark; goes into every row.
        num_draws: bootstrap draws of patients.
        device: where encoders and heads run, in torch's spelling; a GPU if there is one.
        subjects: by the name under which a protocol meets an encoder, what rows say it is, where that is more than its
            name.

    Example:
        >>> from pacx.evaluation import Comparison
        >>> comparison = Comparison(dataset="films", baseline="mae", num_draws=200, device="cpu")
        >>> comparison.baseline
        'mae'
    """

    dataset: str
    baseline: str | None = None
    provenance: str = ""
    num_draws: int = NUM_DRAWS
    device: str = field(default_factory=chosen_device)
    subjects: Mapping[str, Subject] = field(default_factory=dict)

    def maker(self, protocol: str, seed: int, *, remark: str = "", drawn_by: str = "") -> "RowMaker":
        """What the rows of one protocol have in common.

        Args:
            protocol: its name.
            seed: of everything random in it.
            remark: goes into all of them.
            drawn_by: what its bootstrap draws, as ``Pack.drawn_by`` says it.
        """
        from pacx.evaluation.statistics.bootstrap import RowMaker

        return RowMaker(
            protocol=protocol,
            dataset=self.dataset,
            seed=seed,
            provenance="; ".join(part for part in (self.provenance, remark) if part),
            device=self.device,
            subjects=self.subjects,
            drawn_by=drawn_by,
        )
