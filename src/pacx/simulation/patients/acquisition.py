"""How much of a patient's state reaches the film by the way it is taken, and not by the body: wires, bedside films.

Whoever is ill is filmed in bed, breathes shallowly and wears wires (``population.draw_nuisance``), so a film tells of
its patient even where ``Visibility`` is 0. These knobs close that way, to measure how much of a result came by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pacx.simulation.patients.physiology import Nuisance, Physiology
from pacx.simulation.patients.population import draw_nuisance
from pacx.simulation.patients.sites import Site

_MIDDLING_ACUITY = 0.45  # where a site's ``ap_share`` is its share of bedside films


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What taking a film tells of the patient: 1 as in life, 0 nothing.

    Args:
        wires: how much of the ECG leads, electrodes and tubes is drawn.
        acuity: how far view, breath and wires follow the patient's acuity; at 0 everybody is filmed as a patient of
            middling acuity would be, by the same chances.
    """

    wires: float = 1.0
    acuity: float = 1.0

    def nuisance(self, film_ids: Sequence[str], physiology: Physiology, *, seed: int, site: Site) -> Nuisance:
        """Draw the circumstances of N films; arguments and errors as ``population.draw_nuisance``."""
        shown = self.acuity * physiology.acuity + (1.0 - self.acuity) * _MIDDLING_ACUITY  # at 1 the same bits
        drawn = draw_nuisance(film_ids, replace(physiology, acuity=shown), seed=seed, site=site)
        return replace(drawn, wires=self.wires * drawn.wires)
