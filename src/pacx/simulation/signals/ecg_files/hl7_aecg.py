"""HL7 annotated ECG of 2005: a rhythm series, and a representative beat derived from it; 2.5 uV a digit.

Annex to read it by: "HL7 aECG Implementation Guide", 21 March 2005.
"""

import uuid
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing, child, save_xml

_HL7 = "urn:hl7-org:v3"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_MDC = {"codeSystem": "2.16.840.1.113883.6.24", "codeSystemName": "MDC"}
_ACT = {"codeSystem": "2.16.840.1.113883.5.4", "codeSystemName": "ActCode"}
_SCALE_UV = 2.5


class Hl7AecgWriter(EcgWriter):
    """Writes annotated ECGs."""

    suffix = ".xml"
    step_mv = _SCALE_UV / 1000

    def save(self, path: Path, tracing: Tracing) -> None:
        """One ``AnnotatedECG``."""
        root = ET.Element("AnnotatedECG", {"xmlns": _HL7, "xmlns:xsi": _XSI, "type": "Observation"})
        child(root, "id", root=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{tracing.patient_id} {tracing.started}")))
        child(root, "code", code="93000", codeSystem="2.16.840.1.113883.6.12", codeSystemName="CPT-4")
        _add_interval(root, tracing)
        subject = child(child(child(child(root, "componentOf"), "timepointEvent"), "componentOf"), "subjectAssignment")
        child(child(child(subject, "subject"), "trialSubject"), "id", root="2.25.1", extension=tracing.patient_id)
        series = child(child(root, "component"), "series")
        child(series, "code", code="RHYTHM", **_ACT)
        _add_interval(series, tracing)
        counts = tracing.counts(self.step_mv)
        _add_set(series, tracing, counts, {"code": "TIME_ABSOLUTE", **_ACT})
        derived = child(child(series, "derivation"), "derivedSeries")
        child(derived, "code", code="REPRESENTATIVE_BEAT", **_ACT)
        beat = {lead: values[: tracing.rate_hz] for lead, values in counts.items()}
        _add_set(derived, tracing, beat, {"code": "TIME_RELATIVE", **_ACT})
        save_xml(path, root, '<?xml version="1.0" encoding="UTF-8"?>', "utf-8")


def _add_interval(parent: ET.Element, tracing: Tracing) -> None:
    time = child(parent, "effectiveTime")
    child(time, "low", value=f"{tracing.started:%Y%m%d%H%M%S}", inclusive="true")
    ended = tracing.started + timedelta(seconds=tracing.num_samples / tracing.rate_hz)
    child(time, "high", value=f"{ended:%Y%m%d%H%M%S.%f}"[:-3], inclusive="false")


def _add_set(series: ET.Element, tracing: Tracing, leads: dict[str, NDArray[np.int16]], clock: dict[str, str]) -> None:
    """The sample times, and a sequence of digits a lead."""
    sequences = child(child(series, "component"), "sequenceSet")
    is_absolute = clock["code"] == "TIME_ABSOLUTE"
    times = child(child(sequences, "component"), "sequence")
    child(times, "code", **clock)
    value = child(times, "value", **{"xsi:type": "GLIST_TS" if is_absolute else "GLIST_PQ"})
    child(value, "head", **({"value": f"{tracing.started:%Y%m%d%H%M%S}"} if is_absolute else {"value": 0, "unit": "s"}))
    child(value, "increment", value=f"{1 / tracing.rate_hz:.6g}", unit="s")
    for lead, counts in leads.items():
        sequence = child(child(sequences, "component"), "sequence")
        child(sequence, "code", code=f"MDC_ECG_LEAD_{lead.upper()}", **_MDC)
        value = child(sequence, "value", **{"xsi:type": "SLIST_PQ"})
        child(value, "origin", value=0, unit="uV")
        child(value, "scale", value=_SCALE_UV, unit="uV")
        child(value, "digits", " ".join(map(str, counts.tolist())))


WRITER = Hl7AecgWriter()
