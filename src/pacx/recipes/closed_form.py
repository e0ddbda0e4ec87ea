"""Stage 2 in closed form: read ECG and laboratory directions off a frozen encoder by linear maps, in seconds."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from numpy.typing import NDArray

from pacx.core.artifacts import discard_partials, is_partial, read_json, sha256_of, staged_directory, write_json
from pacx.core.errors import UsageError
from pacx.core.progress import announce
from pacx.core.provenance import provenance
from pacx.core.typed_json import plain
from pacx.data.packs.pack import Pack
from pacx.data.pairs.linked_films import require_same_links
from pacx.modalities.targets import FrozenTargets, targets_of_films
from pacx.models.device import AUTOMATIC, chosen_device
from pacx.recipes.rows import train_and_held_out
from pacx.recipes.samples import told
from pacx.recipes.taught import RandomTargets, ShuffledPairs, TaughtRun
from pacx.training.task_config import ClosedFormConfig

if TYPE_CHECKING:
    from pacx.models.encoders.folder import LoadedEncoder
    from pacx.training.run_folder import TrainingSummary
    from pacx.training.tasks.closed_form import FilmPairs

STAGE = "distill-closed-form"


@dataclass(frozen=True, kw_only=True)
class ClosedFormRun(TaughtRun):
    """Read physiology off a frozen film encoder by linear maps in closed form; the result needs the film alone.

    Each modality's targets are whitened, each direction predicted by ridge from class token and patch mean together,
    under a penalty chosen by leaving every patient out; what cannot be predicted so is dropped and counted.
    OUT/encoder is the encoder as it was, with those maps: what a LoRA Stage 2 has to beat.
    """

    out: Path = Path("runs/distill-closed-form")
    """The run folder; the released encoder ends up in OUT/encoder. A closed form that is there is made again."""

    task: ClosedFormConfig = field(default_factory=ClosedFormConfig)
    """What is predicted, and what is held for predicted."""

    features: Path | None = None
    """Where the films' embeddings are kept for the next call; OUT/features unless told. Runs that differ in what they
    are taught may share one."""

    seed: int = 0
    """Of the division of patients, where the pack has none, and of controls; nothing else is random."""

    batch_size: int = 256
    """Films per forward pass."""

    device: str = AUTOMATIC
    """Where the encoder runs (cpu, cuda, cuda:1), by default a GPU if there is one; the fit is on the processor."""

    @property
    def seed_of_targets(self) -> int:
        """The run's."""
        return self.seed

    def run(self) -> "TrainingSummary":
        """Fit on the pack's training patients, measure on its validation patients too."""
        began, pack = time.perf_counter(), Pack.open(self.pack)
        _require_place(self.out)
        if self.batch_size < 1:
            raise UsageError(f"{STAGE}: the batch size is {self.batch_size}; give at least 1")

        from pacx.models.encoders.folder import load_encoder
        from pacx.training.tasks.closed_form import fit_closed_form, release_closed_form

        encoder = load_encoder(self.encoder)
        fitting, held_out = train_and_held_out(pack, self.seed)
        targets = {target.modality: target for target in self.frozen_targets(pack, fitting)}
        if not targets:
            raise UsageError(f"{STAGE}: no targets are given; embed ECGs or labs first and name at least one of them")
        of_targets = {f"{name} targets": target.notes for name, target in targets.items()}
        require_same_links({str(self.pack): pack.manifest.notes, **of_targets})
        films, others = self._pairs(encoder, pack, targets, fitting, held_out)
        fitted = fit_closed_form(films, self.task)
        about = {
            "config": self.task,
            "seed": self.seed,
            "pack": pack.fingerprint,
            "num_train_films": len(fitting),
            "num_val_films": len(held_out),
            "encoder_sha256": sha256_of(self.encoder / "model.safetensors"),
            "targets": {name: target.fingerprint for name, target in targets.items()},
        }
        origin = {**provenance(f"train {STAGE}", self.seed).to_json(), "task": plain(about)}
        said = f"{len(fitting)} films of pack {pack.path.name} with {', '.join(targets)}"
        # first, so that the folder is known for a closed form whenever the process ends
        write_json(
            self.out / "config.json", {"stage": STAGE, "training": {}, "task": plain(about), "provenance": origin}
        )
        release_closed_form(fitted, encoder, self.out / "encoder", fitted_on=said, provenance=origin)
        write_json(self.out / "directions.json", fitted.directions())
        lost = (
            f"{len(has) - int(has.sum())} of {len(has)} validation films have no target in {name} and are not measured"
            for name, has in others.observed.items()
            if not has.all()
        )
        notes = told(*(f"{name}: {note}" for name, target in targets.items() for note in target.notes), *lost)
        return self._finished(fitted.summary(others), notes, time.perf_counter() - began, len(fitting) + len(held_out))

    def _finished(
        self, measured: dict[str, float], notes: tuple[str, ...], elapsed_s: float, num_films: int
    ) -> "TrainingSummary":
        """The summary, written as well; what is not a number becomes null."""
        from pacx.training.run_folder import TrainingSummary

        summary = TrainingSummary(
            stage=STAGE,
            epochs=0,
            steps=0,
            elapsed_s=elapsed_s,
            samples_per_s=num_films / elapsed_s,
            released_step=0,
            train={},
            validation=measured,
            notes=notes,
        )
        written = {name: value if np.isfinite(value) else None for name, value in measured.items()}
        write_json(self.out / "summary.json", {**asdict(summary), "validation": written})
        return summary

    def _pairs(
        self,
        encoder: "LoadedEncoder",
        pack: Pack,
        targets: Mapping[str, FrozenTargets],
        fitting: NDArray[np.int64],
        held_out: NDArray[np.int64],
    ) -> "tuple[FilmPairs, FilmPairs]":
        """Films and targets to fit, and of other patients, where a film may lack any target."""
        from pacx.training.tasks.closed_form import FilmPairs

        ids, patients, num = pack.sample_ids, pack.patient_ids, len(fitting)
        joined = {
            name: targets_of_films(
                target, ids[fitting].tolist(), patients[fitting], is_partial=self.task.partial_pairs, place=pack.path
            )
            for name, target in targets.items()
        }
        known = {name: target.has(ids[held_out]) for name, target in targets.items()}
        tokens, means = self._embedded(encoder, pack, np.concatenate([fitting, held_out]))
        films = FilmPairs(
            class_tokens=tokens[:num],
            patch_means=means[:num],
            targets={name: values for name, (values, _) in joined.items()},
            observed={name: has for name, (_, has) in joined.items()},
            patient_ids=patients[fitting],
        )
        others = FilmPairs(
            class_tokens=tokens[num:],
            patch_means=means[num:],
            targets={name: _where_known(target, ids[held_out], known[name]) for name, target in targets.items()},
            observed=known,
            patient_ids=patients[held_out],
        )
        return films, others

    def _embedded(
        self, encoder: "LoadedEncoder", pack: Pack, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class tokens and patch means (N, D) of these films, from where they are kept if they are these."""
        from pacx.evaluation.embeddings import embed_each
        from pacx.models.vit_config import Pooling
        from pacx.training.task import array_sha256

        place = self.features or self.out / "features"
        made_of = {
            "encoder": sha256_of(self.encoder / "model.safetensors"),
            "preprocessing": plain(encoder.preprocessing),
            "pack": pack.fingerprint,
            "rows": array_sha256(rows),
        }
        files = ("class_tokens.npy", "patch_means.npy")
        if (kept := _kept(place, made_of, files, len(rows))) is not None:
            return kept
        if place.exists() and not (place / "made_of.json").is_file():
            raise UsageError(f"{place} holds something that is no films' embeddings; give --features another folder")
        each = {
            name: encoder.pooled_by(pooling)
            for name, pooling in zip(files, (Pooling.CLASS_TOKEN, Pooling.PATCH_MEAN), strict=True)
        }
        device = chosen_device(self.device)
        arrays = dict(embed_each(each, pack, rows=rows, batch_size=self.batch_size, device=device))
        encoder.vit.cpu()
        place.parent.mkdir(parents=True, exist_ok=True)
        with staged_directory(place) as folder:
            for name in files:
                np.save(folder / name, arrays[name])
            write_json(folder / "made_of.json", made_of)
        announce(f"{STAGE}: embeddings of {len(rows)} films are kept in {place}")
        return arrays[files[0]], arrays[files[1]]


def _kept(
    place: Path, made_of: Mapping[str, object], files: tuple[str, str], num_films: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Kept embeddings (N, D) each; None where there are none of these films, or they were damaged since."""
    if not (place / "made_of.json").is_file() or read_json(place / "made_of.json") != made_of:
        return None
    try:
        tokens, means = (np.load(place / name, allow_pickle=False) for name in files)
    except (OSError, ValueError, EOFError):
        tokens = means = np.empty((0, 0), np.float32)
    if tokens.ndim != 2 or tokens.shape != means.shape or len(tokens) != num_films:
        announce(f"{STAGE}: the embeddings in {place} are not whole, so the films are embedded again")
        return None
    return tokens, means


def _where_known(
    target: FrozenTargets, sample_ids: NDArray[np.object_], known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Targets (N, T) of films that may lack one, zeros there."""
    values = np.zeros((len(known), target.embeddings.shape[1]), np.float32)
    values[known] = target.for_samples(sample_ids[known].tolist())
    return values


def _require_place(out: Path) -> None:
    """Refuse a file, and a folder that holds something else than a closed form; what a kill left of one is removed."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no folder; choose another place for the run")
    if out.exists() and any(each.name != "features" and not is_partial(each) for each in out.iterdir()):
        config = out / "config.json"
        if not config.is_file() or read_json(config).get("stage") != STAGE:
            raise UsageError(f"{out} is not empty and holds no {STAGE}; choose another folder")
    discard_partials(out)


@dataclass(frozen=True, kw_only=True)
class ClosedFormShuffledRun(ShuffledPairs, ClosedFormRun):
    """Closed form towards the right targets of the wrong patients; validation patients keep their own."""


@dataclass(frozen=True, kw_only=True)
class ClosedFormRandomRun(RandomTargets, ClosedFormRun):
    """Closed form towards noise of the targets' width."""


def distill_closed_form() -> ClosedFormRun:
    """Stage 2 in closed form: linear maps from both poolings to whitened targets; nothing is trained."""
    return ClosedFormRun(encoder=tyro.MISSING, pack=tyro.MISSING, targets=tyro.MISSING)


def distill_closed_form_shuffled_pairs() -> ClosedFormShuffledRun:
    """Negative control of the closed form: the training films' targets are exchanged (--within COLUMN: among alike)."""
    out = Path("runs/distill-closed-form-shuffled-pairs")
    return distill_closed_form().taught_otherwise(ClosedFormShuffledRun, out=out)


def distill_closed_form_random_targets() -> ClosedFormRandomRun:
    """Negative control of the closed form: noise in the place of every target."""
    out = Path("runs/distill-closed-form-random-targets")
    return distill_closed_form().taught_otherwise(ClosedFormRandomRun, out=out)


RECIPES = (distill_closed_form, distill_closed_form_shuffled_pairs, distill_closed_form_random_targets)
