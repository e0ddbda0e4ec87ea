"""Stage 1a: learn the anatomy of chest films by painting hidden patches back.

`pack -> crop -> tokens -> masked error -> encoder folder`. Everything random about a film in an epoch (its place in the
order, its crop, its mask) is a function of the seed, the epoch and the film's own id. It refuses a pack made for
another image size, and it counts the tokens that really go through the encoder: the paper's 0.90 masking was lost on
the way to the model in the authors' release.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from pacx.core.artifacts import staged_file
from pacx.core.errors import ModelError, TrainingError, UsageError
from pacx.core.provenance import provenance
from pacx.core.randomness import order, uniform
from pacx.core.typed_json import plain
from pacx.data.augment import augment, to_input
from pacx.data.batches import Batch
from pacx.data.packs.pack import Pack, rows_of
from pacx.models.encoders.folder import LoadedEncoder, save_encoder
from pacx.models.grey import grey_contract, restate
from pacx.models.mae.flops import training_flops
from pacx.models.mae.model import MAEOutput, MaskedAutoencoder
from pacx.models.vit import config_of
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.training.card import encoder_card
from pacx.training.config import TrainingConfig
from pacx.training.films import FilmStream
from pacx.training.monitoring.reconstructions import reconstruct, save_sheet
from pacx.training.task import ParameterGroup, StageTask, StepLoss, array_sha256, decay_matrices_only
from pacx.training.task_config import MAETaskConfig

_VALIDATION_BATCH = 256
_NUM_ILLUSTRATED = 6
_NUM_BASELINE_FILMS = 4096
_PIXEL_VARIANCE_EPS = 1e-6  # the model's own: what is asked here is what it is trained to answer


class MAETask(StageTask[Batch]):
    """Masked autoencoding of the films in a pack.

    Args:
        pack: the films.
        train_rows: rows of the pack to learn from.
        val_rows: rows to measure on, at least one; none of them in ``train_rows``.
        config: the model and its augmentation. A model of one channel takes the films once, under ``grey_contract``
            of the pack's; what is released takes them as the pack says all the same.
        seed: of weights, crops and masks; recipes pass the training seed.
        initial: where the encoder starts; restated exactly for the channels it will see. The decoder starts fresh.

    Raises:
        UsageError: the pack has another image size or number of channels than the model, the rows overlap, or the
            initial encoder has another shape.

    Source: paper section 3.1 and appendix A.1.1; He et al. 2022.
    """

    name = "mae"
    unit = "films"
    is_mean_over_samples = True

    def __init__(
        self,
        pack: Pack,
        train_rows: NDArray[np.int64],
        val_rows: NDArray[np.int64],
        config: MAETaskConfig,
        seed: int,
        initial: LoadedEncoder | None = None,
    ) -> None:
        is_grey = config.model.in_chans == 1
        self.preprocessing = grey_contract(pack.preprocessing) if is_grey else pack.preprocessing
        shape = (pack.preprocessing.image_size_px, self.preprocessing.num_channels)
        if shape != (config.model.img_size, config.model.in_chans):
            raise UsageError(
                f"{pack.path} holds films of {shape[0]} px for one channel or {shape[1]}, the model takes "
                f"{config.model.img_size} px and {config.model.in_chans}; pack with --image-size-px "
                f"{config.model.img_size} or train with --task.model.img-size {shape[0]}"
            )
        if len(val_rows) == 0 or np.intersect1d(train_rows, val_rows).size:
            raise UsageError("mae: validation needs at least one film, and none that is trained on; check the split")
        self.pack, self.train_rows, self.val_rows = pack, train_rows, val_rows
        self._films = FilmStream(pack, train_rows)
        self.config, self.seed = config, seed
        self.module: MaskedAutoencoder = MaskedAutoencoder(config.model, seed=seed)
        self._initial_sha256 = None if initial is None else self._start_from(initial)
        self._loss = self.module.loss

    @property
    def num_samples(self) -> int:
        """Films in one epoch."""
        return len(self.train_rows)

    def num_batches(self, config: TrainingConfig) -> int:
        """Whole batches only: a smaller one would train under a learning rate made for a larger one.

        Raises:
            UsageError: there are fewer films than one batch.
        """
        if self.num_samples < config.batch_size:
            raise UsageError(
                f"mae: {self.pack.path} has {self.num_samples} training films, fewer than one batch of "
                f"{config.batch_size}; pack more films or give a smaller --training.batch-size"
            )
        return super().num_batches(config)

    def batches(self, epoch: int, config: TrainingConfig, rank: int, world_size: int) -> Iterator[Batch]:
        """Batches of this process's share of the epoch's films, on its device."""
        return self._films.batches(epoch, config, rank, world_size, self.device)

    def sample_ids(self, batch: Batch) -> Sequence[str]:
        """Ids of a batch's films, in its order."""
        return list(self.pack.sample_ids[batch.rows.numpy()])

    def loss(self, batch: Batch, epoch: int) -> StepLoss:
        """Mean squared error on the hidden patches of freshly cropped films."""
        films = batch.images.to(self.device, non_blocking=True)  # (B, S, S) uint8
        films = augment(films, batch.keys, self.config.augmentation, seed=self.seed, epoch=epoch)
        noise = self._mask_noise("mask", epoch, batch.keys)
        return StepLoss(self._loss(to_input(films, self.preprocessing), noise), {})

    def compile(self) -> None:
        """Fuse the model's loss; augmentation stays outside of the compiled graph."""
        self._loss = torch.compile(self.module.loss, dynamic=False)

    def shards(self) -> Sequence[nn.Module]:
        """The blocks of encoder and decoder."""
        return [*self.module.blocks.children(), *self.module.decoder_blocks.children()]

    @property
    def flops_per_sample(self) -> float:
        """By the sizes of the model."""
        return training_flops(self.config.model)

    def validate(self) -> dict[str, float]:
        """Masked error on held-out films under one fixed mask each, beside that of the training films' mean image.

        Returns:
            ``masked_mse`` and ``mean_image_mse`` in the units of the loss (squared normalized pixel values; with
            ``norm_pix_loss`` squared patch-normalized ones), and ``visible_tokens`` as counted in the encoder.
        """
        sums = np.zeros(2)
        for start in range(0, len(self.val_rows), _VALIDATION_BATCH):
            rows = self.val_rows[start : start + _VALIDATION_BATCH]
            images = self._input(rows)
            output = self.module(images, self._mask_noise("validation-mask", 0, self.pack.keys[rows]))
            self._require_visible(output)
            target = self._target(images)
            for i, prediction in enumerate((output.prediction, self._mean_target.to(self.device))):
                per_patch = (prediction.float() - target).square().mean(-1)  # (B, L)
                sums[i] += ((per_patch * output.mask).sum(1) / output.mask.sum(1)).sum().item()
        masked, mean_image = sums / len(self.val_rows)
        return {"masked_mse": masked, "mean_image_mse": mean_image, "visible_tokens": float(self.module.num_visible)}

    def illustrate(self, out: Path) -> None:
        """``reconstructions.png``: some held-out films, what the encoder saw of them, what the decoder drew."""
        rows = self.val_rows[:_NUM_ILLUSTRATED]
        noise = self._mask_noise("validation-mask", 0, self.pack.keys[rows])
        shown = reconstruct(self.module, self._input(rows), noise, self.preprocessing)
        save_sheet(shown, out / "reconstructions.png")

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """No decay on biases, norms, tokens and positions."""
        return decay_matrices_only(self.module, weight_decay)

    def describe(self) -> dict[str, Any]:
        """Task configuration, and which films of which pack."""
        return {
            "config": self.config,
            "decoder": type(self.config.model.decoder).__name__,
            "seed": self.seed,
            "pack": self.pack.fingerprint,
            "rows": array_sha256(self.train_rows, self.val_rows),
            "num_train_films": len(self.train_rows),
            "num_val_films": len(self.val_rows),
            "initial_encoder_sha256": self._initial_sha256,
        }

    def release(self, out: Path) -> None:
        """Write ``encoder/``, the plain ViT that later stages load, and ``mae.safetensors``, decoder included."""
        with staged_file(out / "mae.safetensors") as partial:
            save_file({name: tensor.cpu().contiguous() for name, tensor in self.module.state_dict().items()}, partial)
        trained = LoadedEncoder(self.module.encoder().cpu(), self.preprocessing, Pooling.CLASS_TOKEN)
        save_encoder(
            restate(trained, self.pack.preprocessing).vit,
            out / "encoder",
            preprocessing=self.pack.preprocessing,
            pooling=Pooling.CLASS_TOKEN,
            card=encoder_card(
                "MAE encoder of chest films",
                "A vision transformer trained without labels to restore hidden patches of chest films.",
                {
                    "stage": "1, masked autoencoding",
                    "training films": len(self.train_rows),
                    "pack": self.pack.fingerprint,
                    **self._origin(),
                    **self.weights_released,
                },
            ),
            provenance={**provenance("train mae", self.seed).to_json(), "task": plain(self.describe())},
        )

    def _start_from(self, initial: LoadedEncoder) -> str:
        """Put an encoder's weights in the place of the fresh ones; gives their fingerprint."""
        try:
            vit = restate(initial, self.preprocessing).vit
        except ModelError as error:
            raise UsageError(f"mae: the encoder to start from does not fit the films: {error}") from error
        sizes = {each.name: getattr(self.config.model, each.name) for each in fields(ViTConfig)}
        if config_of(vit) != ViTConfig(**sizes):
            raise UsageError(f"mae: the encoder to start from is {config_of(vit)}, the model {sizes}; change the model")
        self.module.load_state_dict({**self.module.state_dict(), **vit.state_dict()})
        return array_sha256(*(tensor.numpy() for tensor in initial.vit.state_dict().values()))

    def _origin(self) -> dict[str, str]:
        """What the card says of where the weights began, and of what they were trained on."""
        said = {}
        if self._initial_sha256 is not None:
            said["encoder it started from (SHA-256 of its weights)"] = self._initial_sha256
        if self.preprocessing != self.pack.preprocessing:
            said["trained on"] = "one channel; the patch embedding is restated exactly for the contract below"
        return said

    def _mask_noise(self, stream: str, epoch: int, keys: NDArray[np.uint64]) -> Tensor:
        noise = uniform(self.seed, stream, epoch, keys, self.config.model.num_patches)  # (B, L)
        return torch.from_numpy(noise.astype(np.float32)).to(self.device, non_blocking=True)

    def _input(self, rows: NDArray[np.int64]) -> Tensor:
        films = torch.from_numpy(rows_of(self.pack.images, rows)).to(self.device)
        return to_input(films, self.preprocessing)  # (B, C, S, S)

    def _target(self, images: Tensor) -> Tensor:
        """What the model is asked to predict, (B, L, P)."""
        patches = self.module.patchify(images)
        if not self.config.model.norm_pix_loss:
            return patches
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (patches - mean) / (variance + _PIXEL_VARIANCE_EPS).sqrt()

    @cached_property
    def _mean_target(self) -> Tensor:
        """The best guess that looks at nothing: the mean target over (at most 4,096, evenly drawn) training films."""
        drawn = order(self.seed, "baseline", 0, self.pack.keys[self.train_rows])[:_NUM_BASELINE_FILMS]
        rows = np.sort(self.train_rows[drawn])
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(rows), _VALIDATION_BATCH):
            images = self._input(rows[start : start + _VALIDATION_BATCH])
            # in double precision: thousands of films are added, and the order of batches must not show
            total = total + self._target(images).sum(0, dtype=torch.float64).cpu()
        return (total / len(rows)).float()  # (L, P)

    def _require_visible(self, output: MAEOutput) -> None:
        seen = output.latent.shape[1] - 1  # without the class token
        hidden = output.mask.sum(1)
        if seen != self.module.num_visible or not bool((hidden == self.config.model.num_patches - seen).all()):
            raise TrainingError(
                f"mae: {seen} patches went through the encoder, expected {self.module.num_visible} at mask ratio "
                f"{self.config.model.mask_ratio}; the mask ratio does not reach the model"
            )
