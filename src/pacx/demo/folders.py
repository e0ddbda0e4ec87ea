"""Where a demo keeps what."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DemoFolders:
    """The parts of a demo's folder."""

    out: Path

    @property
    def hospital(self) -> Path:
        """The simulated hospital's files."""
        return self.out / "hospital"

    @property
    def figures(self) -> Path:
        """Pictures for the report."""
        return self.out / "figures"

    @property
    def results(self) -> Path:
        """The file of all result rows."""
        return self.out / "results.json"

    def pack(self, cohort: str, image_size_px: int) -> Path:
        """The pack of a cohort at one input size."""
        return self.out / "packs" / f"{cohort}-{image_size_px}"

    def run(self, name: str) -> Path:
        """The folder of one training run, by its name."""
        return self.out / "runs" / name
