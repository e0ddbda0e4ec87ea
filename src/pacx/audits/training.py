"""Audits that train: how much is hidden from the autoencoder, and does a distillation need the right pairs?

Runs go on where they stopped and a finished one is not trained again. Each is trained once, so the intervals hold for
other test patients and probes, not for another training; rows say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacx.audits.audit import AuditResult, ProbedAudit, in_words
from pacx.data.packs.pack import Pack
from pacx.evaluation.results import ResultRow, difference_metric
from pacx.models.encoders.names import MAE
from pacx.recipes.distill import DistillRun, distill, distill_tiny
from pacx.recipes.mae import MAERun, mae, mae_tiny
from pacx.recipes.negative_controls import ShuffledPairsRun

LOW, HIGH = 0.75, 0.90
TRUE, SHUFFLED = "true pairs", "shuffled pairs"
_CAVEAT = "one training each, whose chance the interval leaves out"


@dataclass(frozen=True, kw_only=True)
class _TrainedAudit(ProbedAudit):
    """An audit that trains encoders and probes them on one pack."""

    labelled: Path
    """The pack that is probed, with labels and splits."""

    def probed(self, folders: Mapping[str, Path], baseline: str) -> list[ResultRow]:
        """Rows of encoder folders by name, with paired differences to one of them."""
        from pacx.evaluation.embeddings import embed_pack
        from pacx.evaluation.probes.classification import ClassificationData
        from pacx.evaluation.probes.linear_probe import linear_probe
        from pacx.models.encoders.by_name import encoder_from_folder

        pack = Pack.open(self.labelled)
        maker, comparison = (
            self.maker(pack.path.name, more=_CAVEAT, drawn_by=pack.drawn_by),
            self.comparison(pack.path.name),
        )
        rows = linear_probe(
            ClassificationData.from_pack(pack, dataset=maker.dataset),
            {
                name: embed_pack(encoder_from_folder(name, at).encoder, pack, device=maker.device)
                for name, at in folders.items()
            },
            replace(comparison, baseline=baseline, provenance=maker.provenance),
            config=self.probe,
        )
        return [replace(row, protocol=maker.protocol) for row in rows]

    def check_before_training(self, films: Path) -> None:
        """Refuse a labelled pack that cannot be probed while nothing has been trained yet."""
        from pacx.evaluation.embeddings import check_size
        from pacx.evaluation.probes.classification import ClassificationData

        pack = Pack.open(self.labelled)
        ClassificationData.from_pack(pack, dataset=pack.path.name)
        check_size(pack, Pack.open(films).preprocessing)


def _gain(rows: list[ResultRow], name: str, baseline: str) -> str:
    return in_words(rows, subject=name, contrast=baseline, metric=difference_metric("auroc"))


@dataclass(frozen=True, kw_only=True)
class MaskRatioAudit(_TrainedAudit):
    """Is it better to hide 90 % of the patches (the paper) or 75 % (its code)? Equal films, epochs and settings.

    A step at 75 % computes more, because more is visible.
    """

    mae: MAERun = field(default_factory=lambda: replace(mae(), out=Path("runs/audit-mask-ratio")))
    """Stage 1; its mask ratio is replaced, its two runs lie in MAE.OUT/0.75 and MAE.OUT/0.9."""

    name = "mask-ratio"
    example = "--labelled packs/nih14 --mae.pack packs/chexpert --mae.training.seed 1 --out runs/audit/mask-ratio.json"

    def run(self) -> AuditResult:
        """Train twice, probe twice."""
        self.check_before_training(self.mae.pack)
        folders = {}
        for ratio in (LOW, HIGH):
            task = replace(self.mae.task, model=replace(self.mae.task.model, mask_ratio=ratio))
            run = replace(self.mae, task=task, out=self.mae.out / f"{ratio:g}", resume=True)
            run.run()
            folders[f"mask ratio {ratio:g}"] = run.out / "encoder"
        low, high = folders
        rows = self.probed(folders, low)
        scores = [in_words(rows, subject=name, metric="auroc") for name in (high, low)]
        return AuditResult(
            rows=rows,
            answer=f"Macro AUROC is {scores[0]} with 90 % of the patches hidden and {scores[1]} with 75 %, "
            f"{_gain(rows, high, low)}; {_CAVEAT}.",
        )


@dataclass(frozen=True, kw_only=True)
class TinyMaskRatioAudit(MaskRatioAudit):
    """The same with mae-tiny, for two CPU cores."""

    mae: MAERun = field(default_factory=lambda: replace(mae_tiny(), out=Path("runs/audit-mask-ratio-tiny")))
    """Stage 1; its mask ratio is replaced, its two runs lie in MAE.OUT/0.75 and MAE.OUT/0.9."""

    name = "mask-ratio-tiny"


@dataclass(frozen=True, kw_only=True)
class ShuffledPairsAudit(_TrainedAudit):
    """Does a distillation need the right pairs? True and shuffled ones, from the same MAE, with the same settings."""

    distill: DistillRun = field(default_factory=lambda: replace(distill(), out=Path("runs/audit-shuffled-pairs")))
    """Stage 2; its two runs lie in DISTILL.OUT/true and DISTILL.OUT/shuffled."""

    name = "shuffled-pairs"
    example = (
        "--labelled packs/nih14 --distill.encoder runs/mae/encoder --distill.pack packs/symile "
        "--distill.targets runs/ecg/targets runs/labs/targets --out runs/audit/shuffled-pairs.json"
    )

    def run(self) -> AuditResult:
        """Train twice, probe both and the MAE."""
        self.check_before_training(self.distill.pack)
        true = replace(self.distill, out=self.distill.out / "true", resume=True)
        shuffled = self.distill.taught_otherwise(ShuffledPairsRun, out=self.distill.out / "shuffled", resume=True)
        for run in (true, shuffled):
            run.run()
        folders = {MAE: self.distill.encoder, TRUE: true.out / "encoder", SHUFFLED: shuffled.out / "encoder"}
        rows = self.probed(folders, MAE)
        rows += [
            row
            for row in self.probed({name: folders[name] for name in (TRUE, SHUFFLED)}, SHUFFLED)
            if row.contrast and row.encoder == TRUE
        ]
        return AuditResult(
            rows=rows,
            answer=f"Over the MAE, true pairs gain {_gain(rows, TRUE, MAE)} macro AUROC and shuffled pairs "
            f"{_gain(rows, SHUFFLED, MAE)}; true minus shuffled {_gain(rows, TRUE, SHUFFLED)}; {_CAVEAT}.",
        )


@dataclass(frozen=True, kw_only=True)
class TinyShuffledPairsAudit(ShuffledPairsAudit):
    """The same with distill-tiny, for two CPU cores."""

    distill: DistillRun = field(
        default_factory=lambda: replace(distill_tiny(), out=Path("runs/audit-shuffled-pairs-tiny"))
    )
    """Stage 2; its two runs lie in DISTILL.OUT/true and DISTILL.OUT/shuffled."""

    name = "shuffled-pairs-tiny"


AUDITS = (MaskRatioAudit, TinyMaskRatioAudit, ShuffledPairsAudit, TinyShuffledPairsAudit)
