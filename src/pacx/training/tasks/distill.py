"""Stage 2: teach the film encoder physiology, through small adapters and frozen targets.

`pack + frozen targets -> augmented film -> ViT with LoRA -> objectives -> merged encoder folder`. The targets are
embeddings of the same sample's ECG and labs, made once; which modalities take part is decided by which targets are
given. The objectives' heads die with training: what is released is a plain ViT that sees the film alone. An encoder of
other statistics or channels is restated for the pack's. It refuses films without a target unless told that pairs are
partial, an encoder made for films of another size, and one whose pooling the class token would silently replace.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pacx.core.errors import ModelError, UsageError
from pacx.core.progress import announce
from pacx.core.provenance import provenance
from pacx.core.randomness import uniform
from pacx.core.typed_json import plain
from pacx.data.augment import augment, to_input
from pacx.data.batches import Batch
from pacx.data.packs.pack import Pack, rows_of
from pacx.modalities.targets import FrozenTargets, targets_of_films
from pacx.models.encoders.folder import LoadedEncoder, save_encoder
from pacx.models.grey import restate
from pacx.models.vit import config_of
from pacx.models.vit_config import Pooling
from pacx.objectives.contrastive import ContrastiveObjective
from pacx.objectives.objective import PairedTargets
from pacx.objectives.regression import RegressionObjective
from pacx.objectives.whitening import chosen_shrinkage
from pacx.training.card import encoder_card
from pacx.training.config import TrainingConfig
from pacx.training.distillation import DistillModule, drawn_evenly
from pacx.training.engine import is_first_process
from pacx.training.films import FilmStream
from pacx.training.monitoring.alignment_metrics import collapse_advice, embedding_spread, mean_cosine, recall_at
from pacx.training.monitoring.reading_maps import save_reading_sheet
from pacx.training.task import ParameterGroup, StageTask, StepLoss, array_sha256, decay_matrices_only
from pacx.training.task_config import DistillTaskConfig, Selection

_MEASURED_BATCH = 128
_RECALLS = (1, 5)
_NUM_ILLUSTRATED = 8


class DistillTask(StageTask[Batch]):
    """Distillation of frozen physiological embeddings into a film encoder.

    Args:
        pack: the films.
        train_rows: rows of the pack to learn from.
        val_rows: rows to measure on, at least two; none of them in ``train_rows``.
        encoder: the Stage-1 encoder; restated exactly for the pack's channels and statistics.
        targets: frozen embeddings by modality name, joined to films by sample id; at least one modality.
        config: adapters, objectives, augmentation.
        seed: of adapters, heads and augmentation; recipes pass the training seed.

    Raises:
        UsageError: the encoder takes films of another size than the pack holds, or pools its patches and the class
            token is to be trained; no targets are given, or the rows overlap.
        DataError: a film has no target in one of the modalities and pairs are not partial; the message names it. Or
            no more than one patient has a target of some modality, on either side of the split.

    Source: paper section 3.3 and appendix A.1.2.
    """

    name = "distill"
    unit = "films"

    def __init__(
        self,
        pack: Pack,
        train_rows: NDArray[np.int64],
        val_rows: NDArray[np.int64],
        encoder: LoadedEncoder,
        targets: Mapping[str, FrozenTargets],
        config: DistillTaskConfig,
        seed: int,
    ) -> None:
        try:
            vit = restate(encoder, pack.preprocessing).vit
        except ModelError as error:
            raise UsageError(f"distill: the encoder does not fit the films of {pack.path}: {error}") from error
        # the other way round is a choice: Stage 1 trains no pooling, and its folders say class token
        if encoder.pooling is Pooling.PATCH_MEAN and config.pooling is Pooling.CLASS_TOKEN:
            raise UsageError(
                "distill: in this encoder the mean of the patches stands for the film, and the class token was to be "
                "trained; give --task.pooling PATCH_MEAN or another encoder"
            )
        if not targets:
            raise UsageError("distill: no targets are given; embed ECGs or labs first and name at least one of them")
        if len(val_rows) < 2 or np.intersect1d(train_rows, val_rows).size:
            raise UsageError("distill: validation needs at least two films, and none that is trained on")
        self.pack, self.train_rows, self.val_rows = pack, train_rows, val_rows
        self._films = FilmStream(pack, train_rows)
        self.config, self.seed, self.frozen = config, seed, dict(targets)
        self._patients = torch.from_numpy(np.unique(pack.patient_ids.astype(str), return_inverse=True)[1])  # (N,)
        self._train_targets = self._joined(train_rows)
        self._val_targets = self._joined(val_rows)
        # pack row to row of the training targets; -1 would fetch the last one, but no batch holds such a row
        self._position = np.full(len(pack.images), -1)
        self._position[train_rows] = np.arange(len(train_rows))
        self._encoder_sha256 = array_sha256(*(tensor.cpu().numpy() for tensor in encoder.vit.state_dict().values()))
        dims = {name: table.shape[1] for name, table in self._train_targets.values.items()}
        self._num_patches = config_of(vit).num_patches
        self.module: DistillModule = DistillModule(vit, dims, config, seed=seed)

    @property
    def num_samples(self) -> int:
        """Films in one epoch."""
        return len(self.train_rows)

    @property
    def selection(self) -> Selection | None:
        """By which validation metric the released weights are chosen; None releases the last ones."""
        return self.config.selection

    @torch.no_grad()
    def prepare(self) -> None:
        """Measure the training films under the Stage 1 encoder, which the adapters still are, as far as that is asked.

        Of them are made a whitening, and regression heads that start in closed form.
        """
        starts = self.config.regression.starts_in_closed_form and "regression" in self.module.objectives
        if self.config.whitening is None and not starts:
            return
        parts = [self.module.features(images).embedding.double().cpu() for _, images in self._plain(self.train_rows)]
        embeddings = torch.cat(parts)
        values = {name: each.double().numpy() for name, each in self._train_targets.values.items()}
        observed = {name: each.numpy() for name, each in self._train_targets.observed.items()}
        patients, said = self._train_targets.patients.numpy(), []
        if self.config.whitening is not None and self.module.whitening is not None:
            shrinkage, source = self.config.whitening.shrinkage, "as told"
            if shrinkage is None:
                shrinkage, error = chosen_shrinkage(embeddings.numpy(), values, observed, patients)
                source = (
                    "chosen by leaving out patients, whose targets are then predicted with "
                    f"{error:.3f} of the mean target's squared error"
                )
            self.module.whitening.set(embeddings.numpy(), shrinkage)
            said.append(
                f"film embeddings are whitened with shrinkage {shrinkage:.3g} over {len(embeddings)} films, "
                f"{source}; directions with less than {shrinkage:.3g} of the mean variance stay weak"
            )
        if starts:
            heard = self.module.heard(embeddings.to(self.device)).double().cpu().numpy()
            regression = cast("RegressionObjective", self.module.objectives["regression"])
            explained = regression.start_in_closed_form(heard, values, observed, patients)
            shares = ", ".join(f"{share:.3f} of {name}" for name, share in explained.items())
            said.append(
                f"regression heads start in closed form over {len(embeddings)} films and predict, of patients left "
                f"out, {shares}"
            )
        if is_first_process():
            for sentence in said:
                announce(f"distill: {sentence}")

    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[Batch]:
        """Batches of this process's share of the epoch's films, on its device."""
        return self._films.batches(epoch, config, rank, world_size, self.device)

    def sample_ids(self, batch: Batch) -> Sequence[str]:
        """Ids of a batch's films, in its order."""
        return list(self.pack.sample_ids[batch.rows.numpy()])

    def loss(self, batch: Batch, epoch: int) -> StepLoss:
        """Both objectives on freshly augmented films."""
        films = batch.images.to(self.device, non_blocking=True)  # (B, S, S) uint8
        positions = torch.from_numpy(self._position[batch.rows.numpy()])
        self.module.advance_teacher()  # towards the student as the optimiser left it after the last batch
        targets = self._train_targets.at(positions, self.device)
        targets = self.module.with_teacher(targets, to_input(films, self.pack.preprocessing))
        films = augment(films, batch.keys, self.config.augmentation, seed=self.seed, epoch=epoch)
        features = self.module.features(to_input(films, self.pack.preprocessing), self._seen(batch, epoch))
        if self.config.mixup is not None:
            features, targets = self.config.mixup.mixed(features, targets, batch.keys, seed=self.seed, epoch=epoch)
        return self.module.score(features, targets)

    def validate(self) -> dict[str, float]:
        """How well held-out films find their own physiology.

        Returns:
            ``loss`` and its terms (InfoNCE over at most 128 samples at a time, so never compare across sizes),
            ``temperature``; per modality ``recall_at_K_M`` of the own target among all held-out ones beside
            ``chance_recall_at_K``, ``cosine_M`` of the prediction beside ``constant_cosine_M`` of the mean training
            target; ``embedding_spread`` (0 = collapsed, 1 = as spread as can be).
        """
        chunks: list[Tensor] = []
        sums: dict[str, float] = {}
        for part, images in self._plain(self.val_rows):
            features = self.module.features(images)
            chunks.append(features.embedding.float())
            targets = self._val_targets.at(torch.from_numpy(part), self.device)
            targets = self.module.with_teacher(targets, images)
            outcome = self.module.score(features, targets)
            for name, value in {"loss": outcome.loss, **outcome.metrics}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(images)
        values = {name: total / len(self.val_rows) for name, total in sums.items()}
        embeddings = torch.cat(chunks)  # (V, D)
        return values | self._alignment(embeddings) | {"embedding_spread": embedding_spread(embeddings)}

    def illustrate(self, out: Path) -> None:
        """Draw ``reading.png``: where in some held-out films each target is read; nothing without such an objective."""
        films = self.pack.images[self.val_rows[:_NUM_ILLUSTRATED]]
        images = to_input(torch.from_numpy(films).to(self.device), self.pack.preprocessing)
        maps = self.module.reading(self.module.features(images))
        if maps:
            shown = {name: each.float().cpu().numpy() for name, each in maps.items()}
            save_reading_sheet(films, shown, out / "reading.png")

    def advice(self, values: Mapping[str, float]) -> str:
        """Says so when the embeddings have collapsed."""
        return collapse_advice(values.get("embedding_spread", math.nan))

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """No decay on norms, biases and the temperature."""
        return decay_matrices_only(self.module, weight_decay)

    def describe(self) -> dict[str, Any]:
        """Task configuration, and which films, encoder and targets."""
        return {
            "config": self.config,
            "seed": self.seed,
            "pack": self.pack.fingerprint,
            "rows": array_sha256(self.train_rows, self.val_rows),
            "num_train_films": len(self.train_rows),
            "num_val_films": len(self.val_rows),
            "encoder_sha256": self._encoder_sha256,
            "targets": {name: frozen.fingerprint for name, frozen in self.frozen.items()},
        }

    def release(self, out: Path) -> None:
        """Write ``encoder/``, a plain ViT, and with LoRA ``adapter/``, the adapters alone."""
        card = encoder_card(
            "PaCX encoder of chest films",
            f"A vision transformer taught with adapters to agree with frozen embeddings of {', '.join(self.frozen)}; "
            "the adapters are merged in and the film alone is its input.",
            {
                "stage": "2, cross-modal distillation",
                "training films": len(self.train_rows),
                "pack": self.pack.fingerprint,
                "encoder it started from (SHA-256 of its weights)": self._encoder_sha256,
                **self.weights_released,
            },
        )
        origin = {**provenance("train distill", self.seed).to_json(), "task": plain(self.describe())}
        save_encoder(
            self.config.adaptation.release(self.module.vit, out),
            out / "encoder",
            preprocessing=self.pack.preprocessing,
            pooling=self.config.pooling,
            card=card,
            provenance=origin,
        )

    def _plain(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Films as the encoder takes them, without augmentation: positions within ``rows``, and (B, C, S, S)."""
        for start in range(0, len(rows), _MEASURED_BATCH):
            part = np.arange(start, min(start + _MEASURED_BATCH, len(rows)))
            films = torch.from_numpy(rows_of(self.pack.images, rows[part])).to(self.device)
            yield part, to_input(films, self.pack.preprocessing)

    def _joined(self, rows: NDArray[np.int64]) -> PairedTargets:
        """Targets of these rows, joined by sample id and never by position."""
        ids, patients = self.pack.sample_ids[rows].tolist(), self.pack.patient_ids[rows]
        values, observed = {}, {}
        for name, frozen in self.frozen.items():
            table, has = targets_of_films(
                frozen, ids, patients, is_partial=self.config.partial_pairs, place=self.pack.path
            )
            values[name], observed[name] = torch.from_numpy(table), torch.from_numpy(has)
        return PairedTargets(values, observed, self._patients[rows])

    def _seen(self, batch: Batch, epoch: int) -> Tensor | None:
        """Which patches of each film this epoch looks at, (B, K); None = all."""
        dropout = self.config.patch_dropout
        if dropout is None:
            return None
        noise = uniform(self.seed, "patch-dropout", epoch, batch.keys, self._num_patches)  # (B, L)
        num_seen = dropout.num_seen(self._num_patches)
        drawn = drawn_evenly(noise, num_seen) if dropout.is_even else noise.argsort(axis=1, kind="stable")[:, :num_seen]
        return torch.from_numpy(drawn).to(self.device)

    def _alignment(self, embeddings: Tensor) -> dict[str, float]:
        values: dict[str, float] = {}
        embeddings = self.module.heard(embeddings)
        for objective in self.module.objectives.values():
            if isinstance(objective, ContrastiveObjective):
                values |= self._retrieval(objective, embeddings)
            if isinstance(objective, RegressionObjective):
                for name, head in objective.heads.items():
                    if name not in self.frozen:  # a teacher's embedding is no physiology
                        continue
                    has, targets = self._held_out(name)
                    of_training = self._train_targets.values[name][self._train_targets.observed[name]]
                    constant = of_training.mean(0, keepdim=True).to(self.device)
                    values[f"cosine_{name}"] = mean_cosine(head(embeddings[has]).float(), targets)
                    values[f"constant_cosine_{name}"] = mean_cosine(constant, targets)
        return values

    def _retrieval(self, objective: ContrastiveObjective, embeddings: Tensor) -> dict[str, float]:
        image = F.normalize(objective.image_projection(embeddings).float(), dim=1)
        values: dict[str, float] = {}
        for name, projection in objective.target_projections.items():
            has, targets = self._held_out(name)
            similarity = image[has] @ F.normalize(projection(targets).float(), dim=1).T
            values |= {f"recall_at_{k}_{name}": recall_at(similarity, k) for k in _RECALLS}
            # with partial pairs each modality has a gallery of its own
            suffix = f"_{name}" if self.config.partial_pairs else ""
            values |= {f"chance_recall_at_{k}{suffix}": min(1.0, k / len(targets)) for k in _RECALLS}
        return values

    def _held_out(self, name: str) -> tuple[Tensor, Tensor]:
        """Which validation films have this target, bool (V,), and those targets (V', D_m), on the device."""
        has = self._val_targets.observed[name]
        return has.to(self.device), self._val_targets.values[name][has].to(self.device)
