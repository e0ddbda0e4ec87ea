"""``pacx simulate``: write a simulated hospital, or simulated patients in the layout of an official dataset."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacx.cli.terminal import choose, parse, say
from pacx.simulation.patients.physiology import Visibility
from pacx.simulation.patients.sites import COMMUNITY_HOSPITAL, UNIVERSITY_HOSPITAL
from pacx.simulation.twin import TwinConfig, twins, write_twin

_SITES = {site.name: site for site in (UNIVERSITY_HOSPITAL, COMMUNITY_HOSPITAL)}
_EVERY_TWIN = "all"
_EXAMPLE = "pacx simulate university --out hospital --patients 200"


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


@dataclass(frozen=True, kw_only=True)
class TwinCall:
    """Write simulated patients in the layout, the names and the byte conventions of an official dataset.

    A twin lets you try every step before you hold the data: twin.json in the folder says that nobody in it ever lived.
    """

    out: Path
    """The folder to write, new or empty; for all, a folder of twins, one sub-folder each."""

    patients: int = TwinConfig.num_patients
    """Patients in the twin."""

    image_size_px: int = TwinConfig.image_size_px
    """Side of a film, where the dataset does not prescribe one."""

    seed: int = 0
    """Same seed, same bytes."""

    visibility: Visibility = field(default_factory=Visibility)
    """How strongly a film shows each mechanism; 0 = not at all, 1 = as in life."""

    ecg_format: str = TwinConfig.ecg_format
    """Write each patient's ECG as a file, too, where the dataset has ECGs: wfdb, dicom, muse-xml, philips-xml,
    philips-xml-plain, hl7-aecg, scp-ecg, edf, hdf5, mat, csv or npy."""


def _write_site(name: str, words: Sequence[str]) -> None:
    call = parse(SimulateCall, words, verb=f"simulate {name}", example=_EXAMPLE)

    from pacx.simulation.hospital import HospitalConfig, write_hospital

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


def _write_twins(name: str, words: Sequence[str]) -> None:
    example = f"pacx simulate {name} --out twins/{name} --patients 100"
    call = parse(TwinCall, words, verb=f"simulate {name}", example=example)
    config = TwinConfig(
        num_patients=call.patients,
        image_size_px=call.image_size_px,
        seed=call.seed,
        visibility=call.visibility,
        ecg_format=call.ecg_format,
    )
    chosen = {twin: call.out / twin for twin in twins()} if name == _EVERY_TWIN else {name: call.out}
    for twin, root in chosen.items():
        is_heeded = name != _EVERY_TWIN or twins()[twin].has_ecgs
        write_twin(twins()[twin], root, config if is_heeded else replace(config, ecg_format=""))
        say(f"{root} holds a simulated twin of {twin}; next: pacx data doctor {twin} --root {root}")


def main(words: Sequence[str]) -> None:
    """Write a simulated hospital, or the twin of an official dataset."""
    explained = {name: f"films, ECGs and labs as {name} hospital's scanners and wards make them" for name in _SITES}
    explained |= {name: f"simulated patients in the layout of {name}" for name in twins()}
    explained |= {_EVERY_TWIN: "every twin, each in a sub-folder of its own"}
    name, rest = choose(words, "simulate", explained, _EXAMPLE)
    (_write_site if name in _SITES else _write_twins)(name, rest)
