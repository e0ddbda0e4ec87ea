"""Encoders by name, as protocols compare them: folders, and the baselines that have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timm.models.vision_transformer import VisionTransformer

from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoder_folder import load_encoder
from pacx.models.imagenet import ImageNetModel, imagenet_vit
from pacx.models.vit import Pooling, config_of, random_vit

RANDOM, IMAGENET = "random", "imagenet"


@dataclass(frozen=True, kw_only=True)
class NamedEncoder:
    """A frozen encoder, what it takes, and the name its result rows carry."""

    name: str
    vit: VisionTransformer
    preprocessing: Preprocessing
    pooling: Pooling


def encoder_from_folder(name: str, folder: Path) -> NamedEncoder:
    """An encoder folder under a name."""
    loaded = load_encoder(folder)
    return NamedEncoder(name=name, vit=loaded.vit, preprocessing=loaded.preprocessing, pooling=loaded.pooling)


def random_like(encoder: NamedEncoder, seed: int) -> NamedEncoder:
    """An encoder of the same shape that has seen nothing: the floor."""
    vit = random_vit(config_of(encoder.vit), seed)
    return NamedEncoder(name=RANDOM, vit=vit, preprocessing=encoder.preprocessing, pooling=encoder.pooling)


def imagenet_encoder(model: ImageNetModel = ImageNetModel.BASE) -> NamedEncoder:
    """The paper's first baseline: supervised on ImageNet, 224 pixels, class token.

    Raises:
        ModelError: its weights are not at hand and cannot be fetched.
    """
    return NamedEncoder(
        name=IMAGENET, vit=imagenet_vit(model), preprocessing=Preprocessing(), pooling=Pooling.CLASS_TOKEN
    )


def open_encoders(words: Sequence[str], seed: int) -> list[NamedEncoder]:
    """Encoders as a user names them: ``NAME=FOLDER``, and the baselines ``random`` and ``imagenet``.

    Raises:
        UsageError: a word is neither, a name occurs twice, or ``random`` has no folder to take its shape from.
    """
    folders = dict(word.split("=", 1) for word in words if "=" in word)
    unknown = [word for word in words if "=" not in word and word not in (RANDOM, IMAGENET)]
    if unknown or len(folders) + sum("=" not in word for word in words) != len(set(words)):
        raise UsageError(f"encoders {' '.join(words)}: give NAME=FOLDER, random or imagenet, each name once")
    opened = {name: encoder_from_folder(name, Path(folder)) for name, folder in folders.items()}
    if RANDOM in words:
        if not opened:
            raise UsageError("random takes its shape from the first encoder folder; give at least one NAME=FOLDER")
        opened[RANDOM] = random_like(next(iter(opened.values())), seed)
    if IMAGENET in words:
        opened[IMAGENET] = imagenet_encoder()
    return [opened[word.split("=", 1)[0]] for word in words]
