"""Parents to be killed while their workers work: ``python orphan_worker.py side-by-side|nested FOLDER``."""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pacx.core.workers import in_order

NUM_JOBS = 5


@dataclass(frozen=True)
class Piece:
    """Work of a minute, or of no time once FOLDER/quick is there."""

    folder: Path
    number: int

    def work(self) -> int:
        (self.folder / f"begun-{self.number}").touch()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (self.folder / "quick").exists():
            time.sleep(0.01)
        (self.folder / f"done-{self.number}").touch()
        return self.number


def nest(piece: Piece) -> list[int]:
    pieces = [Piece(piece.folder, 10 * piece.number + inner) for inner in range(NUM_JOBS)]
    return list(in_order(Piece.work, pieces, num_workers=2))


def nested(folder: Path) -> None:
    """Workers that have workers."""
    tens = in_order(nest, [Piece(folder, number) for number in (1, 2)], num_workers=2)
    assert list(tens) == [[10, 11, 12, 13, 14], [20, 21, 22, 23, 24]]


def side_by_side(folder: Path) -> None:
    """As the demo trains."""
    from slow_run import SlowRun

    from pacx.recipes.side_by_side import one_thread_each, run_side_by_side

    with one_thread_each(2) as workers:
        run_side_by_side([SlowRun(out=folder, piece=Piece(folder, number)) for number in range(NUM_JOBS)], workers)


if __name__ == "__main__":
    # a shell that starts the tests in the background lets them, and what they start, ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {"side-by-side": side_by_side, "nested": nested}[sys.argv[1]](Path(sys.argv[2]))
