"""HL7 annotated ECG (aECG, 2005), which trials send to authorities: a rhythm series, sample times, sequences of digits.

A sequence is an origin, a scale and digits (``SLIST_PQ``); the times are a head and an increment (``GLIST_TS`` or
``GLIST_PQ``). Representative beats are series of their own, or derived from the rhythm, and are never read.
"""

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np

from pacx.modalities.ecg_signal.ecg_file import OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window, later, passed_over
from pacx.modalities.ecg_signal.xml_document import (
    millivolts_of,
    number,
    read_xml,
    root_of,
    stored_numbers,
    text_of,
)

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
_TIMES = "TIME_"
_ROUNDED, _PRINTED = 1e-3, 1e-5
_USUAL_HZ = (5, 8)
"""Of one of these every usual rate is a multiple: 250, 300, 360, 500, 1000; 128, 256, 512."""
_TIME_STAMP = re.compile(r"(\d{14})(\.\d{1,6})?\d*([+-]\d{4})?")


class Hl7Aecg(OneEcgFormat):
    """Reads the first rhythm series."""

    title = "HL7 aECG file"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the outermost element."""
        return root_of(head) == "AnnotatedECG"

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """All of a document has to be parsed for any stretch of it."""
        root = read_xml(path)
        rhythms = [each for each in root.iterfind("component/series") if _code(each).upper() in ("", "RHYTHM")]
        if not rhythms:
            raise UnusableError("holds no rhythm series, only representative beats or nothing; export its rhythm")
        (head, increment_s), sequences, notes = _largest_set(rhythms[0])
        if len(rhythms) > 1:
            notes += ("of several rhythm series the first is taken",)
        values = [stored_numbers(text_of(each, "value/digits")) for each in sequences]
        if len({len(each) for each in values}) > 1:
            raise UnusableError("has leads of different lengths; export it again")
        rate_hz, names = _rate_hz(increment_s), tuple(map(_code, sequences))
        units = [
            _value(each, "value/scale", "unit") or facts.behind(rate_hz, leads=names).unit.value for each in sequences
        ]
        scales = [number(_value(each, "value/scale"), "the scale of its leads") for each in sequences]
        steps_mv = [scale * millivolts_of(unit) for scale, unit in zip(scales, units, strict=True)]
        origins_mv = [_origin_mv(each, unit) for each, unit in zip(sequences, units, strict=True)]
        stretch = window.within(len(values[0]))
        each_of = zip(values, steps_mv, origins_mv, strict=True)
        return EcgRecord(
            signals=np.stack([origin + step * each[stretch] for each, step, origin in each_of]),
            stored_leads=names,
            rate_hz=rate_hz,
            num_stored=len(values[0]),
            start=later(_moment(head) or _moment(_value(rhythms[0], "effectiveTime/low")), window, rate_hz),
            resolution_mv=tuple(steps_mv),
            patient_id=_value(root, ".//trialSubject/id", "extension"),
            notes=notes,
        )


def _value(parent: ET.Element, path: str, attribute: str = "value") -> str:
    found = parent.find(path)
    return found.get(attribute, "") if found is not None else ""


def _code(parent: ET.Element) -> str:
    return _value(parent, "code", "code")


def _largest_set(series: ET.Element) -> tuple[tuple[str, float], list[ET.Element], tuple[str, ...]]:
    """Those times at which most leads were recorded (head, and increment in s), these leads, and a note on others."""
    at: dict[tuple[str, float], list[ET.Element]] = defaultdict(list)
    for one_set in series.iterfind("component/sequenceSet"):
        of_set = one_set.findall("component/sequence")
        leads = [each for each in of_set if not _code(each).upper().startswith(_TIMES)]
        times = [each for each in of_set if _code(each).upper().startswith(_TIMES)]
        if leads and not times:
            raise UnusableError("has leads without sample times; export it again")
        if leads:
            at[_clock(times[0])] += leads
    if not at:
        raise UnusableError("has an empty rhythm series; export it again")
    clock, sequences = max(at.items(), key=lambda item: len(item[1]))
    return clock, sequences, passed_over(sum(map(len, at.values())) - len(sequences), "leads recorded at other times")


def _clock(times: ET.Element) -> tuple[str, float]:
    unit = _value(times, "value/increment", "unit")
    if unit not in _SECONDS:
        raise UnusableError("has sample times without a unit of time; export it again")
    increment_s = number(_value(times, "value/increment"), "its rate") * _SECONDS[unit]
    if increment_s <= 0:
        raise UnusableError("has sample times that do not go on; export it again")
    return _value(times, "value/head"), increment_s


def _rate_hz(increment_s: float) -> float:
    """The usual rate whose increment was rounded to a few digits; 3 ms are no 333 Hz."""
    rate_hz = 1 / increment_s
    whole = round(rate_hz)
    is_usual = any(whole % each == 0 for each in _USUAL_HZ) or abs(rate_hz - whole) < _PRINTED * rate_hz
    return float(whole) if is_usual and abs(rate_hz - whole) < _ROUNDED * rate_hz else rate_hz


def _origin_mv(sequence: ET.Element, unit: str) -> float:
    """What a digit of zero stands for; it may be left out, and its unit where it is the scale's."""
    origin = number(_value(sequence, "value/origin") or "0", "the origin of its leads")
    return origin * millivolts_of(_value(sequence, "value/origin", "unit") or unit)


def _moment(stamp: str) -> datetime | None:
    found = _TIME_STAMP.fullmatch(stamp)
    if not found:
        return None
    fraction, zone = found[2] or ".0", found[3] or ""
    try:
        return datetime.strptime(f"{found[1]}{fraction}{zone}", f"%Y%m%d%H%M%S.%f{'%z' if zone else ''}")
    except ValueError:
        return None


FORMAT = Hl7Aecg()
