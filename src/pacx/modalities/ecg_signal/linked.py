"""Recordings of linked films: the ECG that ``pacx data link`` chose for each, called by the film."""

from pathlib import Path

from pacx.core.errors import DataError, UsageError, refuse_idle
from pacx.data.pairs.linked_films import LinkedFilms
from pacx.modalities.ecg_signal.ecg_file import EcgRef
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts
from pacx.modalities.ecg_signal.packs.pack import EcgPack
from pacx.modalities.ecg_signal.readers import ecg_sources, open_recordings
from pacx.modalities.ecg_signal.sources import EcgFiles, EcgSource
from pacx.modalities.patients import Patients


def linked_recordings(root: Path, links: Path, *, facts: EcgFacts = NO_FACTS) -> EcgFiles:
    """The recordings of linked films; one that belongs to two films is read for each.

    Args:
        root: the folder that the paths of the links begin at, MIMIC-IV-ECG's own.
        links: the folder that ``pacx data link`` made.
        facts: what their files may not say.

    Raises:
        UsageError: a folder is not there.
        DataError: the links are damaged or have no ECG.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; give the one that the paths of the linked recordings begin at")
    linked = LinkedFilms.open(links)
    films = linked.table[linked.table["ecg_path"] != ""]
    if films.empty:
        raise DataError(f"no film of {links} has an ECG; link with recordings")
    return ecg_sources(
        [EcgRef.parse(root / path) for path in films["ecg_path"]],
        sample_ids=tuple(films["sample_id"]),
        patient_ids=tuple(films["patient_id"]),
        facts=facts,
        notes=linked.notes(f"{len(films):,} of {len(linked):,} films have an ECG"),
    )


def recordings_of(recordings: Path, links: Path | None, *, patients: Patients, facts: EcgFacts) -> EcgSource | EcgPack:
    """Open recordings of any kind, or of a folder of them those that links name; raises as either does."""
    if links is None:
        return open_recordings(recordings, patients=patients, facts=facts)
    refuse_idle(patients, ("patient_column", "no_patients"), f"{links}, which knows the patients")
    return linked_recordings(recordings, links, facts=facts)
