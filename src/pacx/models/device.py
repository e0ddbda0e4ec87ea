"""Where networks run: one place decides, so that nothing stays on a processor beside an idle GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pacx.core.errors import UsageError

AUTOMATIC = "auto"


def chosen_device(asked: str = AUTOMATIC) -> str:
    """The device to compute on, in torch's spelling: a GPU if there is one, else the processor; or the one asked for.

    Raises:
        UsageError: torch has no such device here.
    """
    import torch  # here, so that a command's help is shown without torch

    if asked == AUTOMATIC:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=asked).cpu()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts; "meta" holds no numbers to copy
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"device {asked} cannot be used ({reason}); take cpu, or a device that is there, or leave it out"
        ) from error
    return asked


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Compute in the 32 bits that 32-bit weights promise, whatever was asked of torch outside; that comes back after.

    Autocast, ``torch.set_float32_matmul_precision`` and, unasked, cuDNN's convolutions (TF32) round to fewer.
    """
    import torch

    backends: Any = torch.backends  # whose stubs lack some of them
    kinds = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul, backends.cudnn.conv)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for kind, asked in zip(kinds, before, strict=True):
            kind.fp32_precision = asked
