"""The whole method from Python alone: simulate patients, pack, pretrain, distil, evaluate, report, embed.

    python examples/train_and_evaluate.py --out runs/example        some minutes on two cores

Your own films and tables take the place of the simulated ones. Everything imported here is public
(docs/compatibility.md). Killed, the same command goes on.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

import pacx
from pacx.data import FolderOptions, Pack, pack_dataset
from pacx.evaluation import ClassificationData, Comparison, ProbeConfig, embed_pack, linear_probe, low_data, write_rows
from pacx.models import open_encoders
from pacx.recipes import recipe
from pacx.reporting import write_report
from pacx.simulation import HospitalConfig, write_hospital


@dataclass(frozen=True, kw_only=True)
class Example:
    """Train an encoder on simulated patients, teach it their ECGs and labs, and measure what was gained."""

    out: Path = Path("runs/example")
    """The folder for everything."""

    patients: int = 400
    """Simulated patients in each of the three cohorts."""

    epochs: int | None = None
    """Of every training; by default each recipe's own."""

    batch_size: int | None = None
    """Of every training; by default each recipe's own."""

    num_draws: int = 2000
    """Bootstrap draws of patients behind each interval."""


def train(example: Example, name: str, **fields: object) -> Path:
    """Run one recipe and return its folder; a finished run is not trained again."""
    run: Any = replace(recipe(f"{name}-tiny"), out=example.out / "runs" / name, resume=True, **fields)
    training = run.training
    if example.epochs is not None:
        training = replace(training, epochs=example.epochs, warmup_epochs=0, warmup_steps=0)
    if example.batch_size is not None:
        training = replace(training, batch_size=example.batch_size)
    replace(run, training=training).run()
    return run.out


def evaluate(example: Example, films: Pack, words: list[str]) -> Path:
    """Probe frozen encoders on the same patients: differences are paired, and every number has an interval."""
    encoders = open_encoders(words, seed=0)
    told = Comparison(dataset="films", baseline="mae", provenance="example", num_draws=example.num_draws)
    data = ClassificationData.from_pack(films, dataset="films")
    features = {each.name: embed_pack(each.encoder, films, device=told.device) for each in encoders}  # name -> (N, D)
    rows = linear_probe(data, features, told, config=ProbeConfig())
    rows += low_data(data, features, told, config=ProbeConfig(), fractions=(0.1,))
    for row in rows:
        if row.label == "macro" and row.metric == "auroc_difference":
            interval = f"[{row.ci_low:+.3f}, {row.ci_high:+.3f}]"
            print(f"{row.protocol}, {row.fraction:.0%} of labels: {row.name} {row.value:+.3f} {interval}")
    results = example.out / "results.json"
    write_rows(results, rows)
    return results


def main(example: Example) -> None:
    """Do it all."""
    hospital, packs, count = example.out / "hospital", example.out / "packs", example.patients
    config = HospitalConfig(
        num_pretraining_patients=count, num_triplet_patients=count, num_downstream_patients=count, image_size_px=64
    )
    write_hospital(hospital, config)
    pretraining = pack_dataset("folder", hospital / "pretraining", packs / "pretraining", image_size_px=64)
    triplets = pack_dataset("folder", hospital / "triplets", packs / "triplets", image_size_px=64)
    labelled = FolderOptions(label_columns=("*",))
    films = pack_dataset("folder", hospital / "downstream", packs / "films", image_size_px=64, options=labelled)

    mae = train(example, "mae", pack=pretraining.path)
    ecg = train(example, "ecg", pack=triplets.path, recordings=hospital / "triplets/ecg.npy")
    labs = train(example, "labs", pack=triplets.path, table=(hospital / "triplets/labs.csv",))
    targets = (ecg / "targets", labs / "targets")
    taught = train(example, "distill", pack=triplets.path, encoder=mae / "encoder", targets=targets)

    results = evaluate(example, films, ["random", f"mae={mae / 'encoder'}", f"pacx={taught / 'encoder'}"])
    write_report([results], example.out / "report.html")
    vectors = pacx.load_encoder(taught / "encoder").embed(sorted((hospital / "downstream/films").iterdir())[:4])
    print(f"report: {example.out / 'report.html'}; {len(vectors)} films embedded, {vectors.shape[1]} numbers each")


if __name__ == "__main__":
    main(tyro.cli(Example))
