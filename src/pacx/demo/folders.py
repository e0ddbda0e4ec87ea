"""Where a demo keeps what, and what its runs are called."""

from dataclasses import dataclass
from pathlib import Path

MAE, PACX = "mae", "pacx"
ECG_ONLY, LABS_ONLY = "ecg-only", "labs-only"
CONTRASTIVE_ONLY, REGRESSION_ONLY = "contrastive-only", "regression-only"
ABLATIONS = (ECG_ONLY, LABS_ONLY, CONTRASTIVE_ONLY, REGRESSION_ONLY)
"""The columns of the paper's Table 3 beside the full recipe."""


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
        """All result rows."""
        return self.out / "results.json"

    def pack(self, cohort: str, image_size_px: int) -> Path:
        """The pack of a cohort at one input size."""
        return self.out / "packs" / f"{cohort}-{image_size_px}"

    def run(self, name: str) -> Path:
        """A training run."""
        return self.out / "runs" / name
