"""Encoders by name, as protocols compare them: ours, the baselines, and whatever a user has already.

A word says the name that result rows carry and where the encoder is: ``pacx=runs/pacx/encoder`` (a folder of ours, of
timm's or of transformers'), ``dino=timm:vit_small_patch14_dinov2.lvd142m``, ``evax=timm:NAME,FILE`` (a timm model with
a checkpoint), ``rad-dino=hf:microsoft/rad-dino``; ``#token`` or ``#mean`` behind it chooses what stands for the film.
A folder of ours that has predicted directions beside it gives those, unless one of the two is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.directions_encoder import DirectionsEncoder, open_encoder_folder
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.encoders.folder import LoadedEncoder, is_config_of_ours
from pacx.models.encoders.huggingface_encoder import open_huggingface
from pacx.models.encoders.imagenet import ImageNetModel, imagenet_vit
from pacx.models.encoders.names import IMAGENET, RANDOM
from pacx.models.encoders.timm_encoder import open_timm_folder, open_timm_model
from pacx.models.vit import config_of, random_vit
from pacx.models.vit_config import Pooling

_TIMM, _HUGGING_FACE = "timm:", "hf:"
_POOLINGS = {"token": Pooling.CLASS_TOKEN, "mean": Pooling.PATCH_MEAN}


@dataclass(frozen=True, kw_only=True)
class NamedEncoder:
    """A frozen encoder and the name its result rows carry."""

    name: str
    encoder: FilmEncoder

    @property
    def preprocessing(self) -> Preprocessing:
        """What a film must go through first."""
        return self.encoder.preprocessing

    @property
    def stands_for(self) -> str:
        """Which part of the output stands for the film, in a word."""
        pooling = self.encoder.pooling
        return "as its makers pool" if pooling is None else pooling.value


def encoder_from_folder(name: str, folder: Path) -> NamedEncoder:
    """An encoder folder of ours under a name."""
    return NamedEncoder(name=name, encoder=open_encoder_folder(folder))


def random_like(encoder: NamedEncoder, seed: int) -> NamedEncoder:
    """An encoder of the same shape that has seen nothing: the floor.

    Raises:
        UsageError: the encoder is none of ours, so its shape cannot be made again.
    """
    trained = _of_ours(encoder.encoder)
    if trained is None:
        raise UsageError(f"random takes its shape from an encoder folder of ours, and {encoder.name} is none")
    vit = random_vit(config_of(trained.vit), seed)
    return NamedEncoder(name=RANDOM, encoder=trained._replace(vit=vit))


def _of_ours(encoder: FilmEncoder) -> LoadedEncoder | None:
    """The network of a folder of ours; None for anybody else's encoder."""
    if isinstance(encoder, DirectionsEncoder):
        return encoder.network
    return encoder if isinstance(encoder, LoadedEncoder) else None


def imagenet_encoder(model: ImageNetModel = ImageNetModel.BASE) -> NamedEncoder:
    """The paper's first baseline: supervised on ImageNet, 224 pixels, class token.

    Raises:
        ModelError: its weights are not at hand and cannot be fetched.
    """
    return NamedEncoder(name=IMAGENET, encoder=LoadedEncoder(imagenet_vit(model), Preprocessing(), Pooling.CLASS_TOKEN))


def open_encoder(place: str) -> FilmEncoder:
    """An encoder wherever it is; the module says how places are written.

    Raises:
        ModelError: it is not there, damaged, or of a kind that nobody here can open.
    """
    return _open_each([place])[0]


def _open_each(places: Sequence[str]) -> list[FilmEncoder]:
    """Encoders, of which those that differ in the pooling alone share one network."""
    opened: dict[str, FilmEncoder] = {}
    found = []
    for place in places:
        bare, mark, part = place.rpartition("#")
        pooling = _POOLINGS.get(part) if mark else None
        where = place if pooling is None else bare
        if where not in opened:
            opened[where] = _open_network(where)
        found.append(opened[where] if pooling is None else opened[where].pooled_by(pooling))
    return found


def _open_network(place: str) -> FilmEncoder:
    if place.startswith(_TIMM):
        name, _, checkpoint = place.removeprefix(_TIMM).partition(",")
        return open_timm_model(name, Path(checkpoint) if checkpoint else None)
    if place.startswith(_HUGGING_FACE):
        return open_huggingface(place.removeprefix(_HUGGING_FACE))
    return _open_folder(Path(place))


def _open_folder(folder: Path) -> FilmEncoder:
    if (folder / "preprocessing.json").is_file():
        return open_encoder_folder(folder)
    try:
        config = read_json(folder / "config.json")
    except DataError as error:
        raise ModelError(
            f"{folder} is no encoder: it has no readable config.json; give a folder of ours (with preprocessing.json), "
            "of timm or of transformers, or timm:NAME or hf:NAME"
        ) from error
    if is_config_of_ours(config):
        raise ModelError(
            f"{folder} lacks preprocessing.json, without which nobody can say what its films have to go through; "
            "copy or export the whole folder again"
        )
    return open_timm_folder(folder) if "architecture" in config else open_huggingface(str(folder))


def open_encoders(words: Sequence[str], seed: int) -> list[NamedEncoder]:
    """Encoders as a user names them: ``NAME=PLACE``, and the baselines ``random`` and ``imagenet``.

    Args:
        words: one per encoder. A place is a folder of ours, of timm's or of transformers', ``timm:MODEL``,
            ``timm:MODEL,CHECKPOINT`` or ``hf:OWNER/NAME``, with ``#token`` or ``#mean`` behind it to choose what stands
            for the film.
        seed: of the weights of ``random``, which has the shape of the first folder of ours.

    Returns:
        Encoders with their names, in the order of the words.

    Raises:
        UsageError: a word is neither, a name occurs twice, or ``random`` has no folder to take its shape from.
        ModelError: an encoder cannot be opened.

    Example:
        >>> from pacx.models import open_encoders
        >>> encoders = open_encoders(["pacx=runs/pacx/encoder", "mean=runs/pacx/encoder#mean", "random"], seed=0)
        >>> [(each.name, each.stands_for) for each in encoders]
        [('pacx', 'token'), ('mean', 'mean'), ('random', 'token')]
    """
    places = dict(word.split("=", 1) for word in words if "=" in word)
    unknown = [word for word in words if "=" not in word and word not in (RANDOM, IMAGENET)]
    if unknown or len(places) + sum("=" not in word for word in words) != len(set(words)):
        raise UsageError(f"encoders {' '.join(words)}: give NAME=PLACE, random or imagenet, each name once")
    opened = {
        name: NamedEncoder(name=name, encoder=encoder)
        for name, encoder in zip(places, _open_each(list(places.values())), strict=True)
    }
    if RANDOM in words:
        ours = [each for each in opened.values() if _of_ours(each.encoder) is not None]
        if not ours:
            raise UsageError("random takes its shape from the first encoder folder of ours; give at least one")
        opened[RANDOM] = random_like(ours[0], seed)
    if IMAGENET in words:
        opened[IMAGENET] = imagenet_encoder()
    return [opened[word.split("=", 1)[0]] for word in words]
