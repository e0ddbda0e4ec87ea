"""WFDB records read without wfdb are those that wfdb reads, to the bit; what is of another kind is left to it."""

from pathlib import Path

import numpy as np
import pytest

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.formats.wfdb import imported_wfdb, read_plain
from pacx.modalities.ecg_signal.record import WHOLE, Window

COUNT = 900


def write(
    folder: Path, *, first: str = "", lead: str = "", file: str = "r.dat", offset: int = 0, seed: int = 0
) -> Path:
    """Random samples with some invalid; ``lead`` is a line's middle, with {row} for what differs."""
    chance = np.random.default_rng(0)
    samples = chance.integers(-3000, 3000, (COUNT, 12)).astype("<i2")
    samples[chance.random(samples.shape) < 0.02] = -32768
    (folder / file).write_bytes(b"M" * offset + samples.tobytes())
    middle = lead or "16 1000(0)/mV 16 0 0 0 0"
    lines = [first or f"r 12 500 {COUNT}"]
    lines += [f"{file} {middle.format(row=row + 1)} {name}" for row, name in enumerate(ECG_LEADS)]
    (folder / "r.hea").write_text("\n".join(lines) + "\n# Age: 7\n")
    return folder / "r.hea"


PLAIN = [
    {},
    {"lead": "16 {row}01.5(-{row}7)/mV 16 3 0 0 0"},
    {"lead": "16 1000/mV 16 -{row} 0 0 0"},
    {"lead": "16+24 200(12)/uV 16 0 -5 -28477 0", "offset": 24, "file": "r.mat"},
    {"lead": "16 4.88/uV 16 0 0 0 0", "first": f"r 12 257.5 {COUNT} 02:11:09 25/07/2112"},
    {"first": f"r 12 500 {COUNT} 12-May-2020 12:33:59"},
]


@pytest.mark.parametrize("about", PLAIN)
@pytest.mark.parametrize("window", [WHOLE, Window(0, 100), Window(311, 5000), Window(7, 0)])
def test_the_same_bits_as_wfdb(tmp_path, about, window):
    header = write(tmp_path, **about)
    ours = read_plain(header, window)
    assert ours is not None
    theirs = imported_wfdb().rdrecord(str(header.with_suffix("")))
    factor = 1e-3 if theirs.units[0] == "uV" else 1.0
    np.testing.assert_array_equal(ours.signals, theirs.p_signal.T[:, window.within(COUNT)] * factor)
    assert np.isnan(ours.signals).any() or window.num_samples == 0
    assert (ours.rate_hz, ours.num_stored, ours.leads) == (theirs.fs, COUNT, ECG_LEADS)
    begins = theirs.base_datetime
    assert (ours.start is None) == (begins is None)
    assert begins is None or (ours.start - begins).total_seconds() == pytest.approx(window.start / theirs.fs, abs=1e-6)
    assert ours.resolution_mv == pytest.approx([factor / gain for gain in theirs.adc_gain])


@pytest.mark.parametrize(
    "about",
    [
        {"lead": "212 1000(0)/mV 16 0 0 0 0"},
        {"lead": "16x4 1000(0)/mV 16 0 0 0 0"},
        {"lead": "16:3 1000(0)/mV 16 0 0 0 0"},
        {"lead": "16 1000(0)/mmHg 16 0 0 0 0"},
        {"lead": "16 0(0)/mV 16 0 0 0 0"},
        {"lead": "16 1000(0)/mV"},
        {"first": f"r/2 12 500 {COUNT}"},
        {"first": f"r 12 0 {COUNT}"},
        {"first": f"r 11 500 {COUNT}"},
        {"first": "r 12 500"},
        {"first": f"r 12 500 {COUNT + 1}"},
        {"first": f"r 12 500 {COUNT} 1:2"},
    ],
)
def test_another_kind_is_left_to_wfdb(tmp_path, about):
    assert read_plain(write(tmp_path, **about), WHOLE) is None
    assert read_plain(tmp_path / "absent.hea", WHOLE) is None
