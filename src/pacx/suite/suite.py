"""Every protocol on every pack for every encoder, in steps that are kept: the one call behind the paper's tables.

`packs x encoders -> embeddings, once -> steps -> rows`. What is run follows from what protocols need and packs hold. A
step whose inputs have not changed is read from its file, so that a call that was killed goes on where it stopped, and
one more encoder costs what it costs alone.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json, sha256_of, write_json
from pacx.core.errors import DataError, UsageError
from pacx.core.progress import announce, progress
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol, protocols, unknown_protocol
from pacx.evaluation.results import ResultRow, rows_from_json, rows_to_json
from pacx.models.device import chosen_device
from pacx.models.encoders.by_name import NamedEncoder, open_encoders
from pacx.models.fingerprint import weights_sha256
from pacx.models.rollout import can_roll_out
from pacx.suite.benchmark import Benchmark, benchmarks_of
from pacx.suite.config import SuiteConfig


@dataclass(frozen=True, kw_only=True)
class SuiteStep:
    """One protocol on one dataset.

    Args:
        dataset: which.
        protocol: its name.
        image_size_px: of the encoders it runs; None where it starts from embeddings of all of them.
        inputs: everything its rows depend on, as one SHA-256.
        run: makes the rows.
    """

    dataset: str
    protocol: str
    image_size_px: int | None = None
    inputs: str
    run: Callable[[], Outcome]

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

    Example:
        >>> from pathlib import Path
        >>> from pacx.evaluation import ProbeConfig
        >>> from pacx.suite import Suite, SuiteConfig
        >>> few = ("alignment", "deletion", "logistic", "low-data", "readout", "segmentation", "shortcut", "view")
        >>> packs, encoders = (Path("packs/films"),), ("mae=runs/mae/encoder", "random")
        >>> short = {"probe": ProbeConfig(epochs=2, num_seeds=1), "num_draws": 20}
        >>> config = SuiteConfig(packs=packs, encoders=encoders, out=Path("runs/few"), without=few, **short)
        >>> suite = Suite(config, "a try")
        >>> [step.name for step in suite.steps()]
        ['films.attention-64', 'films.knn', 'films.linear-probe']
        >>> sorted({row.encoder for row in suite.run()})
        ['mae', 'random', 'uniform attention']
    """

    def __init__(self, config: SuiteConfig, remark: str) -> None:
        self.config, self._remark, self.device = config, remark, chosen_device(config.device)
        self.encoders = open_encoders(config.encoders, config.probe.seed)
        if config.baseline is not None and config.baseline not in [encoder.name for encoder in self.encoders]:
            raise UsageError(f"baseline {config.baseline} is not among the encoders; name one of them")
        known = list(protocols())
        for word in config.without:
            if word not in known:
                raise UsageError(unknown_protocol(word, known))
        self.weights = {encoder.name: weights_sha256(encoder.encoder.module) for encoder in self.encoders}
        packs = [Pack.open(path) for path in config.packs]
        self.benchmarks = benchmarks_of(packs, self.encoders, config.out / "embeddings")
        self.left_out: dict[tuple[str, str], str] = {}
        self._require_inputs_used()

    def steps(self) -> list[SuiteStep]:
        """All steps, dataset by dataset; ``left_out`` says which protocols cannot be run on which, and why."""
        return [step for benchmark in self.benchmarks for step in self._steps_of(benchmark)]

    def _require_inputs_used(self) -> None:
        """Refuse files in which no protocol finds enough patients; ``left_out`` tells of single protocols."""
        run = {step.protocol for step in self.steps()}
        used = {each for name in run for each in protocols()[name].inputs}
        for name, protocol in protocols().items():
            given = [each for each in protocol.inputs if getattr(self.config, each, None) and each not in used]
            if given and name not in run and name not in self.config.without:
                missing = {self.left_out[benchmark.name, name] for benchmark in self.benchmarks}
                raise DataError(
                    f"--{given[0]} fits none of the packs, which lack {'; '.join(sorted(missing))}; give the pack "
                    "whose patients are in it"
                )

    def embed(self) -> None:
        """Embed what is not embedded yet."""
        for benchmark in self.benchmarks:
            benchmark.embed(self.weights, self.device)

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
                outcome = step.run()
                # rows and what they came of in one file, so that a kill cannot pair new rows with old inputs
                write_json(self._file(step), {"inputs": step.inputs, "rows": rows_to_json(outcome.rows)})
                for remark in outcome.remarks:
                    announce(f"{step.name}: {remark}")
                bar.advance(1, step.name)
        files = [self._file(step) for step in steps]
        return [row for file in files for row in rows_from_json(read_json(file)["rows"], file)]

    def embeddings_sha256(self) -> dict[str, str]:
        """SHA-256 of every file of embeddings, by its name."""
        files = [benchmark.embeddings_file(encoder) for benchmark in self.benchmarks for encoder in self.encoders]
        return {file.name: sha256_of(file) for file in files}

    def _is_kept(self, step: SuiteStep) -> bool:
        """Whether an earlier call ran it on the same inputs."""
        file = self._file(step)
        return file.is_file() and bool(read_json(file)["inputs"] == step.inputs)

    def _file(self, step: SuiteStep) -> Path:
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
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _steps_of(self, benchmark: Benchmark) -> Iterator[SuiteStep]:
        for protocol in protocols().values():
            if protocol.name not in self.config.without:
                yield from self._steps_of_protocol(protocol, benchmark)

    def _steps_of_protocol(self, protocol: Protocol[Any], benchmark: Benchmark) -> Iterator[SuiteStep]:
        """One step; of a protocol that runs encoders one per input size, because only those of one size are paired."""
        settings = self.config.settings_of(protocol)
        sizes = benchmark.by_size() if protocol.runs_encoders else {None: self.encoders}
        for size, encoders in sizes.items():
            is_rolled = Need.ROLLOUT in protocol.needs
            chosen = [each for each in encoders if not is_rolled or can_roll_out(each.encoder)]
            films = EncodedPack(
                pack=benchmark.pack if size is None else benchmark.packs[size],
                encoders={each.name: each.encoder for each in chosen},
                kept=None if protocol.runs_encoders else benchmark.features,
            )
            if missing := protocol.lacks(films, settings):
                self.left_out[benchmark.name, protocol.name] = missing
                continue
            comparison = self.comparison(benchmark, chosen)
            yield SuiteStep(
                dataset=benchmark.name,
                protocol=protocol.name,
                image_size_px=size,
                inputs=self.inputs(benchmark, chosen, asdict(settings), protocol.fingerprints(settings)),
                run=partial(protocol.run, films, settings, comparison),
            )

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
