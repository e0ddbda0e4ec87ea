"""Two recordings that a careless chain spoils: one of a pacemaker, and one that zeros bring to its set's length."""

from datetime import datetime

import numpy as np
import pytest
from scipy.signal import butter, freqz, iirnotch, resample_poly

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import Doubt, examined
from pacx.modalities.ecg_signal.filters import EcgChain
from pacx.modalities.ecg_signal.packs.pack import packed_as
from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.modalities.ecg_signal.record import EcgRecord
from pacx.models.ecg.input import ECG_MAE_INPUT
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import SAMPLE_RATE_HZ, simulate_ecg
from pacx.simulation.signals.ecg_files.hdf5 import WRITER
from pacx.simulation.signals.ecg_files.writer import Tracing

AS_RECORDED = packed_as(ECG_MAE_INPUT)


@pytest.fixture(scope="module")
def hearts() -> np.ndarray:
    ids = [f"h{number}" for number in range(4)]
    return simulate_ecg(draw_physiology(ids, seed=8, site=UNIVERSITY_HOSPITAL), ids, seed=8).astype(float)


def chain_gain() -> np.ndarray:
    """What the filters, forwards and backwards, leave of each frequency from 0 to 250 Hz."""
    config = AS_RECORDED
    notch = iirnotch(config.notch_hz, config.notch_quality, config.sample_rate_hz)
    band = butter(config.band_order, config.band_hz, "bandpass", fs=config.sample_rate_hz)
    return np.prod([np.abs(freqz(*each, worN=4096)[1]) ** 2 for each in (notch, band)], axis=0)


@pytest.mark.parametrize("rate_hz", [500, 1000])
@pytest.mark.parametrize("height_mv", [0.5, 2.0, 5.0])
def test_pacing_spikes_of_2_ms_come_out_as_high_as_the_band_allows(hearts, rate_hz, height_mv):
    # A spike is as high behind a linear filter as the mean of its gain over all frequencies; the band ends at 40 Hz.
    share = chain_gain().mean()
    assert 0.15 < share < 0.17
    two, one = 1.0, 0.4  # leads II and I; the others follow
    heights = height_mv * np.array([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, *[0.8] * 6])
    times_s = np.arange(0.6, 9.6, 0.8)
    for heart in hearts:
        plain = resample_poly(heart, rate_hz, SAMPLE_RATE_HZ, axis=1, padtype="line")
        paced = plain.copy()
        for time_s in times_s:
            start = round(time_s * rate_hz)
            paced[:, start : start + rate_hz // 500] += heights[:, None]
        chain = EcgChain(AS_RECORDED)
        without, prepared = (chain(signals, rate_hz, is_millivolt=True) for signals in (plain, paced))
        spikes = prepared - without
        at = np.round(times_s * 500).astype(int)
        seen = np.stack([spikes[:, each - 5 : each + 6] for each in at])  # (spikes, leads, 22 ms)
        highest = np.take_along_axis(seen, np.abs(seen).argmax(-1)[..., None], -1)[..., 0]
        np.testing.assert_allclose(highest, np.tile(share * heights, (len(at), 1)), rtol=0.06)


@pytest.mark.parametrize("duration_s", [7.0, 9.0])
def test_an_exam_between_zeros_is_prepared_as_one_that_begins_where_it_begins(hearts, tmp_path, duration_s):
    exams = [resample_poly(heart, 4, 5, axis=1, padtype="line")[:, : round(400 * duration_s)] for heart in hearts]
    moment = datetime(2021, 3, 4)
    tracings = [
        (str(row), Tracing(patient_id=f"p{row}", millivolts=exam.astype(np.float32), rate_hz=400, started=moment))
        for row, exam in enumerate(exams)
    ]
    WRITER.write(tmp_path, tracings)
    pack = pack_ecgs(open_recordings(tmp_path / "exams_part0.hdf5"), tmp_path / "pack", ECG_MAE_INPUT)
    assert list(pack.table["doubts"]) == [Doubt.PADDED.name] * len(exams)
    prepared, last = pack.prepared_for(AS_RECORDED)[:], round(500 * duration_s)
    for row, exam in enumerate(exams):
        found = examined(EcgRecord(signals=exam, stored_leads=ECG_LEADS, rate_hz=400), AS_RECORDED.duration_s)
        assert Doubt.PADDED not in found.doubts
        alone = EcgChain(AS_RECORDED)(found.recorded, 400, is_millivolt=True)
        np.testing.assert_allclose(prepared[row], alone, atol=1e-4)
        # Its first beats are where they were recorded, and behind its end nothing beats.
        moved = np.corrcoef(prepared[row, 1, 500:2500], hearts[row][1, 500:2500])[0, 1]
        assert moved > 0.9
        steep = np.abs(np.diff(prepared[row], axis=1)).max(axis=0)
        assert steep[last + 100 :].max() < 0.05 * steep[: last - 100].max()
