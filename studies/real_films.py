"""Stage 1 and Stage 3 on real radiographs: does a small encoder trained here know more than a random one?

    python -m studies.real_films --shared ../shared --out runs/real-films --seed 0
    (add --simulated runs/study/tiny/runs/mae/encoder after studies.simulated_hospital)

Packs the shared films at 64 pixels, pretrains ``mae-tiny`` on the training split of 4,173 of them (three sources, no
labels), and puts it and an encoder of random weights through every protocol that real films allow: linear probes by
patient-level split, segmentation of lungs, attention inside lungs, deletion, shortcuts. What is there already is not
done again. Ends in ``results.json`` and figures. Test films were never trained on: the splits of the films and of the
lung masks agree. Beside them stands, where it is given, an encoder that has seen simulated films only: does simulation
transfer? And probes that learn on one source and are tested on another, for films tell where they come from.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from numpy.typing import NDArray

from pacx.cli.terminal import explained, say
from pacx.core.artifacts import read_json, staged_file, write_json
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.provenance import provenance
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.pack import MANIFEST_FILE, Pack
from pacx.data.packs.packing import pack_records
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.alterations import usual_alterations
from pacx.evaluation.evidence.attention import attention
from pacx.evaluation.evidence.deletion import DeletionConfig, DeletionCurves, ask_probe, deletion
from pacx.evaluation.evidence.embedding_view import view_embeddings
from pacx.evaluation.evidence.shortcuts import shortcuts
from pacx.evaluation.masks.segmentation import SegmentationConfig, segmentation
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.results import ResultRow, read_rows, write_rows
from pacx.evaluation.statistics.bootstrap import Column, RowMaker
from pacx.models.encoders.by_name import NamedEncoder, encoder_from_folder, random_like
from pacx.models.encoders.names import MAE, RANDOM
from pacx.recipes.mae import mae_tiny
from pacx.reporting.headlines import MEAN_IMAGE
from pacx.reporting.pictures import draw, picture_rescues
from studies.stepwise.step import chip

SIMULATED = "simulated"
NIH, ANY_FINDING, PAEDIATRIC, LUNGS = "nih", "nih-any-finding", "paediatric", "lungs"
SOURCES = "sources"
FINDING, BACTERIAL, IS_NIH = "any_finding", "bacterial", "is_nih"
ADULTS, CHILDREN = "NIH ChestX-ray14", "Kermany pediatric pneumonia"
DECODER = SegmentationConfig(learning_rate=1e-3, batch_size=32, warmup_epochs=2, num_seeds=5)
"""Ten times the paper's rate in batches of 32 instead of 256, for 381 training films; 50 epochs as in the paper."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Real films, small models."""

    shared: Path
    """The folder that holds data/cxr and data/seg."""

    out: Path = Path("runs/real-films")
    """Packs, runs, rows, figures and results.json."""

    seed: int = 0
    """Of pretraining, probes and bootstrap."""

    simulated: Path | None = None
    """An encoder of the same shape that was pretrained on simulated films."""

    def pack(self, name: str, source: str, options: FolderOptions) -> Pack:
        """A pack of 64 pixels, made once."""
        path = self.out / "packs" / name
        if (path / MANIFEST_FILE).is_file():
            return Pack.open(path)
        records = DATASET.read(self.shared / "data" / source, options)
        return pack_records(records, path, preprocessing=Preprocessing(image_size_px=64), num_workers=1)

    def table(self, name: str, chosen: pd.DataFrame) -> Path:
        """A csv of some of the films, with age and sex in columns of their own."""
        extra = chosen["extra"].map(lambda text: json.loads(text) if text else {})
        table = chosen.drop(columns="extra").assign(
            age=extra.map(lambda known: known.get("age", "")), sex=extra.map(lambda known: known.get("sex", ""))
        )
        path = self.out / f"{name}.csv"
        with staged_file(path) as partial:
            table.to_csv(partial, index=False)
        return path

    def packs(self) -> dict[str, Pack]:
        """All packs that are evaluated on."""
        films = pd.read_csv(self.shared / "data" / "cxr" / "index.csv", dtype=str, keep_default_na=False)
        nih = films[films["origin_dataset"] == ADULTS]
        found = nih.assign(**{FINDING: (nih["label"] != "No Finding").astype(int)})
        two = films[films["origin_dataset"].isin((ADULTS, CHILDREN))]
        is_found = ~two["label"].isin(("No Finding", "NORMAL"))
        two = two.assign(**{FINDING: is_found.astype(int), IS_NIH: (two["origin_dataset"] == ADULTS).astype(int)})
        ill = films[films["label"].str.contains("bacteria|virus") & films["origin_dataset"].str.contains("Kermany")]
        ill = ill.assign(**{BACTERIAL: ill["label"].str.contains("bacteria").astype(int)})
        by_csv = {
            NIH: FolderOptions(csv=self.table(NIH, nih), finding_column="label"),
            ANY_FINDING: FolderOptions(csv=self.table(ANY_FINDING, found), label_columns=(FINDING,)),
            PAEDIATRIC: FolderOptions(csv=self.table(PAEDIATRIC, ill), label_columns=(BACTERIAL,)),
            SOURCES: FolderOptions(csv=self.table(SOURCES, two), label_columns=(FINDING, IS_NIH)),
        }
        packs = {name: self.pack(name, "cxr", options) for name, options in by_csv.items()}
        masked = FolderOptions(sample_id_column="name", image_column="image", mask_columns=("lung=mask",))
        return {**packs, LUNGS: self.pack(LUNGS, "seg", masked)}

    def encoders(self) -> list[NamedEncoder]:
        """The trained encoder, a random one of its shape, and the simulated one where it is given."""
        films = self.pack("cxr", "cxr", FolderOptions())
        run = self.out / MAE
        if not (run / "encoder" / "config.json").is_file():
            recipe = mae_tiny()
            training = replace(recipe.training, seed=self.seed)
            replace(recipe, pack=films.path, out=run, training=training, resume=run.is_dir()).run()
        trained = encoder_from_folder(MAE, run / "encoder")
        others = [] if self.simulated is None else [encoder_from_folder(SIMULATED, self.simulated)]
        return [trained, random_like(trained, self.seed), *others]

    def once(self, name: str, protocol: Callable[[], list[ResultRow]]) -> list[ResultRow]:
        """Rows of one protocol, from its file where it has run."""
        path = self.out / "rows" / f"{name}.json"
        if not path.is_file():
            say(name)
            write_rows(path, protocol())
        return read_rows(path)


def by_source(pack: Pack) -> list[ClassificationData]:
    """Any finding on films of two sources: by patient; learnt on one source and tested on the other; and the source."""
    found = ClassificationData.from_pack(pack, dataset="two sources, any finding", label_names=(FINDING,))
    whose = ClassificationData.from_pack(pack, dataset="two sources, which of them", label_names=(IS_NIH,))
    is_adult = whose.labels[:, 0] == 1
    crossed = []
    for learnt, tested, is_learnt in (("NIH", "paediatric", is_adult), ("paediatric", "NIH", ~is_adult)):
        crossed.append(
            replace(
                found,
                dataset=f"any finding, learnt on {learnt}, tested on {tested}",
                training=found.training[is_learnt[found.training]],
                validation=found.validation[is_learnt[found.validation]],
                test=found.test[~is_learnt[found.test]],
            )
        )
    return [found, *crossed, whose]


def reconstruction(run: Path, maker: RowMaker) -> list[ResultRow]:
    """How well hidden patches of held-out films are drawn, beside the mean training film; from the run's folder."""
    validation: dict[str, float] = read_json(run / "summary.json")["validation"]
    count = read_json(run / "config.json")["task"]["num_val_films"]
    commit = read_json(run / "config.json")["provenance"]["commit"]
    named = {MAE: "masked_mse", MEAN_IMAGE: "mean_image_mse"}
    return [
        maker.row(
            Column(name, "masked_mse", np.array([validation[key]])),
            np.array([validation[key]]),
            label="held-out films",
            n=count,
            remark=f"pretrained at commit {commit}",
        )
        for name, key in named.items()
    ]


def evaluate(study: Study, packs: dict[str, Pack], named: Sequence[NamedEncoder]) -> list[ResultRow]:
    """Every protocol, with paired differences to random weights, of probes to the simulated encoder as well."""
    commit = provenance("studies.real_films", study.seed).commit
    more = "" if study.simulated is None else " --simulated runs/study/tiny/runs/mae/encoder"
    remark = f"python -m studies.real_films --seed {study.seed}{more}; commit {commit}; {chip()}"
    probe, figures = ProbeConfig(seed=study.seed), study.out / "figures"
    to_random = Comparison(dataset=LUNGS, baseline=RANDOM, provenance=remark)
    encoders = {each.name: each.encoder for each in named}
    looked_at = {name: encoders[name] for name in (MAE, RANDOM)}
    data = {name: ClassificationData.from_pack(packs[name], dataset=name) for name in (NIH, ANY_FINDING, PAEDIATRIC)}

    def embedded(name: str) -> dict[str, NDArray[np.float32]]:
        return {encoder: embed_pack(each, packs[name], device=to_random.device) for encoder, each in encoders.items()}

    def compared(each: ClassificationData, features: dict[str, NDArray[np.float32]]) -> list[ResultRow]:
        comparison = replace(to_random, dataset=each.dataset)
        rows = linear_probe(each, features, comparison, config=probe)
        if SIMULATED not in features:
            return rows
        both = {name: features[name] for name in (MAE, SIMULATED)}
        again = linear_probe(each, both, replace(comparison, baseline=SIMULATED), config=probe)
        return rows + [row for row in again if row.contrast]

    def probed(name: str) -> list[ResultRow]:
        return compared(data[name], embedded(name))

    def crossed() -> list[ResultRow]:
        features = embedded(SOURCES)
        return [row for each in by_source(packs[SOURCES]) for row in compared(each, features)]

    def removed(name: str, label: str | None) -> list[ResultRow]:
        question = (
            None
            if label is None
            else ask_probe(data[name], embedded(name), label, config=probe, device=to_random.device)
        )
        config = DeletionConfig(seed=study.seed)
        rows, curves = deletion(
            packs[name],
            looked_at,
            replace(to_random, dataset=name),
            question=question,
            config=config,
        )
        drawn = DeletionCurves(curves=curves, label=label or "", config=config, num_films=rows[0].n)
        draw(figures / (label or "cosine"), drawn)
        return rows

    def viewed() -> list[ResultRow]:
        trained, random = named[:2]
        names = ("random", "MAE")
        picture_rescues(
            figures,
            packs[NIH],
            data[NIH],
            encoder=trained,
            baseline=random,
            names=names,
            config=probe,
            device=to_random.device,
        )
        on_nih = replace(to_random, dataset=NIH)
        rows, views = view_embeddings(packs[ANY_FINDING], embedded(ANY_FINDING), FINDING, on_nih)
        draw(figures, views)
        return rows

    def hidden() -> list[ResultRow]:
        pack = packs[ANY_FINDING]
        return shortcuts(
            pack,
            data[ANY_FINDING],
            looked_at,
            usual_alterations(pack),
            replace(to_random, dataset=ANY_FINDING),
            config=probe,
        )

    maker = RowMaker(protocol="reconstruction", dataset="cxr", seed=study.seed, provenance=remark)
    protocols: dict[str, Callable[[], list[ResultRow]]] = {
        "reconstruction": lambda: reconstruction(study.out / MAE, maker),
        **{f"probe-{name}": partial(probed, name) for name in data},
        "probe-sources": crossed,
        "segmentation": lambda: segmentation(
            packs[LUNGS],
            encoders,
            to_random,
            config=replace(DECODER, seed=study.seed),
        ),
        "attention": lambda: attention(packs[LUNGS], looked_at, to_random, seed=study.seed),
        "deletion-cosine": lambda: removed(NIH, None),
        "deletion-finding": lambda: removed(ANY_FINDING, FINDING),
        "shortcut": hidden,
        "view": viewed,
    }
    return [row for name, protocol in protocols.items() for row in study.once(name, protocol)]


def main(study: Study) -> None:
    """Run what is missing and write results.json.

    Raises:
        UsageError: the folder holds a study of another seed.
    """
    settings, asked = study.out / "study.json", {"seed": study.seed, "simulated": study.simulated is not None}
    if settings.is_file() and read_json(settings) != asked:
        raise UsageError(f"{study.out} holds the study of {read_json(settings)}; give another --out")
    write_json(settings, asked)
    torch.set_num_threads(1)  # what a tiny model trains to depends on their number, and one is fastest for it
    rows = evaluate(study, study.packs(), study.encoders())
    write_rows(study.out / "results.json", rows)
    say(f"{len(rows)} result rows written to {study.out / 'results.json'}")


if __name__ == "__main__":
    asked = tyro.cli(Study, description=__doc__)
    with explained():
        main(asked)
