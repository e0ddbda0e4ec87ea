"""The paper's own numbers, to be set beside ours. Nothing is computed from them.

Source: arXiv 2606.01537v2, Tables 1 and 2. A twin or a subset bears a dataset's name and not its films: the page
says so wherever these numbers stand.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """One row of Table 1 or 2: the score of the paper's three encoders."""

    imagenet: float
    mae: float
    pacx: float

    def of(self, encoder: str) -> float | None:
        """The score of an encoder by the name it has here; None for others."""
        return self._asdict().get(encoder)


BENCHMARKS: Mapping[str, Mapping[str, Published]] = {
    "nlm-tb": {"auroc": Published(0.887, 0.899, 0.910), "f1": Published(0.818, 0.814, 0.846)},
    "chexchonet": {"auroc": Published(0.728, 0.788, 0.803), "f1": Published(0.147, 0.215, 0.266)},
    "chestx6": {"auroc": Published(0.983, 0.988, 0.989), "f1": Published(0.876, 0.905, 0.906)},
    "vindr-cxr": {"auroc": Published(0.751, 0.847, 0.871), "f1": Published(0.097, 0.191, 0.256)},
    "nih14": {"auroc": Published(0.721, 0.772, 0.783), "f1": Published(0.048, 0.113, 0.115)},
    "medmod": {"auroc": Published(0.612, 0.695, 0.722), "f1": Published(0.091, 0.231, 0.253)},
    "covid-qu-ex": {"iou": Published(0.894, 0.942, 0.942), "dice": Published(0.943, 0.970, 0.970)},
    "qata-cov19": {"iou": Published(0.622, 0.726, 0.715), "dice": Published(0.766, 0.841, 0.833)},
    "cxlseg": {"iou": Published(0.984, 0.996, 0.996), "dice": Published(0.992, 0.998, 0.998)},
}
"""Table 1, by the name of the dataset's adapter and our name of the metric."""

ALIGNMENT: Mapping[str, Mapping[str, Published]] = {
    "ecg": {"cosine": Published(0.143, 0.204, 0.229), "recall_at_5": Published(0.0151, 0.0517, 0.0560)},
    "labs": {"cosine": Published(0.187, 0.239, 0.252), "recall_at_5": Published(0.0151, 0.0366, 0.0366)},
}
"""Table 2, on Symile-MIMIC's 464 test patients."""
