"""Hold a certificate against the files it speaks of, and against the arithmetic it claims.

Every check says MATCHES, DIFFERS, or NOT CHECKED with the reason; what cannot be checked here is never passed over.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.artifacts import sha256_of
from pacx.core.errors import PacxError
from pacx.data.packs.files import recomputed_fingerprint
from pacx.data.packs.pack import Pack
from pacx.evaluation.results import ResultRow, read_rows
from pacx.models.device import AUTOMATIC

if TYPE_CHECKING:
    from pacx.suite.certificate import Certificate
    from pacx.suite.suite import Suite


TOLERANCE = 1e-4
"""A trained head depends on the order of sums, so on the processor; an AUROC of thousands of films moves less."""


class Verdict(Enum):
    """What a check found."""

    MATCHES = "matches"
    DIFFERS = "DIFFERS"
    NOT_CHECKED = "not checked"


class Depth(Enum):
    """How much is computed again."""

    FILES = "files"
    """Packs, weights, shared films, embeddings: bytes only."""

    EMBEDDINGS = "embeddings"
    """Also every protocol that starts from the kept embeddings."""

    ENCODERS = "encoders"
    """Everything, from the films."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str = ""


def verify(path: Path, *, depth: Depth = Depth.EMBEDDINGS, tolerance: float = TOLERANCE) -> list[Check]:
    """Check a certificate; paths in it are taken from where this is called, as they were when it was made.

    Args:
        path: ``certificate.json``, in the folder the evaluation wrote.
        depth: how much is computed again.
        tolerance: by how much a recomputed value or end of an interval may differ.

    Raises:
        DataError: it is no certificate, or its text was changed.

    Example:
        >>> from pathlib import Path
        >>> from pacx.suite import verify
        >>> checks = verify(Path("runs/evaluation/certificate.json"))
        >>> {check.verdict.value for check in checks}
        {'matches'}
    """
    from pacx.suite.certificate import Certificate
    from pacx.suite.suite import Suite

    certificate = Certificate.read(path)
    checks = [Check(what="the certificate's own digest", verdict=Verdict.MATCHES)]
    checks += [_pack_bytes(Path(pack.path), pack.fingerprint) for pack in certificate.packs]
    results = path.parent / "results.json"
    checks.append(_results(results, certificate.rows))
    try:
        suite = Suite(replace(certificate.call, out=path.parent, device=AUTOMATIC), "verification")
    except PacxError as error:
        return [*checks, Check(what="everything else", verdict=Verdict.NOT_CHECKED, detail=str(error))]
    checks += _suite_files(certificate, suite)
    is_sound = all(check.verdict is not Verdict.DIFFERS for check in checks)
    if depth is Depth.FILES or not is_sound:
        why = "asked for files only" if is_sound else "the files differ, so results of others would be compared"
        return [*checks, Check(what="results computed again", verdict=Verdict.NOT_CHECKED, detail=why)]
    with tempfile.TemporaryDirectory() as scratch:
        if depth is Depth.ENCODERS:
            suite.embed_anew(Path(scratch))
        return [*checks, *_recomputed(suite, certificate.rows, depth, tolerance)]


def _same(what: str, is_same: bool, detail: str = "") -> Check:
    return Check(what=what, verdict=Verdict.MATCHES if is_same else Verdict.DIFFERS, detail="" if is_same else detail)


def _pack_bytes(path: Path, fingerprint: str) -> Check:
    what = f"bytes of pack {path}"
    if not path.exists():
        detail = "it is not here; call from the folder the evaluation was called from"
        return Check(what=what, verdict=Verdict.NOT_CHECKED, detail=detail)
    try:
        found = recomputed_fingerprint(Pack.open(path))
    except PacxError as error:
        return Check(what=what, verdict=Verdict.DIFFERS, detail=str(error))
    return _same(what, found == fingerprint, f"fingerprint {found[:12]}, certified {fingerprint[:12]}")


def _results(file: Path, rows: Sequence[ResultRow]) -> Check:
    what = f"rows of {file.name}"
    if not file.is_file():
        return Check(what=what, verdict=Verdict.NOT_CHECKED, detail="there is no such file beside the certificate")
    # NaN equals nothing, so the rows' texts are compared
    return _same(what, [repr(row) for row in read_rows(file)] == [repr(row) for row in rows], "they are other rows")


def _suite_files(certificate: "Certificate", suite: "Suite") -> Iterator[Check]:
    from pacx.suite.certificate import find_shared, summarize_packs

    for pack, found in zip(certificate.packs, summarize_packs(suite), strict=True):
        if pack.unknown_patients is None:  # a certificate of 0.2.0
            found = replace(found, unknown_patients=None, drawn_by="")
        yield _same(f"splits of pack {pack.path}", pack == found, "other films, patients or splits")
    for encoder in certificate.encoders:
        found_sha256 = suite.weights.get(encoder.name, "")
        yield _same(f"weights of encoder {encoder.name}", found_sha256 == encoder.weights_sha256, "other weights")
    yield _same("shared patients and films", certificate.shared == find_shared(certificate.call), "found others")
    for name, sha256 in certificate.embeddings.items():
        file = suite.config.out / "embeddings" / name
        if file.is_file():
            yield _same(f"embeddings {name}", sha256_of(file) == sha256, "the file was changed")
        else:
            yield Check(what=f"embeddings {name}", verdict=Verdict.NOT_CHECKED, detail="the file is not here")


def _recomputed(suite: "Suite", rows: Sequence[ResultRow], depth: Depth, tolerance: float) -> Iterator[Check]:
    certified = {_key(row): row for row in rows}
    for step in suite.steps():
        what = f"results of {step.name}, computed again"
        if step.image_size_px is not None and depth is not Depth.ENCODERS:
            detail = "it runs the encoders; ask for the depth 'encoders'"
            yield Check(what=what, verdict=Verdict.NOT_CHECKED, detail=detail)
            continue
        again = step.run().rows
        far = [row for row in again if not _is_close(row, certified.pop(_key(row), None), tolerance)]
        first = far[0] if far else None
        detail = f"{len(far)} of {len(again)} rows, first {_key(first)}: {first.value:.6f} now" if first else ""
        yield _same(what, not far, detail)
    if depth is Depth.ENCODERS:
        yield _same("no row beside those computed again", not certified, f"{len(certified)} rows come of no step")


def _key(row: ResultRow) -> tuple[str, str, str, str, str, float, str]:
    return (row.protocol, row.dataset, row.name, row.label, row.metric, row.fraction, row.subgroup)


def _is_close(row: ResultRow, other: ResultRow | None, tolerance: float) -> bool:
    if other is None or row.n != other.n or row.seed != other.seed:
        return False
    pairs = ((row.value, other.value), (row.ci_low, other.ci_low), (row.ci_high, other.ci_high))
    return all((math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance for a, b in pairs)
