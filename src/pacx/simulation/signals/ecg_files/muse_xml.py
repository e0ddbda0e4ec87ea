"""GE MUSE: a ``RestingECG`` with the median beat first and the rhythm second, eight leads each, 4.88 uV a bit."""

import base64
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.simulation.signals.ecg_files.writer import RECORDED_LEADS, EcgWriter, Tracing, child, save_xml

_PROLOG = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">'
_UNITS_PER_BIT = 4.88
_MEDIAN_S = 1.2


class MuseXmlWriter(EcgWriter):
    """Writes MUSE exports."""

    suffix = ".xml"
    step_mv = _UNITS_PER_BIT / 1000

    def save(self, path: Path, tracing: Tracing) -> None:
        """One ``RestingECG``."""
        root = ET.Element("RestingECG")
        child(child(root, "MuseInfo"), "MuseVersion", "9.0")
        patient = child(root, "PatientDemographics")
        child(patient, "PatientID", tracing.patient_id)
        child(patient, "PatientLastName", "Simulated")
        test = child(root, "TestDemographics")
        child(test, "DataType", "RESTING")
        child(test, "AcquisitionTime", f"{tracing.started:%H:%M:%S}")
        child(test, "AcquisitionDate", f"{tracing.started:%m-%d-%Y}")
        counts = tracing.counts(self.step_mv)
        beat = round(_MEDIAN_S * tracing.rate_hz)
        for kind, length in (("Median", beat), ("Rhythm", tracing.num_samples)):
            waveform = child(root, "Waveform")
            facts = {
                "WaveformType": kind,
                "WaveformStartTime": 0,
                "NumberofLeads": len(RECORDED_LEADS),
                "SampleType": "CONTINUOUS_SAMPLES",
                "SampleBase": tracing.rate_hz,
                "SampleExponent": 0,
                "HighPassFilter": 16,
                "LowPassFilter": 150,
                "ACFilter": "NONE",
            }
            for tag, value in facts.items():
                child(waveform, tag, value)
            for lead in RECORDED_LEADS:
                _add_lead(waveform, lead, counts[lead][:length])
        save_xml(path, root, _PROLOG, "latin-1")


def _add_lead(waveform: ET.Element, lead: str, counts: NDArray[np.int16]) -> None:
    stored = counts.astype("<i2").tobytes()
    facts = {
        "LeadByteCountTotal": len(stored),
        "LeadTimeOffset": 0,
        "LeadSampleCountTotal": len(counts),
        "LeadAmplitudeUnitsPerBit": _UNITS_PER_BIT,
        "LeadAmplitudeUnits": "MICROVOLTS",
        "LeadHighLimit": 32767,
        "LeadLowLimit": -32768,
        "LeadID": lead,
        "LeadOffsetFirstSample": 0,
        "FirstSampleBaseline": 0,
        "LeadSampleSize": 2,
        "LeadOff": "FALSE",
        "BaselineSway": "FALSE",
        "LeadDataCRC32": zlib.crc32(stored),
        "WaveFormData": base64.encodebytes(stored).decode(),
    }
    data = child(waveform, "LeadData")
    for tag, value in facts.items():
        child(data, tag, value)


WRITER = MuseXmlWriter()
