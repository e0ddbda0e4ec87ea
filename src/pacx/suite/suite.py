"""Every protocol on every pack for every encoder, in steps that are kept: the one call behind the paper's tables.

`packs x encoders -> embeddings, once -> steps -> rows`. What is run follows from what a pack holds: labels are probed,
masks segmented and looked at, targets aligned. A step whose inputs have not changed is read from its file, so that a
call that was killed goes on where it stopped, and one more encoder costs what it costs alone.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pacx.core.artifacts import read_json, sha256_of, write_json
from pacx.core.errors import DataError, UsageError
from pacx.core.progress import progress
from pacx.data.packs.pack import Pack
from pacx.evaluation.alignment import AlignmentConfig, AlignmentData, alignment, rows_with_targets
from pacx.evaluation.alterations import usual_alterations
from pacx.evaluation.attention import attention
from pacx.evaluation.classification import ClassificationData
from pacx.evaluation.comparison import NUM_DRAWS, Comparison
from pacx.evaluation.deletion import DeletionConfig, deletion
from pacx.evaluation.linear_heads import ProbeConfig
from pacx.evaluation.logistic import LogisticConfig, logistic_regression
from pacx.evaluation.low_data import low_data
from pacx.evaluation.neighbours import NeighbourConfig, nearest_neighbours
from pacx.evaluation.probe import linear_probe
from pacx.evaluation.results import ResultRow, rows_from_json, rows_to_json
from pacx.evaluation.segmentation import SegmentationConfig, segmentation
from pacx.evaluation.shortcuts import shortcuts
from pacx.evaluation.subgroups import groupings
from pacx.modalities.targets import open_targets
from pacx.models.device import AUTOMATIC, chosen_device
from pacx.models.encoders.by_name import NamedEncoder, open_encoders
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.fingerprint import weights_sha256
from pacx.suite.benchmark import Benchmark, benchmarks_of


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """Run every protocol that the packs allow, and certify the result.

    Labels: linear probe with subgroups, low data, nearest neighbours, logistic regression, shortcuts, deletion. Masks:
    segmentation, attention. Targets of a pack's patients: alignment. Killed, the same call goes on where it was. OUT
    holds results.json, certificate.json and report.html.
    """

    packs: tuple[Path, ...]
    """The packs to evaluate on; the same dataset may be given at several image sizes."""

    encoders: tuple[str, ...]
    """NAME=FOLDER for each encoder, and the baselines random and imagenet by name."""

    out: Path
    """The folder to write; a later call may add packs or encoders."""

    baseline: str | None = None
    """The encoder that paired differences are taken from."""

    targets: tuple[Path, ...] = ()
    """Frozen target folders (ECG, labs ...) of the patients of one of the packs."""

    trained_on: tuple[Path, ...] = ()
    """The packs that the encoders learnt from; the certificate says what they share with every test set."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How probes are trained; the defaults are the paper's."""

    decoder: SegmentationConfig = field(default_factory=SegmentationConfig)
    """How segmentation decoders are trained; the defaults are the paper's."""

    align: AlignmentConfig = field(default_factory=AlignmentConfig)
    """The ridge probe; the defaults are the paper's."""

    deletion: DeletionConfig = field(default_factory=lambda: DeletionConfig(num_films=200))
    """How patches are removed; of so many test films, for this runs the encoder thirty times."""

    without: tuple[str, ...] = ()
    """Protocols to leave out, as their steps are called: shortcut, deletion, knn ..."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients."""

    device: str = AUTOMATIC
    """Where encoders and heads run (cpu, cuda, cuda:1); by default a GPU if there is one."""


PROTOCOLS = (
    "linear-probe",
    "low-data",
    "knn",
    "logistic",
    "shortcut",
    "deletion",
    "segmentation",
    "attention",
    "alignment",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One protocol on one dataset.

    Args:
        dataset: which.
        protocol: one of ``PROTOCOLS``.
        image_size_px: of the encoders it runs; None where it starts from embeddings of all of them.
        inputs: everything its rows depend on, as one SHA-256.
        run: makes the rows.
    """

    dataset: str
    protocol: str
    image_size_px: int | None = None
    inputs: str
    run: Callable[[], list[ResultRow]]

    @property
    def name(self) -> str:
        """For files and messages."""
        size = "" if self.image_size_px is None else f"-{self.image_size_px}"
        return f"{self.dataset}.{self.protocol}{size}"


class Suite:
    """The opened packs and encoders of a call, and the steps that follow from them.

    Raises:
        UsageError: a pack, an encoder, the baseline or a target folder is not there, or sizes do not fit.
        DataError: packs of one dataset hold different films, or targets belong to none of the packs.
    """

    def __init__(self, config: SuiteConfig, remark: str) -> None:
        self.config, self._remark, self.device = config, remark, chosen_device(config.device)
        self.encoders = open_encoders(config.encoders, config.probe.seed)
        if config.baseline is not None and config.baseline not in [encoder.name for encoder in self.encoders]:
            raise UsageError(f"baseline {config.baseline} is not among the encoders; name one of them")
        unknown = sorted(set(config.without) - set(PROTOCOLS))
        if unknown:
            raise UsageError(
                f"there is no protocol {', '.join(unknown)} to leave out; there are {', '.join(PROTOCOLS)}"
            )
        self.weights = {encoder.name: weights_sha256(encoder.encoder.module) for encoder in self.encoders}
        packs = [Pack.open(path) for path in config.packs]
        self.benchmarks = benchmarks_of(packs, self.encoders, config.out / "embeddings")
        self.targets = open_targets(config.targets)
        self._aligned = [benchmark for benchmark in self.benchmarks if self._has_targets(benchmark)]
        if self.targets and not self._aligned:
            raise DataError("the targets are those of no film of the packs; give the pack whose patients they are of")

    def steps(self) -> list[Step]:
        """All steps, dataset by dataset."""
        every = (step for benchmark in self.benchmarks for step in self._steps_of(benchmark))
        return [step for step in every if step.protocol not in self.config.without]

    def embed(self) -> None:
        """Embed what is not embedded yet."""
        for benchmark in self.benchmarks:
            for encoder in self.encoders:
                benchmark.embed(encoder, self.weights[encoder.name], self.device)

    def embed_anew(self, folder: Path) -> None:
        """Embed everything into another folder, from which the steps start then."""
        for benchmark in self.benchmarks:
            benchmark.embeddings = folder
        self.embed()

    def run(self) -> list[ResultRow]:
        """Embed what is not embedded, run what has not been run, and return every row in the order of the steps."""
        self.embed()
        steps = self.steps()
        missing = [step for step in steps if not self._is_kept(step)]
        with progress("evaluation", len(missing), "steps") as bar:
            for step in missing:
                bar.advance(0, step.name)
                # rows and what they came of in one file, so that a kill cannot pair new rows with old inputs
                write_json(self._file(step), {"inputs": step.inputs, "rows": rows_to_json(step.run())})
                bar.advance(1, step.name)
        files = [self._file(step) for step in steps]
        return [row for file in files for row in rows_from_json(read_json(file)["rows"], file)]

    def embeddings_sha256(self) -> dict[str, str]:
        """SHA-256 of every file of embeddings, by its name."""
        files = [benchmark.embeddings_file(encoder) for benchmark in self.benchmarks for encoder in self.encoders]
        return {file.name: sha256_of(file) for file in files}

    def _is_kept(self, step: Step) -> bool:
        """Whether an earlier call ran it on the same inputs."""
        file = self._file(step)
        return file.is_file() and bool(read_json(file)["inputs"] == step.inputs)

    def _file(self, step: Step) -> Path:
        return self.config.out / "steps" / f"{step.name}.json"

    def inputs(self, benchmark: Benchmark, encoders: Sequence[NamedEncoder], *more: Any) -> str:  # noqa: ANN401 - JSON
        """Everything that comes of a dataset, some encoders and further settings depends on, as one SHA-256."""
        parts = {
            "packs": {size: pack.fingerprint for size, pack in benchmark.packs.items()},
            "encoders": [(encoder.name, self.weights[encoder.name], encoder.stands_for) for encoder in encoders],
            "baseline": self.config.baseline,
            "num_draws": self.config.num_draws,
            "remark": self._remark,
            "device": self.device,
            "more": more,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _steps_of(self, benchmark: Benchmark) -> Iterator[Step]:
        pack = benchmark.pack
        is_split = all(len(pack.rows(split)) for split in ("train", "val", "test"))
        if pack.label_names and is_split:
            yield from self._embedding_steps(benchmark)
        for size, encoders in benchmark.by_size().items():
            if is_split:
                yield from self._encoder_steps(benchmark, size, encoders)
        if benchmark in self._aligned:
            made_from = [target.fingerprint for target in self.targets]
            yield Step(
                dataset=benchmark.name,
                protocol="alignment",
                inputs=self.inputs(benchmark, self.encoders, asdict(self.config.align), made_from),
                run=partial(self._alignment, benchmark),
            )

    def _embedding_steps(self, benchmark: Benchmark) -> Iterator[Step]:
        """Protocols on labels that start from kept embeddings."""
        probe = self.config.probe
        protocols: dict[str, tuple[Callable[..., list[ResultRow]], Any]] = {
            "linear-probe": (partial(linear_probe, grouped=groupings(benchmark.pack.table)), probe),
            "low-data": (low_data, probe),
            "knn": (nearest_neighbours, NeighbourConfig(seed=probe.seed)),
            "logistic": (logistic_regression, LogisticConfig(seed=probe.seed)),
        }
        for name, (protocol, config) in protocols.items():
            yield Step(
                dataset=benchmark.name,
                protocol=name,
                inputs=self.inputs(benchmark, self.encoders, asdict(config)),
                run=partial(self._from_embeddings, benchmark, protocol, config),
            )

    def _from_embeddings(
        self,
        benchmark: Benchmark,
        protocol: Callable[..., list[ResultRow]],
        config: Any,  # noqa: ANN401 - the protocol's own
    ) -> list[ResultRow]:
        data = ClassificationData.from_pack(benchmark.pack, dataset=benchmark.name)
        return protocol(data, benchmark.features(), self.comparison(benchmark, self.encoders), config=config)

    def comparison(self, benchmark: Benchmark, encoders: Sequence[NamedEncoder]) -> Comparison:
        """What every protocol is told alike; a baseline of another input size cannot be compared with."""
        is_there = self.config.baseline in [encoder.name for encoder in encoders]
        return Comparison(
            dataset=benchmark.name,
            baseline=self.config.baseline if is_there else None,
            provenance=self._remark,
            num_draws=self.config.num_draws,
            device=self.device,
        )

    def _encoder_steps(self, benchmark: Benchmark, size: int, encoders: Sequence[NamedEncoder]) -> Iterator[Step]:
        """Protocols that run the encoders; those of one input size are compared in one step, hence paired."""
        config, pack = self.config, benchmark.packs[size]
        every = {each.name: each.encoder for each in encoders}
        ours = [each for each in encoders if isinstance(each.encoder, LoadedEncoder)]
        rolled = {each.name: each.encoder for each in ours}
        of_all, of_ours = self.comparison(benchmark, encoders), self.comparison(benchmark, ours)
        protocols: dict[str, tuple[Callable[[], list[ResultRow]], Any]] = {}
        if pack.label_names:
            protocols["shortcut"] = (partial(self._shortcuts, benchmark, pack, every), config.probe)
        if pack.label_names and rolled:
            removed = partial(deletion, pack, rolled, of_ours, question=None, config=config.deletion)
            protocols["deletion"] = (lambda: removed()[0], config.deletion)
        if pack.mask_names:
            decoded = partial(segmentation, pack, every, of_all, config=config.decoder)
            protocols["segmentation"] = (decoded, config.decoder)
        if pack.mask_names and rolled:
            looked = partial(attention, pack, rolled, of_ours, seed=config.decoder.seed)
            protocols["attention"] = (looked, config.decoder)
        for name, (run, settings) in protocols.items():
            yield Step(
                dataset=benchmark.name,
                protocol=name,
                image_size_px=size,
                inputs=self.inputs(benchmark, encoders, asdict(settings)),
                run=run,
            )

    def _shortcuts(self, benchmark: Benchmark, pack: Pack, encoders: Mapping[str, FilmEncoder]) -> list[ResultRow]:
        return shortcuts(
            pack,
            ClassificationData.from_pack(pack, dataset=benchmark.name),
            encoders,
            usual_alterations(pack),
            self.comparison(benchmark, self.encoders),
            config=self.config.probe,
        )

    def _has_targets(self, benchmark: Benchmark) -> bool:
        known = rows_with_targets(benchmark.pack, self.targets)
        return all(np.isin(benchmark.pack.rows(split), known).any() for split in ("train", "test"))

    def _alignment(self, benchmark: Benchmark) -> list[ResultRow]:
        known = rows_with_targets(benchmark.pack, self.targets)
        return alignment(
            AlignmentData.from_pack(benchmark.pack, self.targets, dataset=benchmark.name),
            {name: array[known] for name, array in benchmark.features().items()},
            self.comparison(benchmark, self.encoders),
            config=self.config.align,
        )
