"""``pacx data pack ecg``: read, check and filter a hospital's ECGs once for everything that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.errors import UsageError
from pacx.core.quarantine import by_reason
from pacx.modalities.ecg_signal.facts import EcgFacts
from pacx.modalities.patients import Patients
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, ECG_MAE_INPUT

if TYPE_CHECKING:
    from pacx.modalities.ecg_signal.packs.pack import EcgPack

EXAMPLE = "pacx data pack ecg --root records/ --out packs/ecg"
TITLE = "twelve-lead ECGs in files of any formats, for train ecg and embed ecg"


class Chain(Enum):
    """Whose filters a pack carries out.

    AUTOENCODER: notch and band-pass; serves every ECG encoder, ECGFounder with some work left at each reading.
    ECGFOUNDER: the running median as well.
    """

    AUTOENCODER = ECG_MAE_INPUT
    ECGFOUNDER = ECG_FOUNDER_INPUT


@dataclass(frozen=True, kw_only=True)
class PackEcgCall:
    """Read, check, filter and hash ECGs once into a pack, which train ecg and embed ecg take as their recordings.

    Recordings that cannot be used are quarantined by name and reason; what is strange about others is counted. Killed,
    the same call goes on. A recording takes 240 kB.
    """

    root: Path
    """A folder of ECG files of any formats (docs/formats.md), one of them, ecg.npy with ecg.json, Symile-MIMIC's
    ecg_SPLIT.npy, or a csv with path, sample_id and if known patient_id."""

    out: Path
    """The pack to write."""

    links: Path | None = None
    """Of the folder of recordings those of linked films, called by their films; the folder that pacx data link made."""

    chain: Chain = Chain.AUTOENCODER
    """Whose filters: AUTOENCODER serves every encoder; ECGFOUNDER saves its running median at every reading."""

    notch_hz: float | None = None
    """The mains of the hospital, 50 or 60; by default the chain's own, 50."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a recording is."""

    facts: Annotated[EcgFacts, tyro.conf.arg(name="")] = field(default_factory=EcgFacts)
    """What the files do not say."""

    max_bad_fraction: float = 0.001
    """Stop when more recordings than this share cannot be used."""

    num_workers: int = 2
    """Processes that read and filter; never changes a byte."""

    overwrite: bool = False
    """Replace another pack, or shard of one, at OUT."""

    shard: str | None = None
    """Pack one part of the recordings only, 2/8 being the second of eight, for job arrays; merge puts them together."""


def main(words: Sequence[str]) -> None:
    """Pack ECGs."""
    call = parse(PackEcgCall, words, verb="data pack ecg", example=EXAMPLE)
    if not 0 <= call.max_bad_fraction <= 1:
        raise UsageError(f"max_bad_fraction is {call.max_bad_fraction}, expected a share between 0 and 1")
    config = call.chain.value
    if call.notch_hz is not None:
        if not config.band_hz[0] < call.notch_hz < config.sample_rate_hz / 2:
            raise UsageError(f"--notch-hz is {call.notch_hz:g}; give the frequency of the mains, 50 or 60")
        config = replace(config, notch_hz=call.notch_hz)

    from pacx.data.packs.packing import Shard
    from pacx.modalities.ecg_signal.linked import recordings_of
    from pacx.modalities.ecg_signal.packs.pack import EcgPack
    from pacx.modalities.ecg_signal.packs.packing import pack_ecg_shard, pack_ecgs

    source = recordings_of(call.root, call.links, patients=call.patients, facts=call.facts)
    if isinstance(source, EcgPack):
        raise UsageError(f"{call.root} is a pack of ECGs already; give the recordings that it was made of")
    options = {"max_bad_fraction": call.max_bad_fraction}
    if call.shard:
        shard = Shard.parse(call.shard)
        place = pack_ecg_shard(
            source, call.out, shard, config, num_workers=call.num_workers, overwrite=call.overwrite, **options
        )
        every = f"{call.out}.shard-*-of-{shard.of}"
        say(f"shard {call.shard} written to {place}; when all are: pacx data merge {every} --out {call.out}")
        return
    describe(pack_ecgs(source, call.out, config, num_workers=call.num_workers, overwrite=call.overwrite, **options))


def describe(pack: "EcgPack") -> None:
    """Say what a pack holds and what it leaves out."""
    for note in pack.notes:
        say(f"note: {note}")
    bad = pack.manifest.quarantined
    for entry in bad:
        say(f"quarantined: {entry}")
    for reason, number in by_reason(bad):
        say(f"left out, {number:,}: {reason}")
    say(f"{len(pack):,} recordings, {len(bad):,} quarantined; written to {pack.path}")
