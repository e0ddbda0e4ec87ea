"""``pacx simulate``: write a simulated hospital."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacx.cli.terminal import choose, parse, say
from pacx.simulation.hospital import HospitalConfig, write_hospital
from pacx.simulation.physiology import Visibility
from pacx.simulation.population import COMMUNITY_HOSPITAL, UNIVERSITY_HOSPITAL

_SITES = {site.name: site for site in (UNIVERSITY_HOSPITAL, COMMUNITY_HOSPITAL)}


@dataclass(frozen=True, kw_only=True)
class SimulateCall:
    """Write films, masks, ECGs and laboratory values of patients who never were."""

    out: Path
    """The folder to write; cohorts that are already there and whole are kept."""

    patients: int = 1000
    """Patients in each of the three cohorts: pretraining, triplets, downstream."""

    image_size_px: int = 224
    """Side of a film."""

    seed: int = 0
    """Same seed, same bytes."""

    num_workers: int = 2
    """Processes; never changes a byte."""

    visibility: Visibility = field(default_factory=Visibility)
    """How strongly a film shows each mechanism; 0 = not at all, 1 = as in life."""


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    example = "pacx simulate university --out hospital --patients 200"
    explained = {name: f"films, ECGs and labs as {name} hospital's scanners and wards make them" for name in _SITES}
    name, rest = choose(words, "simulate", explained, example)
    call = parse(SimulateCall, rest, verb=f"simulate {name}", example=example)
    config = HospitalConfig(
        num_pretraining_patients=call.patients,
        num_triplet_patients=call.patients,
        num_downstream_patients=call.patients,
        image_size_px=call.image_size_px,
        seed=call.seed,
        visibility=call.visibility,
        site=_SITES[name],
    )
    write_hospital(call.out, config, num_workers=call.num_workers)
    say(
        f"{call.out} holds pretraining, triplets and downstream; "
        f"next: pacx data pack folder --root {call.out}/downstream"
    )
