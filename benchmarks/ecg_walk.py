"""How far one walks from an ECG's file to the loss: the functions that hold samples of a recording on the way.

    python benchmarks/physiology.py write --place FOLDER --recordings 40
    PYTHONPATH=src python benchmarks/ecg_walk.py FOLDER/records

Runs ``pacx train ecg`` up to its first loss and looks at what every function of the package is given, has in its
variables and gives back. Each counts once, in the order of its first call; a stop is a stretch of them in one file.
Samples are arrays, tensors or bytes in memory, also in what holds them; weights are none, and what a memory map shows
is on the disk. Give another checkout's ``src`` as PYTHONPATH to count that one.
"""

import sys
import tempfile
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pacx
from pacx.recipes import recipe
from pacx.training.tasks.ecg import EcgTask

_ROOT = f"{Path(pacx.__file__).parent}/"
_FEWEST = 5000  # numbers of one lead of 10 s at 500 Hz
_DEEPEST = 3
_MAKE_WEIGHTS = ("EcgMaskedAutoencoder.__init__", "build_optimizer", "_build_optimizer")


class _AtLossError(Exception):
    """The walk is over."""


def holds_samples(value: object, depth: int = 0) -> bool:
    """Whether samples of a recording are in memory behind a value."""
    if isinstance(value, (np.memmap, torch.nn.Parameter, torch.nn.Module)):
        return False
    if isinstance(value, np.ndarray):
        return value.size >= _FEWEST and value.ndim > 1 and value.dtype.kind in "fiu"
    if isinstance(value, torch.Tensor):
        return value.numel() >= _FEWEST and value.is_floating_point()
    if isinstance(value, bytes):
        return len(value) >= 2 * _FEWEST
    inside: list[object] = []
    if isinstance(value, (tuple, list)):
        inside = list(value[:5])
    elif isinstance(value, dict):
        inside = list(value.values())[:5]
    elif type(value).__module__.startswith("pacx."):
        inside = list(getattr(value, "__dict__", {}).values())
    return depth < _DEEPEST and any(holds_samples(each, depth + 1) for each in inside)


class Walk:
    """Takes down who holds samples while it is ``sys.setprofile``'s."""

    def __init__(self) -> None:
        self.is_holder: dict[tuple[str, str], bool] = {}
        self._num_making_weights = 0

    def __call__(self, frame: FrameType, event: str, given_back: object) -> None:
        """One call or return."""
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(_ROOT):
            return
        makes_weights = code.co_qualname in _MAKE_WEIGHTS
        self._num_making_weights += makes_weights and event == "call"
        if not self._num_making_weights:
            key = code.co_filename.removeprefix(_ROOT), code.co_qualname
            held = [*frame.f_locals.values(), given_back]
            self.is_holder[key] = self.is_holder.get(key, False) or any(map(holds_samples, held))
        self._num_making_weights -= makes_weights and event == "return"


def main() -> None:
    """Walk, and print every stop."""
    torch.set_num_threads(1)
    walk = Walk()
    loss = EcgTask.loss

    def last(self: EcgTask, batch: NDArray[np.int64], epoch: int) -> None:
        loss(self, batch, epoch)
        sys.setprofile(None)
        raise _AtLossError

    EcgTask.loss = last  # type: ignore[method-assign,assignment]  # the walk ends here
    with tempfile.TemporaryDirectory() as folder:
        run: Any = recipe("ecg-tiny")
        training = replace(run.training, epochs=1, batch_size=4, warmup_epochs=0, accelerator="cpu", num_workers=0)
        run = replace(run, recordings=Path(sys.argv[1]), out=Path(folder, "run"), training=training)
        sys.setprofile(walk)
        try:
            run.run()
        except _AtLossError:
            pass
        finally:
            sys.setprofile(None)
    holders = [key for key, is_holder in walk.is_holder.items() if is_holder]
    stops = [(file, [name for _, name in some]) for file, some in groupby(holders, lambda key: key[0])]
    for number, (file, names) in enumerate(stops, 1):
        print(f"{number:3} {file}: {', '.join(names)}")
    print(f"{len(stops)} stops in {len({file for file, _ in stops})} files, {len(holders)} functions")


if __name__ == "__main__":
    main()
