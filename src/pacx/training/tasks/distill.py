"""Stage 2: teach the film encoder physiology, through small adapters and frozen targets.

`pack + frozen targets -> augmented film -> ViT with LoRA -> objectives -> merged encoder folder`. The targets are
embeddings of the same sample's ECG and labs, made once; which modalities take part is decided by which targets are
given. The objectives' heads die with training: what is released is a plain ViT that sees the film alone. It refuses
films without a target, and an encoder made for other films.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.data.augment import Augmentation, augment, to_input
from pacx.data.batches import Batch
from pacx.data.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.adapters import LoRAConfig, add_lora, merge_lora
from pacx.models.encoder_folder import save_encoder
from pacx.models.vit import Pooling, config_of, pooled
from pacx.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from pacx.objectives.objective import Objective
from pacx.objectives.regression import RegressionConfig, RegressionObjective
from pacx.training.alignment_metrics import embedding_spread, mean_cosine, recall_at
from pacx.training.card import encoder_card
from pacx.training.config import TrainingConfig, plain
from pacx.training.films import FilmStream
from pacx.training.task import (
    ParameterGroup,
    Selection,
    StageTask,
    StepLoss,
    array_sha256,
    decay_matrices_only,
)

_VALIDATION_BATCH = 128
_RECALLS = (1, 5)


@dataclass(frozen=True, kw_only=True)
class DistillTaskConfig:
    """What Stage 2 trains, and towards what; the defaults are the paper's.

    Args:
        lora: which weights of the ViT move.
        contrastive: heads and temperature of the contrastive objective.
        regression: heads of the regression objective.
        contrastive_weight: its share of the loss; 0 leaves the objective out (ablation).
        regression_weight: the same for the regression objective.
        augmentation: what happens to a film before the encoder sees it.
        pooling: which output of the ViT is the image's embedding.
        selection: the validation metric that chooses the released epoch; None releases the last one.

    Source: paper section 3.3 and appendix A.1.2; released code for the augmentation.
    """

    lora: LoRAConfig = field(default_factory=LoRAConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    contrastive_weight: float = 0.5
    regression_weight: float = 1.0
    augmentation: Augmentation = Augmentation.DISTILLATION
    pooling: Pooling = Pooling.CLASS_TOKEN
    selection: Selection | None = None

    def __post_init__(self) -> None:
        if (
            min(self.contrastive_weight, self.regression_weight) < 0
            or not self.contrastive_weight + self.regression_weight
        ):
            raise UsageError("distill: give two loss weights of 0 or more, and not both 0")


class DistillModule(nn.Module):
    """The adapted ViT and the objectives' heads: everything Stage 2 trains or holds frozen.

    Args:
        encoder: the Stage-1 encoder; copied, never changed.
        target_dims: width of each modality's target.
        config: adapters, heads, weights.
        seed: of adapters and heads.
    """

    def __init__(
        self, encoder: VisionTransformer, target_dims: Mapping[str, int], config: DistillTaskConfig, *, seed: int
    ) -> None:
        super().__init__()
        width = config_of(encoder).embed_dim
        self.pooling = config.pooling
        self.weights: dict[str, float] = {}
        self.vit: PeftModel = add_lora(encoder, config.lora, seed=seed)
        self.objectives = nn.ModuleDict()
        if config.contrastive_weight:
            self.objectives["contrastive"] = ContrastiveObjective(config.contrastive, width, target_dims, seed=seed)
            self.weights["contrastive"] = config.contrastive_weight
        if config.regression_weight:
            self.objectives["regression"] = RegressionObjective(config.regression, width, target_dims, seed=seed)
            self.weights["regression"] = config.regression_weight

    def embed(self, images: Tensor) -> Tensor:
        """Normalized films (B, C, S, S) to embeddings (B, D)."""
        return pooled(cast("VisionTransformer", self.vit), images, self.pooling)

    def score(self, embeddings: Tensor, targets: Mapping[str, Tensor]) -> StepLoss:
        """The weighted loss of embeddings (B, D) against targets (B, D_m) of the same samples, and every term."""
        total = embeddings.new_zeros(())
        metrics: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            output = cast("Objective", self.objectives[name])(embeddings, targets)
            total = total + weight * output.loss
            metrics |= {name: output.loss.detach(), **output.metrics}
        return StepLoss(total, metrics)


class DistillTask(StageTask[Batch]):
    """Distillation of frozen physiological embeddings into a film encoder.

    Args:
        pack: the films.
        train_rows: rows of the pack to learn from.
        val_rows: rows to measure on, at least two; none of them in ``train_rows``.
        encoder: the Stage-1 encoder.
        targets: frozen embeddings by modality name, joined to films by sample id; at least one modality.
        config: adapters, objectives, augmentation.
        seed: of adapters, heads and augmentation; recipes pass the training seed.

    Raises:
        UsageError: the encoder takes other films than the pack holds, no targets are given, or the rows overlap.
        DataError: a film has no target in one of the modalities; the message names it.

    Source: paper section 3.3 and appendix A.1.2.
    """

    name = "distill"
    unit = "films"

    def __init__(
        self,
        pack: Pack,
        train_rows: NDArray[np.int64],
        val_rows: NDArray[np.int64],
        encoder: VisionTransformer,
        targets: Mapping[str, FrozenTargets],
        config: DistillTaskConfig,
        seed: int,
    ) -> None:
        wanted, held = config_of(encoder), pack.preprocessing
        if (wanted.img_size, wanted.in_chans) != (held.image_size_px, held.num_channels):
            raise UsageError(
                f"{pack.path} holds films of {held.image_size_px} px for {held.num_channels} channels, the encoder "
                f"takes {wanted.img_size} px and {wanted.in_chans}; pack again or give another encoder"
            )
        if not targets:
            raise UsageError("distill: no targets are given; embed ECGs or labs first and name at least one of them")
        if len(val_rows) < 2 or np.intersect1d(train_rows, val_rows).size:
            raise UsageError("distill: validation needs at least two films, and none that is trained on")
        self.pack, self.train_rows, self.val_rows = pack, train_rows, val_rows
        self._films = FilmStream(pack, train_rows)
        self.config, self.seed, self.frozen = config, seed, dict(targets)
        self._train_targets = self._joined(train_rows)
        self._val_targets = self._joined(val_rows)
        self._position = np.full(len(pack.images), -1)
        self._position[train_rows] = np.arange(len(train_rows))
        self._encoder_sha256 = array_sha256(*(tensor.cpu().numpy() for tensor in encoder.state_dict().values()))
        dims = {name: table.shape[1] for name, table in self._train_targets.items()}
        self.module: DistillModule = DistillModule(encoder, dims, config, seed=seed)

    @property
    def num_samples(self) -> int:
        """Films in one epoch."""
        return len(self.train_rows)

    @property
    def selection(self) -> Selection | None:
        """As configured."""
        return self.config.selection

    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[Batch]:
        """This rank's films."""
        return self._films.batches(epoch, config, rank, world_size, self.device)

    def sample_ids(self, batch: Batch) -> Sequence[str]:
        """The films' ids."""
        return list(self.pack.sample_ids[batch.rows.numpy()])

    def loss(self, batch: Batch, epoch: int) -> StepLoss:
        """Both objectives on freshly augmented films."""
        films = batch.images.to(self.device, non_blocking=True)  # (B, S, S) uint8
        films = augment(films, batch.keys, self.config.augmentation, seed=self.seed, epoch=epoch)
        positions = torch.from_numpy(self._position[batch.rows.numpy()])
        targets = {name: table[positions].to(self.device) for name, table in self._train_targets.items()}
        return self.module.score(self.module.embed(to_input(films, self.pack.preprocessing)), targets)

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
        for start in range(0, len(self.val_rows), _VALIDATION_BATCH):
            part = slice(start, start + _VALIDATION_BATCH)
            films = torch.from_numpy(self.pack.images[self.val_rows[part]]).to(self.device)
            chunks.append(self.module.embed(to_input(films, self.pack.preprocessing)).float())
            targets = {name: table[part].to(self.device) for name, table in self._val_targets.items()}
            outcome = self.module.score(chunks[-1], targets)
            for name, value in {"loss": outcome.loss, **outcome.metrics}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(films)
        values = {name: total / len(self.val_rows) for name, total in sums.items()}
        embeddings = torch.cat(chunks)  # (V, D)
        return values | self._alignment(embeddings) | {"embedding_spread": embedding_spread(embeddings)}

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
        """Write ``encoder/``: the ViT with the adapters merged in, the same interface as the Stage-1 encoder."""
        card = encoder_card(
            "PaCX encoder of chest films",
            f"A vision transformer taught with adapters to agree with frozen embeddings of {', '.join(self.frozen)}; "
            "the adapters are merged in and the film alone is its input.",
            {
                "stage": "2, cross-modal distillation",
                "training films": len(self.train_rows),
                "pack": self.pack.fingerprint,
                "encoder it started from (SHA-256 of its weights)": self._encoder_sha256,
            },
        )
        origin = {**provenance("train distill", self.seed).to_json(), "task": plain(self.describe())}
        save_encoder(
            merge_lora(self.module.vit),
            out / "encoder",
            preprocessing=self.pack.preprocessing,
            pooling=self.config.pooling,
            card=card,
            provenance=origin,
        )

    def _joined(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Targets of these rows by modality, (M, D_m) each."""
        ids = self.pack.sample_ids[rows].tolist()
        return {name: torch.from_numpy(np.array(frozen.for_samples(ids))) for name, frozen in self.frozen.items()}

    def _alignment(self, embeddings: Tensor) -> dict[str, float]:
        values: dict[str, float] = {}
        targets = {name: table.to(self.device) for name, table in self._val_targets.items()}
        for objective in self.module.objectives.values():
            if isinstance(objective, ContrastiveObjective):
                image = objective.image_projection(embeddings).float()
                values |= {f"chance_recall_at_{k}": min(1.0, k / len(embeddings)) for k in _RECALLS}
                for name, projection in objective.target_projections.items():
                    similarity = F.normalize(image, dim=1) @ F.normalize(projection(targets[name]).float(), dim=1).T
                    values |= {f"recall_at_{k}_{name}": recall_at(similarity, k) for k in _RECALLS}
            if isinstance(objective, RegressionObjective):
                for name, head in objective.heads.items():
                    constant = self._train_targets[name].mean(0, keepdim=True).to(self.device)
                    values[f"cosine_{name}"] = mean_cosine(head(embeddings).float(), targets[name])
                    values[f"constant_cosine_{name}"] = mean_cosine(constant, targets[name])
        return values
