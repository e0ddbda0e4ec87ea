"""Pictures of a finished suite: embeddings on two components, and rescued films with what the encoders looked at."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pacx.core.artifacts import read_json, write_json
from pacx.evaluation.evidence.embedding_view import view_embeddings
from pacx.evaluation.probes.classification import ClassificationData
from pacx.models.encoders.by_name import NamedEncoder
from pacx.models.rollout import can_roll_out
from pacx.reporting.figures import read_figures, save_figure
from pacx.reporting.pictures import picture_rescues, picture_views
from pacx.reporting.tables import SHOWN_ENCODERS
from pacx.suite.benchmark import Benchmark
from pacx.suite.suite import Suite


def draw_suite(suite: Suite) -> None:
    """Draw what is not drawn yet of every dataset with labels, into OUT/figures."""
    figures = suite.config.out / "figures"
    for benchmark in suite.benchmarks:
        pack = benchmark.pack
        if not pack.label_names or not all(len(pack.rows(split)) for split in ("train", "val", "test")):
            continue
        made_from = figures / f"{benchmark.name}.inputs.json"
        inputs = suite.inputs(benchmark, suite.encoders)
        if made_from.is_file() and read_json(made_from)["inputs"] == inputs:
            continue
        with TemporaryDirectory() as scratch:
            _draw(suite, benchmark, Path(scratch))
            for entry in read_figures(Path(scratch)):
                kept = replace(entry, file=f"{benchmark.name}-{entry.file}", title=f"{benchmark.name}: {entry.title}")
                save_figure(figures, kept, (Path(scratch) / entry.file).read_bytes())
        write_json(made_from, {"inputs": inputs})


def _draw(suite: Suite, benchmark: Benchmark, folder: Path) -> None:
    pack = benchmark.pack
    _, views = view_embeddings(pack, benchmark.features(), "", suite.comparison(benchmark, suite.encoders))
    picture_views(folder, views)
    pair = _compared(suite)
    if pair is not None:
        encoder, baseline = pair
        before, after = (SHOWN_ENCODERS.get(each.name, each.name) for each in (baseline, encoder))
        picture_rescues(
            folder,
            benchmark.pack_for(encoder),
            ClassificationData.from_pack(pack, dataset=benchmark.name),
            encoder=encoder,
            baseline=baseline,
            names=(before, after),
            config=suite.config.probe,
            device=suite.device,
        )


def _compared(suite: Suite) -> tuple[NamedEncoder, NamedEncoder] | None:
    """The first encoder that is not the baseline, and the baseline, if both can be rolled out and read one size."""
    ours = [each for each in suite.encoders if can_roll_out(each.encoder)]
    baseline = next((each for each in ours if each.name == suite.config.baseline), None)
    if baseline is None:
        return None
    size = baseline.preprocessing.image_size_px
    others = [each for each in ours if each is not baseline and each.preprocessing.image_size_px == size]
    return (others[0], baseline) if others else None
