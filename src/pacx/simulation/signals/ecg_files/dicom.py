"""DICOM 12-lead ECG Waveform Storage: the rhythm and a median beat as two multiplex groups, 1.25 uV a step."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing

_STEP_UV = 1.25
_LEAD_CODES = dict(zip(ECG_LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))
_MEDIAN_S = 1.2


class DicomWriter(EcgWriter):
    """Writes DICOM files."""

    suffix = ".dcm"
    step_mv = _STEP_UV / 1000

    def save(self, path: Path, tracing: Tracing) -> None:
        """One instance of a study of its own."""
        study, series, instance = (_uid(tracing, level) for level in ("study", "series", "instance"))
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
        meta.MediaStorageSOPInstanceUID = instance
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
        file.SOPClassUID, file.SOPInstanceUID = TwelveLeadECGWaveformStorage, instance
        file.StudyInstanceUID, file.SeriesInstanceUID = study, series
        file.Modality = "ECG"
        file.PatientID, file.PatientName = tracing.patient_id, "Simulated"
        file.StudyDate = f"{tracing.started:%Y%m%d}"
        file.StudyTime = f"{tracing.started:%H%M%S}"
        file.AcquisitionDateTime = f"{tracing.started:%Y%m%d%H%M%S}"
        samples = np.stack(list(tracing.counts(self.step_mv).values()), axis=1)
        beat = samples[: round(_MEDIAN_S * tracing.rate_hz)]
        file.WaveformSequence = [
            _group(samples, "RHYTHM", "ORIGINAL", tracing.rate_hz),
            _group(beat, "MEDIAN BEAT", "DERIVED", tracing.rate_hz),
        ]
        file.save_as(path, enforce_file_format=True)


def _uid(tracing: Tracing, level: str) -> UID:
    digest = hashlib.sha256(f"{tracing.patient_id} {tracing.started} {level}".encode()).hexdigest()
    return UID(f"2.25.{int(digest[:32], 16)}")


def _group(samples: NDArray[np.int16], label: str, originality: str, rate_hz: int) -> Dataset:
    group = Dataset()
    group.MultiplexGroupTimeOffset = 0
    group.WaveformOriginality = originality
    group.MultiplexGroupLabel = label
    group.NumberOfWaveformChannels = len(ECG_LEADS)
    group.NumberOfWaveformSamples = len(samples)
    group.SamplingFrequency = rate_hz
    group.ChannelDefinitionSequence = [_channel(lead) for lead in ECG_LEADS]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = samples.astype("<i2").tobytes()
    return group


def _channel(lead: str) -> Dataset:
    channel = Dataset()
    channel.ChannelSourceSequence = [_coded(f"2:{_LEAD_CODES[lead]}", "MDC", f"Lead {lead}")]
    channel.ChannelSensitivity = _STEP_UV
    channel.ChannelSensitivityUnitsSequence = [_coded("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor = 1
    channel.ChannelBaseline = 0
    channel.ChannelSampleSkew = 0
    channel.WaveformBitsStored = 16
    return channel


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


WRITER = DicomWriter()
