"""``pacx evaluate``: protocols on frozen encoders, ending in result rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pacx.cli import evaluate_all, evaluate_looks
from pacx.cli.evaluate_call import EvaluateCall, by_name, embedded, folders_for_heads
from pacx.cli.terminal import choose, parse, say
from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.data.packs.pack import Pack
from pacx.evaluation import low_data as low_data_protocol
from pacx.evaluation import probe as probe_protocol
from pacx.evaluation.alignment import AlignmentConfig, AlignmentData, alignment, rows_with_targets
from pacx.evaluation.attention import attention
from pacx.evaluation.classification import ClassificationData
from pacx.evaluation.classifier import fit_classifier
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import mirrored
from pacx.evaluation.linear_heads import ProbeConfig
from pacx.evaluation.logistic import LogisticConfig, logistic_regression
from pacx.evaluation.neighbours import NeighbourConfig, nearest_neighbours
from pacx.evaluation.readouts import (
    COVERAGE,
    EVERYTHING,
    Readout,
    ReadoutConfig,
    fit_readouts,
    read_measured_values,
    readout_rows,
)
from pacx.evaluation.results import ResultRow, difference_metric, write_rows
from pacx.evaluation.segmentation import SegmentationConfig, segmentation
from pacx.evaluation.statistics import MACRO
from pacx.evaluation.subgroups import groupings
from pacx.modalities.targets import open_targets
from pacx.models.device import chosen_device
from pacx.models.encoders.by_name import NamedEncoder, open_encoders
from pacx.models.heads.classifier import save_classifier
from pacx.models.heads.readouts import save_readouts
from pacx.models.segmenter import SegmentationDecoder, Segmenter, save_segmenter

_EXAMPLE = "pacx evaluate {name} --pack packs/films --encoders mae=runs/mae/encoder random{more} --out results.json"


@dataclass(frozen=True, kw_only=True)
class _HeadsCall(EvaluateCall):
    """What the two protocols that train probes have in common."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained; the defaults are the paper's."""

    headline = "auroc"

    @property
    def chosen_seed(self) -> int:
        """Of the probes."""
        return self.probe.seed


@dataclass(frozen=True, kw_only=True)
class ProbeCall(_HeadsCall):
    """Train linear probes on cached embeddings and score them on the test split, with patient-level intervals."""

    subgroups: bool = True
    """Score sex, age, view and site apart as well, where the pack knows them."""

    knn: bool = False
    """Let nearest neighbours vote as well."""

    logistic: bool = False
    """Fit logistic regressions to their optimum as well."""

    released_code: bool = False
    """Train probes as the authors' code does as well: AdamW and mirrored films."""

    save: bool = False
    """Keep a classifier in each encoder folder's sub-folder classifier: a probe on all training patients, and many on
    random halves of them, from which its probabilities have intervals."""

    num_halves: int = 100
    """Probes on random halves of the training patients, behind those intervals."""

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """All training labels (Table 1)."""
        data, features = (
            ClassificationData.from_pack(pack, dataset=comparison.dataset),
            embedded(pack, encoders, comparison.device),
        )
        seed, grouped = self.probe.seed, groupings(pack.table) if self.subgroups else ()
        rows = probe_protocol.linear_probe(data, features, comparison, config=self.probe, grouped=grouped)
        if self.knn:
            rows += nearest_neighbours(data, features, comparison, config=NeighbourConfig(seed=seed))
        if self.logistic:
            rows += logistic_regression(data, features, comparison, config=LogisticConfig(seed=seed))
        if self.released_code:
            flipped = embedded(pack, encoders, comparison.device, alter=mirrored)
            rows += probe_protocol.released_code_probe(data, features, flipped, comparison, config=self.probe)
        if self.save:
            for name, folder in folders_for_heads(self.encoders, "classifiers").items():
                classifier = fit_classifier(data, features[name], config=self.probe, num_halves=self.num_halves)
                out = save_classifier(folder, classifier)
                say(
                    f"classifier of {name} for {len(classifier.labels)} labels written to {out}: {classifier.fitted_on}"
                )
        return rows


@dataclass(frozen=True, kw_only=True)
class LowDataCall(_HeadsCall):
    """Train linear probes on 1, 10 and 100 % of the training labels, several subsets each."""

    fractions: tuple[float, ...] = low_data_protocol.FRACTIONS
    """Shares of the training films; smaller subsets lie inside larger ones."""

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Shares of the training labels (Figure 3)."""
        return low_data_protocol.low_data(
            ClassificationData.from_pack(pack, dataset=comparison.dataset),
            embedded(pack, encoders, comparison.device),
            comparison,
            config=self.probe,
            fractions=self.fractions,
        )


@dataclass(frozen=True, kw_only=True)
class SegmentCall(EvaluateCall):
    """Train a small decoder on frozen patch tokens and score it by IoU and Dice, with patient-level intervals."""

    decoder: SegmentationConfig = field(default_factory=SegmentationConfig)
    """How the decoder is trained; the defaults are the paper's."""

    save: bool = False
    """Keep each encoder folder's decoder in its sub-folder segmenter, for whoever uses the encoder."""

    headline = "iou"

    @property
    def chosen_seed(self) -> int:
        """Of the decoder."""
        return self.decoder.seed

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Every mask of the pack."""
        folders = folders_for_heads(self.encoders, "segmenters") if self.save else {}

        def keep(name: str, decoder: SegmentationDecoder) -> None:
            if name in folders:
                out = save_segmenter(folders[name], Segmenter(decoder, pack.mask_names))
                say(f"segmenter of {name} for {', '.join(pack.mask_names)} written to {out}")

        return segmentation(
            pack,
            by_name(encoders),
            comparison,
            config=self.decoder,
            keep=keep,
        )


@dataclass(frozen=True, kw_only=True)
class AlignCall(EvaluateCall):
    """Ask whether a patient's ECG and laboratory embedding can be read off the film's, by ridge and retrieval."""

    targets: tuple[Path, ...]
    """Frozen target folders of the same patients, one per modality."""

    align: AlignmentConfig = field(default_factory=AlignmentConfig)
    """The ridge probe; the defaults are the paper's."""

    headline = "recall_at_5"

    @property
    def chosen_seed(self) -> int:
        """Of the bootstrap."""
        return self.align.seed

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Every modality given."""
        opened = open_targets(self.targets)
        known, features = rows_with_targets(pack, opened), embedded(pack, encoders, comparison.device)
        return alignment(
            AlignmentData.from_pack(pack, opened, dataset=comparison.dataset),
            {name: array[known] for name, array in features.items()},
            comparison,
            config=self.align,
        )


@dataclass(frozen=True, kw_only=True)
class RolloutCall(EvaluateCall):
    """Measure how much of the class token's attention rollout lies inside each mask of the test films."""

    seed: int = 0
    """Of the bootstrap."""

    headline = "attention_share"

    @property
    def chosen_seed(self) -> int:
        """Of the bootstrap."""
        return self.seed

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Every mask of the pack."""
        return attention(
            pack,
            by_name(encoders),
            comparison,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class ReadoutCall(EvaluateCall):
    """Read measured values (labs, ECG measures) from the film, with intervals that cover as often as they say.

    Fitted on the training patients, calibrated on the validation patients, judged on the test patients.
    """

    values: Path
    """A csv with sample_id and one column of numbers per quantity; a blank was not measured."""

    elsewhere: tuple[Path, ...] = ()
    """Pack and csv of another hospital, where the intervals promise nothing and their coverage is measured."""

    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    """How read-outs are fitted."""

    save: bool = False
    """Keep each encoder folder's read-outs in its sub-folder readouts, for whoever uses the encoder."""

    headline = COVERAGE

    @property
    def chosen_seed(self) -> int:
        """Of the bootstrap."""
        return self.readout.seed

    def rows(self, pack: Pack, encoders: Sequence[NamedEncoder], comparison: Comparison) -> list[ResultRow]:
        """Every quantity, at home and elsewhere."""
        if len(self.elsewhere) not in (0, 2):
            raise UsageError("--elsewhere takes a pack and a csv of the same patients; give both or neither")
        features, measured = embedded(pack, encoders, comparison.device), read_measured_values(self.values, pack)
        fitted = {
            name: fit_readouts(
                array, measured, training=pack.rows("train"), calibration=pack.rows("val"), config=self.readout
            )
            for name, array in features.items()
        }
        if self.save:
            self._save(fitted)
        judged = [(comparison.dataset, features, measured, pack.rows("test"))]
        if self.elsewhere:
            other = Pack.open(self.elsewhere[0])
            values = read_measured_values(self.elsewhere[1], other)
            judged.append(
                (other.path.name, embedded(other, encoders, comparison.device), values, np.arange(len(other)))
            )
        return [
            row
            for name, arrays, values, test in judged
            for row in readout_rows(
                fitted,
                arrays,
                values,
                test,
                replace(comparison, dataset=name),
                config=self.readout,
            )
        ]

    def _save(self, fitted: Mapping[str, Mapping[str, Readout]]) -> None:
        for name, folder in folders_for_heads(self.encoders, "read-outs").items():
            out = save_readouts(folder, {quantity: each.head for quantity, each in fitted[name].items()})
            say(f"{len(fitted[name])} read-outs of {name} written to {out}")


_PROTOCOLS: Mapping[str, tuple[type[EvaluateCall], str]] = {
    "probe": (ProbeCall, "linear probe on all training labels (Table 1)"),
    "low-data": (LowDataCall, "linear probe on 1, 10 and 100 % of them (Figure 3)"),
    "segment": (SegmentCall, "decoder on frozen patch tokens: IoU and Dice (Table 1)"),
    "align": (AlignCall, "ridge and retrieval towards ECG and labs (Table 2)"),
    "readout": (ReadoutCall, "labs and ECG measures from the film, with conformal intervals"),
    "rollout": (RolloutCall, "share of attention inside each mask (Figure 4)"),
    **evaluate_looks.CALLS,
}


_ALL = "all"


def _say(rows: Sequence[ResultRow], headline: str) -> None:
    """The headline metric of every encoder and difference: macro where there is one, else label by label."""
    labels = {row.label for row in rows}
    labels = labels & {MACRO, EVERYTHING} or labels
    for row in rows:
        if row.metric in (headline, difference_metric(headline)) and row.label in labels and not row.subgroup:
            what = f"{row.protocol}, {row.dataset}, {row.label} {row.metric}, {100 * row.fraction:g} % of the labels"
            say(f"{row.name:<16} {what}: {row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}], n = {row.n}")


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    explained = {_ALL: "all of these that the packs allow, with a certificate and a report"}
    explained |= {name: what for name, (_, what) in _PROTOCOLS.items()}
    name, rest = choose(words, "evaluate", explained, _EXAMPLE.format(name="probe", more=""))
    if name == _ALL:
        evaluate_all.main(rest)
        return
    kind, _ = _PROTOCOLS[name]
    options: Mapping[type[EvaluateCall], str] = {
        AlignCall: " --targets runs/ecg/targets runs/labs/targets",
        ReadoutCall: " --values labs.csv",
        evaluate_looks.ViewCall: " --label Effusion",
        evaluate_looks.DeletionCall: " --label Effusion",
    }
    more = options.get(kind, "")
    call = parse(kind, rest, verb=f"evaluate {name}", example=_EXAMPLE.format(name=name, more=more))
    command = f"pacx evaluate {name}"
    pack = Pack.open(call.pack)
    remark = f"{command}, commit {provenance(command, call.chosen_seed).commit}"
    comparison = Comparison(
        dataset=call.dataset or call.pack.name,
        baseline=call.baseline,
        provenance=remark,
        num_draws=call.num_draws,
        device=chosen_device(call.device),
    )
    rows = call.rows(pack, open_encoders(call.encoders, call.chosen_seed), comparison)
    write_rows(call.out, rows)
    _say(rows, call.headline)
    say(f"{len(rows)} result rows written to {call.out}; next: pacx report {call.out}")
