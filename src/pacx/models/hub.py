"""Published weights: from the local cache, else from the hub after one quick question whether it is there at all.

Left to itself the hub client asks six times for each of two files: the best part of a minute without a network.
"""

import os

import huggingface_hub

from pacx.core.errors import ModelError

_HUB_TIMEOUT_S = 10.0


def hub_file(repository: str, filename: str) -> str:
    """The path of one file of a hub repository, fetched if need be.

    Raises:
        ModelError: it is not in the cache and cannot be fetched.
    """
    cached = huggingface_hub.try_to_load_from_cache(repository, filename)
    if isinstance(cached, str | os.PathLike):
        return os.fspath(cached)
    try:
        url = huggingface_hub.hf_hub_url(repository, filename)
        huggingface_hub.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT_S)
        return huggingface_hub.hf_hub_download(repository, filename, etag_timeout=_HUB_TIMEOUT_S)
    except Exception as error:  # the client's HTTP library, and so its errors, change with its version
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot fetch {filename} of {repository} from {huggingface_hub.constants.ENDPOINT} ({reason}); "
            "connect to the network once, or copy it into the Hugging Face cache"
        ) from error
