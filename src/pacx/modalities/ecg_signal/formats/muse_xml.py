"""GE MUSE XML: a ``RestingECG`` with a rhythm of ten seconds and a median beat, eight leads each as a rule.

Only I, II and V1 to V6 are stored; the cart computes the others and so does this reader. Some exports store more leads.
Checksums of the leads are not looked at: their polynomial is not published.
"""

import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.modalities.ecg_signal.ecg_file import OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window, later, require_rate, with_limb_leads
from pacx.modalities.ecg_signal.xml_document import (
    millivolts_of,
    number,
    read_xml,
    root_of,
    stored_bytes,
    text_of,
)


class MuseXml(OneEcgFormat):
    """Reads the rhythm."""

    title = "GE MUSE XML file"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the outermost element."""
        return root_of(head) == "RestingECG"

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """The first rhythm; all of a document has to be parsed for any stretch of it."""
        root = read_xml(path)
        rhythms, notes = _rhythms(root)
        rhythm = rhythms[0]
        exponent = number(text_of(rhythm, "SampleExponent") or "0", "its rate")
        rate_hz = number(text_of(rhythm, "SampleBase"), "its rate") * 10.0**exponent
        require_rate(rate_hz)
        leads = rhythm.findall("LeadData")
        samples = [_samples(lead) for lead in leads]
        if len({len(each) for each in samples}) > 1:
            raise UnusableError("has leads of different lengths; export it again")
        if len({number(text_of(lead, "LeadTimeOffset") or "0", "when a lead begins") for lead in leads}) > 1:
            raise UnusableError("has leads that were not recorded at the same time; leave it out")
        names = tuple(text_of(lead, "LeadID") for lead in leads)
        off = tuple(
            name for name, lead in zip(names, leads, strict=True) if text_of(lead, "LeadOff").casefold() == "true"
        )
        if off:
            notes += ("the cart reports an electrode that was off",)
        steps_mv = tuple(_step_mv(lead, facts, rate_hz, names) for lead in leads)
        num_stored = len(samples[0]) if samples else 0
        stretch = window.within(num_stored)
        record = EcgRecord(
            signals=np.stack([each[stretch] * step for each, step in zip(samples, steps_mv, strict=True)]),
            stored_leads=names,
            rate_hz=rate_hz,
            num_stored=num_stored,
            start=later(_moment(root), window, rate_hz),
            resolution_mv=steps_mv,
            questioned=off,
            patient_id=text_of(root, "PatientDemographics/PatientID"),
            notes=notes,
        )
        return with_limb_leads(record)


def _rhythms(root: ET.Element) -> tuple[list[ET.Element], tuple[str, ...]]:
    """The waveforms that are no median beat, and what is to be said of them."""
    waveforms = [(each, text_of(each, "WaveformType").casefold()) for each in root.iter("Waveform")]
    if len(waveforms) == 1 and not waveforms[0][1]:
        return [waveforms[0][0]], ("the file does not say whether its only waveform is the rhythm",)
    rhythms = [each for each, kind in waveforms if kind == "rhythm"]
    if not rhythms:
        raise UnusableError("holds no rhythm, only median beats or nothing; export it with its rhythm")
    return rhythms, ("of several rhythms the first is taken",) if len(rhythms) > 1 else ()


def _samples(lead: ET.Element) -> NDArray[np.int16]:
    if text_of(lead, "LeadSampleSize") not in ("", "2"):
        raise UnusableError("has samples of other than two bytes, which MUSE does not write; leave it out")
    for tag in ("LeadOffsetFirstSample", "FirstSampleBaseline"):
        if number(text_of(lead, tag) or "0", "where its samples begin"):
            raise UnusableError("has leads with an offset whose meaning is not published; export it again without")
    stored = stored_bytes(text_of(lead, "WaveFormData"))
    counts = {"LeadByteCountTotal": len(stored), "LeadSampleCountTotal": len(stored) / 2}
    for tag, found in counts.items():
        if (said := text_of(lead, tag)) and number(said, "how many samples it has") != found:
            raise UnusableError("has another number of samples than it says; export it again")
    if len(stored) % 2:
        raise UnusableError("has half a sample at its end; export it again")
    return np.frombuffer(stored, "<i2")


def _step_mv(lead: ET.Element, facts: EcgFacts, rate_hz: float, leads: tuple[str, ...]) -> float:
    unit = text_of(lead, "LeadAmplitudeUnits") or facts.behind(rate_hz, leads=leads).unit.value
    return number(text_of(lead, "LeadAmplitudeUnitsPerBit"), "its units per bit") * millivolts_of(unit)


def _moment(root: ET.Element) -> datetime | None:
    test = root.find("TestDemographics")
    try:
        return datetime.strptime(
            f"{text_of(test, 'AcquisitionDate')} {text_of(test, 'AcquisitionTime')}", "%m-%d-%Y %H:%M:%S"
        )
    except ValueError:
        return None


FORMAT = MuseXml()
