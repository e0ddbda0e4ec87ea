"""An ECG on paper: one millimetre is one, a millivolt is ten, a second twenty-five; and what is said below it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacx.cli.main import main
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.looks.look import look_at
from pacx.modalities.ecg_signal.looks.sheet import draw_ecg
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg

MM = 72 / 25.4
WIDTH_MM = 285
LEFT_MM, FIRST_ROW_MM, ROW_MM = 25, 37.5, 35
INK = "#1f2933"


def paths(svg: bytes) -> list[np.ndarray]:
    """The drawn lines in ink, each as points in millimetres."""
    found = []
    for shape, style in re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*)"', svg.decode()):
        if f"stroke: {INK}" in style:
            found.append(np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", shape), float) / MM)
    return found


def traces(svg: bytes) -> list[np.ndarray]:
    return [path for path in paths(svg) if len(path) > 6]


def test_a_ramp_of_a_tenth_of_a_millivolt_a_second_is_drawn_to_scale():
    rate_hz = 250.0
    time_s = np.arange(2500) / rate_hz
    signals = np.tile(time_s / 10 - 0.5, (12, 1))
    drawn = traces(draw_ecg(signals, rate_hz, title="ramp", as_svg=True))
    assert len(drawn) == 13
    for number, trace in enumerate(drawn[:12]):
        row, column = divmod(number, 4)
        x, y = trace.T
        assert x[0] == pytest.approx(LEFT_MM + 62.5 * column, abs=0.01)
        shown_s = (x - LEFT_MM) / 25
        np.testing.assert_allclose(FIRST_ROW_MM + ROW_MM * row - y, 10 * (shown_s / 10 - 0.5), atol=0.01)
    x, y = drawn[12].T
    assert x[-1] - x[0] == pytest.approx(25 * (10 - 1 / rate_hz), abs=0.01)
    np.testing.assert_allclose(FIRST_ROW_MM + 3 * ROW_MM - y, 10 * ((x - LEFT_MM) / 250 - 0.5), atol=0.01)


def test_the_calibration_pulse_is_a_millivolt_for_a_fifth_of_a_second():
    pulses = [path for path in paths(draw_ecg(np.zeros((12, 5000)), 500, title="x", as_svg=True)) if len(path) == 6]
    assert len(pulses) == 4
    for pulse in pulses:
        x, y = pulse.T
        assert x[3] - x[2] == pytest.approx(5, abs=0.01)
        assert y[0] - y[2] == pytest.approx(10, abs=0.01)


def test_what_was_not_recorded_stays_empty_and_each_lead_is_named():
    signals = np.zeros((12, 5000))
    signals[7] = np.nan  # V2
    signals[1, 1000:2000] = np.nan  # II, from 2 to 4 s
    svg = draw_ecg(signals, 500, title="x", as_svg=True).decode()
    assert [svg.count(f">{lead}<") for lead in ECG_LEADS] == [1, 2, *[1] * 10]
    assert len(traces(svg.encode())) == 12, "V2 has none"
    rhythm = traces(svg.encode())[-1]
    inside = (rhythm[:, 0] > LEFT_MM + 50.2) & (rhythm[:, 0] < LEFT_MM + 99.8)
    assert not inside.any()


def test_the_picture_has_the_size_of_its_paper():
    signals = np.zeros((12, 5000))
    svg = draw_ecg(signals, 500, title="x", as_svg=True).decode()
    width = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)[1])
    assert width / MM == pytest.approx(WIDTH_MM, abs=0.01)
    assert draw_ecg(signals, 500, title="x", as_svg=True).decode() == svg


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A WFDB record of format 16 with the arms' cables exchanged."""
    leads = simulate_ecg(draw_physiology(["a"], seed=2, site=UNIVERSITY_HOSPITAL), ["a"], seed=2)[0]
    one, two = leads[0].copy(), leads[1].copy()
    three = two - one
    leads[:6] = [-one, three, two, -(three - one) / 2, -(one + two) / 2, (two + three) / 2]
    lines = ["a 12 500 5000"] + [f"a.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "a.hea").write_text("\n".join(lines) + "\n")
    np.rint(leads * 1000).T.astype("<i2").tofile(tmp_path / "a.dat")
    return tmp_path / "a.hea"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_command_draws_and_says_what_is_strange(record, capsys, ending):
    out = record.with_name(f"sheet.{ending}")
    main(["look", "ecg", str(record), "--out", str(out)])
    said = capsys.readouterr().out
    assert "look twice: it has I and aVL turned against V6" in said
    assert "WFDB record, 500 Hz, 10.0 s" in said
    if ending == "png":
        with Image.open(out) as picture:
            assert picture.size[0] == pytest.approx(WIDTH_MM / 25.4 * 200, abs=1)
            assert picture.info["dpi"][0] == pytest.approx(200, abs=0.1)
    else:
        assert b"arms exchanged" in out.read_bytes()


def test_one_that_cannot_be_used_is_shown_with_the_reason(record):
    steps = np.fromfile(record.with_suffix(".dat"), "<i2").reshape(-1, 12)
    steps[:, 8] = 0
    steps.tofile(record.with_suffix(".dat"))
    look = look_at(record)
    assert "cannot be used: it is flat in lead V3" in look.remarks
    assert look.signals.shape == (12, 5000)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x.pdf"], "neither a .png nor a .svg"),
        (["--record", "second"], "holds 1 recordings and none of that name"),
        (["--start-s", "-1"], "0 or more"),
        (["--start-s", "60"], "ends before the wanted stretch begins"),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(record, capsys, words, message):
    with pytest.raises(SystemExit):
        main(["look", "ecg", str(record), *words])
    assert message in capsys.readouterr().err
