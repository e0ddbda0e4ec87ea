"""Which world is simulated: scanners, the hospitals that have them, and what a cohort is drawn from.

Imports no torch, so that help is instant.
"""

from dataclasses import dataclass, field

from pacx.core.errors import UsageError
from pacx.simulation.patients.physiology import Visibility


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """The look of one manufacturer's machine; the defaults are neutral."""

    gamma: float = 1.0  # exponent of brightness, above 1 darker
    contrast: float = 1.0  # slope of the display curve
    blur_px: float = 0.7  # Gaussian sigma of detector and focal spot, in pixels of a 512 px film
    edge_enhancement: float = 0.5  # unsharp masking: how much of the detail above 1.5 cm is added
    noise_gain: float = 1.0  # multiplies quantum noise


@dataclass(frozen=True, kw_only=True)
class Site:
    """How one hospital differs from another: its machine, its habits, its patients."""

    name: str
    scanner: Scanner
    ap_share: float  # 0 to 1: share of bedside (AP) films among patients of middling acuity
    age_shift_years: float = 0.0
    heart_disease_shift: float = 0.0  # in standard deviations of liability, as the two below
    lung_disease_shift: float = 0.0
    infection_shift: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.ap_share < 1.0:
            raise UsageError(
                f"site '{self.name}' has ap_share {self.ap_share}; give a share between 0 and 1, both excluded"
            )


UNIVERSITY_HOSPITAL = Site(name="university", scanner=Scanner(), ap_share=0.45)


COMMUNITY_HOSPITAL = Site(
    name="community",
    scanner=Scanner(gamma=1.25, contrast=0.85, blur_px=1.2, edge_enhancement=0.1, noise_gain=1.5),
    ap_share=0.2,
    age_shift_years=6.0,
    heart_disease_shift=-0.25,
    lung_disease_shift=0.3,
    infection_shift=0.15,
)


@dataclass(frozen=True, kw_only=True)
class CohortConfig:
    """Which world the patients live in, and how large their films are."""

    seed: int = 0
    image_size_px: int = 64
    site: Site = UNIVERSITY_HOSPITAL
    visibility: Visibility = field(default_factory=Visibility)
