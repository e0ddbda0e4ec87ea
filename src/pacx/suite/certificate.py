"""What was evaluated on what, in one file that can be held against the files it speaks of.

`suite + rows -> certificate.json`: packs with their fingerprints and splits, what training and test sets share, the
weights, versions, seeds, and every row. ``verification.py`` goes the other way. A certificate protects against mistakes
and against numbers that were changed afterwards; it is no signature.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import DataError
from pacx.core.provenance import provenance
from pacx.core.typed_json import ADDED_LATER, TypedJson
from pacx.data.checks.shared_films import overlap
from pacx.data.packs.pack import Pack
from pacx.data.records import SPLITS
from pacx.data.splits import patients_in_two_splits
from pacx.evaluation.results import ResultRow, rows_from_json, rows_to_json
from pacx.suite.config import SuiteConfig
from pacx.suite.suite import Suite

FORMAT_VERSION = 3
CERTIFICATE_FILE = "certificate.json"


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Who is in a split: films, patients, and a SHA-256 over the sorted sample ids."""

    films: int
    patients: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PackSummary:
    """A pack as the evaluation saw it.

    Args:
        path: as it was given.
        dataset: as result rows call it; "" for a pack that was only trained on.
        fingerprint: of its content.
        splits: by name; "" holds the films in no split.
        divided_patients: patients with films in two splits.
        unknown_patients: films that count as patients of their own, because nobody knows whose they are; None in a
            certificate of 0.2.0, which does not tell.
        drawn_by: what intervals on it draw, as ``Pack.drawn_by`` says it; "" likewise.
    """

    path: str
    dataset: str
    fingerprint: str
    splits: Mapping[str, SplitSummary]
    divided_patients: int
    unknown_patients: int | None = field(default=None, metadata=ADDED_LATER)
    drawn_by: str = field(default="", metadata=ADDED_LATER)


@dataclass(frozen=True, kw_only=True)
class SharedSummary:
    """What a test set shares with films that something was learnt from.

    Args:
        test: path of the pack whose test split it is.
        learnt: path of the pack learnt from; the same one for what its own train and val splits share with its test.
        patients: ids that occur on both sides; they mean something only where both packs come from one archive.
        films: test films of which the other side holds an exact or near copy (pixels at 64 x 64, r >= 0.99).
    """

    test: str
    learnt: str
    patients: int
    films: int


@dataclass(frozen=True, kw_only=True)
class EncoderSummary:
    """An encoder as the evaluation saw it."""

    name: str
    weights_sha256: str
    pooling: str
    preprocessing: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Certificate(TypedJson, what="certificate"):
    """What ``certificate.json`` says.

    Args:
        call: the configuration that made the rows.
        packs: every pack, those trained on included.
        encoders: every encoder.
        embeddings: file name below ``embeddings/`` to SHA-256.
        shared: what test sets share with training films.
        rows: every result row.
        made_by: command, seed, commit, versions.
    """

    call: SuiteConfig
    packs: tuple[PackSummary, ...]
    encoders: tuple[EncoderSummary, ...]
    embeddings: Mapping[str, str]
    shared: tuple[SharedSummary, ...]
    rows: tuple[ResultRow, ...]
    made_by: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write it with a digest over everything it says."""
        values = self._values()
        write_json(path, {**values, "sha256": _digest(values)})

    def _values(self) -> dict[str, Any]:
        return {"format_version": FORMAT_VERSION, **replace(self, rows=()).to_json(), "rows": rows_to_json(self.rows)}

    @classmethod
    def read(cls, path: Path) -> "Certificate":
        """Read what ``write`` wrote.

        Raises:
            DataError: it is no certificate of this version, or its text was changed after it was written.
        """
        values = read_json(path)
        if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{path} is no certificate of version {FORMAT_VERSION}; an older one is verified with the PaCX that "
                "wrote it (its commit stands under made_by), a new one is written by `pacx evaluate all`"
            )
        said = values.pop("sha256", "")
        if said != _digest(values):
            raise DataError(f"{path} was changed after it was written: its digest does not fit its text")
        del values["format_version"]
        rows = rows_from_json(values.pop("rows"), path)
        return replace(cls.from_json({**values, "rows": []}), rows=tuple(rows))


def certify(suite: Suite, rows: Sequence[ResultRow]) -> Certificate:
    """Write down what a finished suite was made from."""
    config = suite.config
    return Certificate(
        call=config,
        packs=summarize_packs(suite),
        encoders=tuple(
            EncoderSummary(
                name=encoder.name,
                weights_sha256=suite.weights[encoder.name],
                pooling=encoder.stands_for,
                preprocessing=encoder.preprocessing.to_json(),
            )
            for encoder in suite.encoders
        ),
        embeddings=suite.embeddings_sha256(),
        shared=find_shared(config),
        rows=tuple(rows),
        made_by=provenance("pacx evaluate all", config.probe.seed).to_json(),
    )


def summarize_packs(suite: Suite) -> tuple[PackSummary, ...]:
    """Every pack of a suite: those evaluated on, then those trained on."""
    evaluated = [_summary(pack, benchmark.name) for benchmark in suite.benchmarks for pack in benchmark.packs.values()]
    others = [path for path in suite.config.trained_on if path not in suite.config.packs]
    learnt = [_summary(Pack.open(path), "") for path in others]
    return (*evaluated, *learnt)


def _summary(pack: Pack, dataset: str) -> PackSummary:
    splits = {}
    for split in (*SPLITS, ""):
        rows = pack.rows(split)
        ids = "\n".join(sorted(pack.sample_ids[rows].astype(str)))
        splits[split] = SplitSummary(
            films=len(rows),
            patients=len(set(pack.patient_ids[rows])),
            sha256=hashlib.sha256(ids.encode()).hexdigest(),
        )
    return PackSummary(
        path=str(pack.path),
        dataset=dataset,
        fingerprint=pack.fingerprint,
        splits=splits,
        divided_patients=len(patients_in_two_splits(pack.table)),
        unknown_patients=int((~pack.has_known_patient).sum()),
        drawn_by=pack.drawn_by,
    )


def find_shared(config: SuiteConfig) -> tuple[SharedSummary, ...]:
    """Look for patients and films on both sides of every test."""
    packs = {str(path): Pack.open(path) for path in dict.fromkeys((*config.packs, *config.trained_on))}
    copies = overlap(packs).copies
    found = []
    for tested in map(str, config.packs):
        for learnt in dict.fromkeys((tested, *map(str, config.trained_on))):
            # Pretraining reads every film outside a test split, a probe those of two splits.
            read = ("train", "val") if learnt == tested else ("train", "val", "")
            films = 0
            for group in copies:
                if any(film.pack == learnt and film.split in read for film in group.films):
                    films += sum(film.pack == tested and film.split == "test" for film in group.films)
            patients = _patients(packs[tested], ("test",)) & _patients(packs[learnt], read)
            found.append(SharedSummary(test=tested, learnt=learnt, patients=len(patients), films=films))
    return tuple(found)


def _patients(pack: Pack, splits: Sequence[str]) -> set[str]:
    return set(pack.patient_ids[pack.table["split"].isin(splits).to_numpy()])


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
