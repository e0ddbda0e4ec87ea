"""Ridge and retrieval towards the patient's ECG and laboratory embedding (the paper's Table 2)."""

from dataclasses import dataclass, field
from pathlib import Path

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Outcome, Protocol
from pacx.evaluation.settings import AlignmentConfig


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings:
    """Ask whether a patient's ECG and laboratory embedding can be read off the film's, by ridge and retrieval."""

    targets: tuple[Path, ...] = ()
    """Frozen target folders of the same patients, one per modality."""

    align: AlignmentConfig = field(default_factory=AlignmentConfig)
    """The ridge probe; the defaults are the paper's."""


class Alignment(Protocol[AlignmentSettings]):
    """``evaluation.probes.alignment`` for every encoder and every folder of targets."""

    name, summary, headline = "alignment", "ridge and retrieval towards ECG and labs (Table 2)", "recall_at_5"
    settings = AlignmentSettings
    needs = ()
    inputs = ("targets",)
    example = "--targets runs/ecg/targets runs/labs/targets"

    def run(self, films: EncodedPack, settings: AlignmentSettings, comparison: Comparison) -> Outcome:
        """Rows of every modality, over the films that have all of them."""
        from pacx.data.pairs.linked_films import require_same_links
        from pacx.evaluation.probes.alignment import AlignmentData, alignment, rows_with_targets
        from pacx.modalities.targets import open_targets

        targets = open_targets(settings.targets)
        of_targets = {f"{target.modality} targets": target.notes for target in targets}
        require_same_links({str(films.pack.path): films.pack.manifest.notes, **of_targets})
        known, total = rows_with_targets(films.pack, targets), len(films.pack)
        features = {name: array[known] for name, array in films.features(comparison.device).items()}
        data = AlignmentData.from_pack(films.pack, targets, dataset=comparison.dataset)
        left = f"{total - len(known)} of {total} films of {films.pack.path} have no target and are left out"
        rows = alignment(data, features, comparison, config=settings.align)
        notes = [f"{target.modality}: {note}" for target in targets for note in target.notes]
        return Outcome(rows=rows, remarks=[*notes, *([left] if len(known) < total else [])])

    def lacks(self, films: EncodedPack, settings: AlignmentSettings) -> str:
        """Targets of training and of test patients."""
        import numpy as np

        from pacx.evaluation.probes.alignment import rows_with_targets
        from pacx.modalities.targets import open_targets

        if missing := super().lacks(films, settings):
            return missing
        known = rows_with_targets(films.pack, open_targets(settings.targets))
        has_both = all(np.isin(films.pack.rows(split), known).any() for split in ("train", "test"))
        return "" if has_both else "--targets of its own training and test films"

    def fingerprints(self, settings: AlignmentSettings, /) -> list[str]:
        """The targets' fingerprints, which a kept step depends on."""
        from pacx.modalities.targets import open_targets

        return [target.fingerprint for target in open_targets(settings.targets)]


PROTOCOL = Alignment()
