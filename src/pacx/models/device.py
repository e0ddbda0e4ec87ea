"""Where networks run: one place decides, so that nothing stays on a processor beside an idle GPU."""

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
