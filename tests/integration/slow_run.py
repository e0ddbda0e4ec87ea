"""A run that takes as long as its piece of work; a file of its own, because it imports torch."""

from dataclasses import dataclass
from pathlib import Path

from orphan_worker import Piece

from pacx.recipes.run import Run


@dataclass(frozen=True, kw_only=True)
class SlowRun(Run):
    out: Path
    piece: Piece

    def run(self):
        self.piece.work()
