"""Where a study keeps what, by name; a name is what people call it, a folder has neither spaces nor brackets."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders below OUT that steps write and rows are made from."""

    out: Path

    def hospital(self, name: str) -> Path:
        """The files of one world, or of the other site."""
        return self.out / "hospitals" / name.replace(" ", "-").replace(",", "")

    def pack(self, cohort: str, name: str) -> Path:
        """The pack of a cohort of one world, or of the other site."""
        return self.out / "packs" / f"{cohort}-{name}".replace(" ", "-").replace(",", "")

    def run(self, name: str) -> Path:
        """The folder of one training run, by its name."""
        return self.out / "runs" / name.replace(" ", "-").translate(str.maketrans("", "", "(),"))

    def targets(self, modality: str) -> Path:
        """The frozen targets that the run of a modality's encoder leaves."""
        return self.run(modality) / "targets"

    def scores(self, name: str) -> Path:
        """The file of arrays that a finished step leaves."""
        return self.out / "scores" / f"{name.replace(' ', '-').translate(str.maketrans('', '', '(),'))}.npz"
