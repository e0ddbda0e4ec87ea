"""Stage 1a: masked autoencoding of chest films."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment_config import Augmentation
from pacx.data.packs.pack import Pack
from pacx.models.mae.config import CrossDecoder, Decoder, MAEConfig, SampledDecoder
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.recipes.rows import train_and_held_out
from pacx.recipes.run import Run
from pacx.training.config import MatrixOptimizer, TrainingConfig
from pacx.training.task_config import MAETaskConfig

if TYPE_CHECKING:
    from pacx.models.encoders.folder import LoadedEncoder
    from pacx.training.run_folder import TrainingSummary


@dataclass(frozen=True, kw_only=True)
class MAERun(Run):
    """Pretrain a chest X-ray encoder as a masked autoencoder.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import MAERun, recipe
        >>> run = replace(recipe("mae-tiny"), pack=Path("packs/films"), out=Path("runs/mine"))
        >>> run = replace(run, training=replace(run.training, epochs=10))
        >>> isinstance(run, MAERun), run.training.epochs, run.task.model.img_size
        (True, 10, 64)
        >>> run.run()  # doctest: +SKIP
    """

    pack: Path
    """A pack made by `pacx data pack`; its images decide the input size."""

    out: Path = Path("runs/mae")
    """The run folder; the encoder ends up in OUT/encoder."""

    init: Path | None = None
    """Where the encoder starts: an encoder folder, a checkpoint of a masked autoencoder (facebookresearch/mae, the
    authors', ours), or `imagenet`. The decoder starts fresh; weights for three channels also start a model of one."""

    task: MAETaskConfig = field(default_factory=MAETaskConfig)
    """Model, mask ratio, augmentation."""

    training: TrainingConfig
    """Optimiser, schedule, machine."""

    resume: bool = False
    """Go on with an interrupted run of the same configuration."""

    def run(self) -> "TrainingSummary":
        """Train on the pack's training films, measure on its validation films."""
        pack = Pack.open(self.pack)

        from pacx.training.loop import train  # not before there is a pack: a wrong path is answered at once
        from pacx.training.tasks.mae import MAETask

        fitting, held_out = train_and_held_out(pack, self.training.seed)
        initial = None if self.init is None else initial_encoder(self.init, self.task.model)
        task = MAETask(pack, fitting, held_out, self.task, self.training.seed, initial)
        return train(task, self.training, self.out, resume=self.resume)


def initial_encoder(init: Path, model: MAEConfig) -> "LoadedEncoder":
    """What ``--init`` names, for a model of these sizes.

    Raises:
        UsageError: there is nothing at that place.
        ModelError: the checkpoint does not fit, or ImageNet's weights are neither in the cache nor to be fetched.
    """
    from pacx.models.encoders.by_name import IMAGENET
    from pacx.models.encoders.folder import LoadedEncoder, load_encoder
    from pacx.models.encoders.imagenet import imagenet_vit
    from pacx.models.grey import grey_contract
    from pacx.models.mae.checkpoints import load_mae_encoder, read_mae_weights

    if str(init) == IMAGENET:
        return LoadedEncoder(imagenet_vit(), Preprocessing(), Pooling.CLASS_TOKEN)
    if init.is_dir():
        return load_encoder(init)
    if not init.is_file():
        raise UsageError(f"--init {init} is not there; give an encoder folder, a checkpoint file or {IMAGENET}")
    contract = Preprocessing(image_size_px=model.img_size)
    projection = read_mae_weights(init).get("patch_embed.proj.weight")
    if projection is not None and projection.shape[1] == 1:  # one of ours, trained on one channel
        contract = grey_contract(contract)
    sizes = {each.name: getattr(model, each.name) for each in fields(ViTConfig)}
    vit = load_mae_encoder(init, ViTConfig(**{**sizes, "in_chans": contract.num_channels}))
    return LoadedEncoder(vit, contract, Pooling.CLASS_TOKEN)


def mae() -> MAERun:
    """The paper's Stage 1: ViT-B/16 at 224 px, 90 % masked, 400 epochs, batch 512."""
    training = TrainingConfig(
        epochs=400,
        batch_size=512,
        learning_rate=1.5e-4,
        warmup_epochs=10,
        weight_decay=0.05,
        betas=(0.9, 0.95),
        checkpoint_every_epochs=5,
    )
    return MAERun(pack=tyro.MISSING, training=training)


def mae_released_code() -> MAERun:
    """As the authors' code really runs: 75 % masked, flips (docs/architecture.md)."""
    paper = mae()
    task = MAETaskConfig(model=replace(paper.task.model, mask_ratio=0.75), augmentation=Augmentation.STAGE1_RELEASED)
    return replace(paper, task=task, out=Path("runs/mae-released-code"))


def mae_tiny() -> MAERun:
    """A small model for two CPU cores: 64 px, patches of 8, minutes instead of days.

    Films are cropped to no less than 0.8 of their area instead of 0.5: in so short a training the model has to learn
    where things usually lie first (docs/experiments.md).
    """
    model = MAEConfig(
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=6,
        num_heads=4,
        decoder_embed_dim=64,
        decoder_depth=2,
        decoder_num_heads=4,
    )
    training = TrainingConfig(
        epochs=40, batch_size=64, learning_rate=1.5e-3, warmup_epochs=2, weight_decay=0.05, betas=(0.9, 0.95)
    )
    task = MAETaskConfig(model=model, augmentation=replace(Augmentation.STAGE1, crop_scale=(0.8, 1.0)))
    return MAERun(pack=tyro.MISSING, out=Path("runs/mae-tiny"), task=task, training=training)


def mae_tiny_muon() -> MAERun:
    """As mae-tiny, but Muon steps the weight matrices: half the epochs for a lower error."""
    tiny = mae_tiny()
    training = replace(
        tiny.training,
        epochs=20,
        warmup_epochs=1.0,
        matrix_optimizer=MatrixOptimizer.MUON,
        matrix_rate_factor=2.5,
        weight_decay=2.0,  # or what all films have in common outgrows what they differ in (docs/experiments.md)
    )
    return replace(tiny, out=Path("runs/mae-tiny-muon"), training=training)


def mae_sampled() -> MAERun:
    """As mae, but each step decodes 49 of the 177 hidden patches: half the arithmetic, another objective."""
    return _with_decoder(mae(), SampledDecoder(), Path("runs/mae-sampled"))


def mae_cross() -> MAERun:
    """As mae-sampled, but decoded patches attend to visible ones only: a third less arithmetic again."""
    return _with_decoder(mae(), CrossDecoder(), Path("runs/mae-cross"))


def mae_tiny_sampled() -> MAERun:
    """As mae-tiny, but each step decodes 16 of the 58 hidden patches."""
    return _with_decoder(mae_tiny(), SampledDecoder(num_sampled=16), Path("runs/mae-tiny-sampled"))


def mae_tiny_cross() -> MAERun:
    """As mae-tiny-sampled, but decoded patches attend to visible ones only."""
    return _with_decoder(mae_tiny(), CrossDecoder(num_sampled=16), Path("runs/mae-tiny-cross"))


def _with_decoder(run: MAERun, decoder: Decoder, out: Path) -> MAERun:
    return replace(run, task=replace(run.task, model=replace(run.task.model, decoder=decoder)), out=out)


RECIPES = (
    mae,
    mae_sampled,
    mae_cross,
    mae_released_code,
    mae_tiny,
    mae_tiny_muon,
    mae_tiny_sampled,
    mae_tiny_cross,
)
