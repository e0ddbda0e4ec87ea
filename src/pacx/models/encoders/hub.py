"""Published weights: from the local cache, else from the hub after one quick question whether it is there at all.

Left to itself the hub client asks six times for each of two files: the best part of a minute without a network.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import huggingface_hub

from pacx.core.errors import ModelError

ENCODER_FILES = ("model.safetensors", "config.json", "preprocessing.json")
"""Without which a repository is no encoder of ours."""
_HEAD_PATTERNS = ("readouts/*", "classifier/*", "segmenter/*", "reference/*", "*.md")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")
_HUB_TIMEOUT_S = 10.0


def hub_file(repository: str, filename: str) -> str:
    """The path of one file of a hub repository, fetched if need be.

    Raises:
        ModelError: it is not in the cache and cannot be fetched.
    """
    cached = huggingface_hub.try_to_load_from_cache(repository, filename)
    if isinstance(cached, str | os.PathLike):
        return os.fspath(cached)
    with _said_in_a_sentence(f"{filename} of {repository}"):
        url = huggingface_hub.hf_hub_url(repository, filename)
        huggingface_hub.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT_S)
        return huggingface_hub.hf_hub_download(repository, filename, etag_timeout=_HUB_TIMEOUT_S)


def is_hub_id(place: str) -> bool:
    """Whether a place is written like ``OWNER/NAME`` or ``OWNER/NAME@REVISION``."""
    return _HUB_ID.fullmatch(place) is not None


def hub_folder(place: str) -> Path:
    """The local copy of an encoder folder on the hub: weights, contract and heads, without graphs.

    Args:
        place: as for ``is_hub_id``; without a revision the main one.

    Raises:
        ModelError: it is not in the cache and cannot be fetched.
    """
    repository, _, revision = place.partition("@")
    fetch = partial(
        huggingface_hub.snapshot_download,
        repository,
        revision=revision or None,
        allow_patterns=[*ENCODER_FILES, *_HEAD_PATTERNS],
    )
    try:
        cached = Path(fetch(local_files_only=True))
        if all((cached / name).is_file() for name in ENCODER_FILES):
            return cached
    except (OSError, ValueError):  # not cached
        pass
    with _said_in_a_sentence(repository):
        url = huggingface_hub.hf_hub_url(repository, ENCODER_FILES[-1], revision=revision or None)
        huggingface_hub.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT_S)
        return Path(fetch(etag_timeout=_HUB_TIMEOUT_S))


@contextmanager
def _said_in_a_sentence(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the client's HTTP library, and so its errors, change with its version
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot fetch {what} from {huggingface_hub.constants.ENDPOINT} ({reason}); "
            "connect to the network once, or copy it into the Hugging Face cache"
        ) from error
