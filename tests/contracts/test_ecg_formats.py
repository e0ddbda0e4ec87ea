"""What every format of ECG files does: known by its content, the same recording back, read in part, refused well."""

import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import NUM_HEAD_BYTES, EcgRef, ecg_formats, format_of, open_ecg, recordings_in
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import WHOLE, EcgRecord, Window
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import SAMPLE_RATE_HZ, simulate_ecg
from pacx.simulation.signals.ecg_files.writer import Tracing, ecg_writers

PAGE = Path(__file__).resolve().parents[2] / "docs/adding/ecg-format.md"
PATIENT = "Mustermann-4711"
STARTED = datetime(2021, 3, 4, 5, 6, 7)
BARE = EcgFacts(rate_hz=float(SAMPLE_RATE_HZ), unit=EcgUnit.MICROVOLT, leads=ECG_LEADS)
FACTS = {"csv": BARE, "mat": BARE}
"""What has to be said of files of a format."""
SAYS_NO_START = {"npy", "hdf5", "mat", "csv"}
OTHER_RATES = {"hdf5": 400}


@pytest.fixture(scope="module")
def millivolts() -> NDArray[np.float32]:
    return simulate_ecg(draw_physiology([PATIENT], seed=5, site=UNIVERSITY_HOSPITAL), [PATIENT], seed=5)[0]


@pytest.fixture(params=list(ecg_formats()), ids=str)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def tracing(name: str, millivolts: NDArray[np.float32]) -> Tracing:
    rate_hz = OTHER_RATES.get(name, SAMPLE_RATE_HZ)
    return Tracing(patient_id=PATIENT, millivolts=millivolts[:, : 10 * rate_hz], rate_hz=rate_hz, started=STARTED)


@pytest.fixture
def ref(name: str, tracing: Tracing, tmp_path: Path) -> EcgRef:
    """The recording in a file of the simulated hospital; a new format brings its own twin there."""
    return EcgRef.parse(tmp_path / ecg_writers()[name].write(tmp_path, [("r", tracing)])["r"])


def read(ref: EcgRef, name: str, window: Window = WHOLE) -> EcgRecord:
    with open_ecg(ref.path, FACTS.get(name, NO_FACTS)) as file:
        assert len(file.keys) == 1
        return file.read(file.keys[0], window)


def test_its_content_tells_it_and_no_other_format(name, ref, tmp_path):
    renamed = tmp_path / "without-an-ending"
    shutil.copy(ref.path, renamed)
    kinds = ecg_formats()
    head = renamed.read_bytes()[:NUM_HEAD_BYTES]
    if name != "npy":  # what an array holds stands in the file beside it
        assert [other for other in kinds if kinds[other].recognises(head, renamed)] == [name]
    assert format_of(ref.path) is kinds[name]
    nothing = tmp_path / f"nothing{ref.path.suffix}"
    for content in (b"", b"Dear colleague, thank you for the referral.\n" * 200, bytes(range(256)) * 16):
        nothing.write_bytes(content)
        assert not [other for other in kinds if kinds[other].recognises(content[:NUM_HEAD_BYTES], nothing)]


def test_the_recording_comes_back_within_half_a_step(name, ref, tracing):
    record = read(ref, name)
    recorded = ~np.isnan(record.signals).all(axis=0)
    assert record.rate_hz == tracing.rate_hz
    assert record.num_stored == record.signals.shape[1]
    steps = dict(zip(record.leads, record.resolution_mv, strict=True))
    assert set(steps) >= set(ECG_LEADS)
    wrong = np.abs(record.twelve()[:, recorded] - tracing.millivolts[:, : recorded.sum()])
    for lead, of_it in zip(ECG_LEADS, wrong, strict=True):
        step = steps[lead] or ecg_writers()[name].step_mv
        most = steps["I"] if lead in record.derived else step / 2  # half a step of I and half a one of II
        assert np.nanmax(of_it) <= most * (1 + 1e-6) + 1e-6, lead
    assert 0.98 <= recorded.sum() / tracing.num_samples <= 1
    assert record.patient_id in ("", PATIENT)
    if name not in SAYS_NO_START:
        assert record.start is not None
        assert record.start.replace(tzinfo=None) == STARTED


def test_a_stretch_is_that_of_the_whole(name, ref):
    whole, part = read(ref, name), read(ref, name, Window(100, 250))
    np.testing.assert_array_equal(part.signals, whole.signals[:, 100:350])
    assert part.num_stored == whole.num_stored
    assert whole.start is None or part.start == whole.start + timedelta(seconds=100 / whole.rate_hz)
    last = whole.num_stored - 70
    np.testing.assert_array_equal(read(ref, name, Window(last, 500)).signals, whole.signals[:, last:])
    assert read(ref, name, Window(0, 0)).signals.shape == (len(whole.leads), 0)
    with pytest.raises(DataError, match="ends before the wanted stretch begins"):
        read(ref, name, Window(50_000))


def test_a_file_that_is_cut_off_anywhere_is_refused_in_one_sentence(name, ref, tmp_path):
    whole, said = read(ref, name).signals, []
    for other in {ref.path, *ecg_formats()[name].parts(ref.path)}:
        content = other.read_bytes()
        for share in (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999):
            other.write_bytes(content[: int(share * len(content))])
            try:
                signals = read(ref, name).signals
            except DataError as error:
                said.append(str(error).replace(str(tmp_path), ""))
            else:  # a table may end with any line, and what is behind the recording may be missing
                np.testing.assert_array_equal(signals, whole[:, : signals.shape[1]])
        other.write_bytes(content)
    assert len(said) >= 4
    assert not [each for each in said if "\n" in each or PATIENT in each or str(STARTED.year) in each]


def test_damage_anywhere_ends_in_a_sentence_or_a_recording(name, ref):
    rng = np.random.default_rng(0)
    content, said = ref.path.read_bytes(), []
    for _ in range(40):
        broken = bytearray(content)
        for place in rng.integers(0, min(len(broken), 6000), 3):
            broken[place] = rng.integers(256)
        ref.path.write_bytes(broken)
        for each in recordings_in([ref.path], FACTS.get(name, NO_FACTS)):
            try:
                with open_ecg(each.path, FACTS.get(name, NO_FACTS)) as file:
                    file.read(each.key)
            except DataError as error:
                said.append(str(error))
    assert not [each for each in said if "\n" in each or PATIENT in each]


def test_formats_are_light_until_they_are_used():
    code = "from pacx.modalities.ecg_signal.ecg_file import ecg_formats\nimport sys\nlist(ecg_formats().values())\n"
    heavy = ("torch", "scipy", "pandas", "wfdb", "pydicom", "h5py", "pyedflib", "pyarrow", "matplotlib")
    code += f"print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_on_adding_a_format_holds_one_that_works(tmp_path, millivolts):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(code[1], str(PAGE), "exec"), module)
    example, counts = module["FORMAT"], np.rint(millivolts / 0.005)
    head = f"EXAMPLE-ECG 500 {millivolts.shape[1]} {STARTED.isoformat()}\n"
    (tmp_path / "x").write_bytes(head.encode() + counts.T.astype("<i2").tobytes())
    assert example.recognises((tmp_path / "x").read_bytes()[:4096], tmp_path / "x")
    record = example.open(tmp_path / "x", NO_FACTS).read("", Window(50, 100))
    np.testing.assert_allclose(record.twelve(), counts[:, 50:150] * 0.005, atol=1e-9)
    assert record.start == STARTED + timedelta(seconds=0.1)
    (tmp_path / "x").write_bytes(head.encode())
    with pytest.raises(UnusableError, match="shorter than its header says"):
        example.open(tmp_path / "x", NO_FACTS).read("", Window())
