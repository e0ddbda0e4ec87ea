"""A pack of ECGs: what it holds, that nothing but the recordings decides its bytes, and what is left out of it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.cli.main import main
from pacx.core.errors import DataError, UsageError
from pacx.core.vocabulary import ECG_LEADS
from pacx.data.packs.packing import Shard
from pacx.modalities.ecg_signal.doubts import Doubt
from pacx.modalities.ecg_signal.ecg_file import EcgRef
from pacx.modalities.ecg_signal.facts import EcgFacts
from pacx.modalities.ecg_signal.job import EcgJob, preprocess_ecg
from pacx.modalities.ecg_signal.packs.pack import EcgPack
from pacx.modalities.ecg_signal.packs.packing import merge_ecg_shards, pack_ecg_shard, pack_ecgs
from pacx.modalities.ecg_signal.readers import ecg_sources, open_recordings
from pacx.modalities.ecg_signal.recordings import EcgRecordings
from pacx.modalities.modality import EmbeddingSettings
from pacx.models.ecg.founder import ECGFounder
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, ECG_FOUNDER_ONE_LEAD_INPUT, ECG_MAE_INPUT
from pacx.models.ecg.mae import EcgMaskedAutoencoder
from pacx.models.ecg.mae_config import TINY_ECG_MAE
from pacx.recipes.ecg import ecg_tiny
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg

COUNT = 70


def hearts(count: int, seed: int = 1) -> np.ndarray:
    ids = [f"h{number}" for number in range(count)]
    return simulate_ecg(draw_physiology(ids, seed=seed, site=UNIVERSITY_HOSPITAL), ids, seed=seed)


def write_array(folder: Path, steps: np.ndarray, **other) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "ecg.npy", steps.astype(np.int16))
    about = {"sample_ids": [f"r{row:02}" for row in range(len(steps))], "leads": list(ECG_LEADS)}
    about |= {"sample_rate_hz": 500, "unit": "uV", "patient_ids": [f"p{row // 2}" for row in range(len(steps))]}
    (folder / "ecg.json").write_text(json.dumps({**about, **other}))
    return folder / "ecg.npy"


@pytest.fixture(scope="module")
def steps() -> np.ndarray:
    """Whole microvolts of 35 patients, with one flat, one that two patients share, and one with exchanged arms."""
    steps = np.rint(hearts(COUNT) * 1000).astype(float)
    steps[5, 8] = 0
    steps[60] = steps[3]
    one, two = steps[7, 0].copy(), steps[7, 1].copy()
    three = two - one
    steps[7, :6] = np.rint([-one, three, two, -(three - one) / 2, -(one + two) / 2, (two + three) / 2])
    return steps


@pytest.fixture(scope="module")
def array(steps, tmp_path_factory) -> Path:
    return write_array(tmp_path_factory.mktemp("array"), steps)


@pytest.fixture(scope="module")
def pack(array, tmp_path_factory) -> EcgPack:
    place = tmp_path_factory.mktemp("pack") / "ecg"
    return pack_ecgs(open_recordings(array), place, ECG_MAE_INPUT, max_bad_fraction=0.05)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def usable(steps: np.ndarray) -> EcgRecordings:
    rows = [row for row in range(COUNT) if row not in (5, 60)]
    return EcgRecordings(tuple(f"r{row:02}" for row in rows), steps[rows] * 1e-3)


def test_what_cannot_be_used_is_left_out_by_name_and_what_is_strange_is_told(pack):
    assert [(bad.sample_id, bad.reason) for bad in pack.manifest.quarantined] == [
        ("r05", "is flat in lead V3"),
        ("r60", "is sample for sample the recording of r03"),
    ]
    assert len(pack) == COUNT - 2
    of_exchanged = pack.table.set_index("sample_id").loc["r07"]
    assert of_exchanged["doubts"] == Doubt.ARMS.name
    assert sum("arms exchanged" in note for note in pack.notes) == 1
    assert pack.patient_ids[:4] == ("p0", "p0", "p1", "p1")


@pytest.mark.parametrize(
    "config", [ECG_MAE_INPUT, ECG_FOUNDER_INPUT, ECG_FOUNDER_ONE_LEAD_INPUT], ids=["autoencoder", "founder", "one lead"]
)
def test_one_pack_holds_what_every_encoder_takes(pack, steps, config):
    rows = np.array([0, 8, 67, 3])
    directly = preprocess_ecg(usable(steps), config)
    prepared = pack.prepared_for(config)
    assert prepared.shape == directly.shape
    np.testing.assert_allclose(prepared[rows], directly[rows], atol=2e-6)
    np.testing.assert_allclose(prepared[10:20], directly[10:20], atol=2e-6)


def test_embeddings_from_a_pack_are_those_from_the_recordings(pack, steps, array):
    tiny, allowed = EcgMaskedAutoencoder(TINY_ECG_MAE, seed=0), EmbeddingSettings(max_bad_fraction=0.05)
    directly = EcgJob(tiny, usable(steps)).run(EmbeddingSettings())
    from_pack = EcgJob(tiny, pack).run(allowed)
    assert from_pack.sample_ids == directly.sample_ids
    assert from_pack.fingerprint == EcgJob(tiny, open_recordings(array)).fingerprint
    np.testing.assert_allclose(from_pack.embeddings, directly.embeddings, atol=1e-6)
    torch.manual_seed(0)
    founder = ECGFounder(12).eval()
    directly = EcgJob(founder, usable(steps).select(range(4))).run(EmbeddingSettings())
    with torch.no_grad():
        four = founder.embed(torch.from_numpy(pack.prepared_for(ECG_FOUNDER_INPUT)[:4])).numpy()
    np.testing.assert_allclose(four, directly.embeddings, atol=1e-6)


def test_a_pack_for_another_encoder_is_refused(array, tmp_path):
    founder = pack_ecgs(open_recordings(array), tmp_path / "f", ECG_FOUNDER_INPUT, max_bad_fraction=0.05)
    with pytest.raises(DataError, match=r"filtered for another encoder.*--chain"):
        EcgJob(EcgMaskedAutoencoder(TINY_ECG_MAE), founder)
    with pytest.raises(DataError, match="2 of 70 ECG recordings cannot be used"):
        EcgJob(ECGFounder(12), founder).run(EmbeddingSettings(max_bad_fraction=0.01))


@pytest.mark.parametrize("num_workers", [2, 3])
def test_no_number_of_workers_changes_a_byte(array, pack, tmp_path, num_workers):
    options = {"max_bad_fraction": 0.05, "num_workers": num_workers}
    again = pack_ecgs(open_recordings(array), tmp_path / "again", ECG_MAE_INPUT, **options)
    assert bytes_of(again.path) == bytes_of(pack.path)


@pytest.mark.parametrize("of", [1, 3])
def test_shards_merge_into_the_bytes_of_one_pack(array, pack, tmp_path, of):
    source = open_recordings(array)
    options = {"max_bad_fraction": 0.05}
    shards = [
        pack_ecg_shard(source, tmp_path / "m", Shard(1 + part, of), ECG_MAE_INPUT, **options) for part in range(of)
    ]
    if of > 1:
        with pytest.raises(DataError, match="2 shards, expected each of 1 to 3"):
            merge_ecg_shards(shards[:2], tmp_path / "m")
        with pytest.raises(DataError, match="2 of 70 ECG recordings cannot be used"):
            merge_ecg_shards(shards, tmp_path / "m", max_bad_fraction=0.01)
    merged = merge_ecg_shards(shards[::-1], tmp_path / "m", max_bad_fraction=0.05)
    assert bytes_of(merged.path) == bytes_of(pack.path)


KILLED = """
import sys
from pathlib import Path
from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.models.ecg.input import ECG_MAE_INPUT
pack_ecgs(open_recordings(Path(sys.argv[1])), Path(sys.argv[2]), ECG_MAE_INPUT, max_bad_fraction=0.05)
"""


def test_killed_while_packing_and_resumed_the_bytes_are_the_same(array, pack, tmp_path):
    partial = tmp_path / ".partial-k"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(array), str(tmp_path / "k")])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        journal = partial / "journal.jsonl"
        if journal.is_file() and journal.read_bytes().count(b"\n") >= 2:
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    child.wait()
    assert not (tmp_path / "k").exists() or child.returncode == 0
    resumed = pack_ecgs(open_recordings(array), tmp_path / "k", ECG_MAE_INPUT, max_bad_fraction=0.05)
    assert bytes_of(resumed.path) == bytes_of(pack.path)


@pytest.mark.parametrize("cut", [1, 100_000, 240_000 * 20])
def test_bytes_that_never_reached_the_disk_are_made_again(array, pack, tmp_path, cut):
    """The journal says that two blocks are there; the samples are cut short or changed."""
    partial = tmp_path / ".partial-c"
    with pytest.raises(DataError):  # too many are bad: what was packed is kept
        pack_ecgs(open_recordings(array), tmp_path / "c", ECG_MAE_INPUT, max_bad_fraction=0.0)
    os.truncate(partial / "signals.npy", (partial / "signals.npy").stat().st_size - cut)
    resumed = pack_ecgs(open_recordings(array), tmp_path / "c", ECG_MAE_INPUT, max_bad_fraction=0.05)
    assert bytes_of(resumed.path) == bytes_of(pack.path)


def test_a_pack_is_opened_again_and_another_one_is_not_overwritten(array, pack, steps, tmp_path):
    again = pack_ecgs(open_recordings(array), pack.path, ECG_MAE_INPUT, max_bad_fraction=0.05)
    assert again.manifest == pack.manifest
    other = write_array(tmp_path, steps[:, :, ::-1])
    with pytest.raises(UsageError, match="made from other recordings or with other options"):
        pack_ecgs(open_recordings(other), pack.path, ECG_MAE_INPUT, max_bad_fraction=0.05)
    with pytest.raises(UsageError, match="is no pack of ECGs; choose another folder"):
        pack_ecgs(open_recordings(array), array.parent, ECG_MAE_INPUT)


def test_a_run_on_a_pack_that_lacks_too_many_ends_before_it_trains(pack, tmp_path):
    run = replace(ecg_tiny(), recordings=pack.path, out=tmp_path / "run", max_bad_fraction=0.01)
    with pytest.raises(DataError, match=r"2 of 70 ECG recordings cannot be used, more than the 1\.00% allowed"):
        run.run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("factor", [0.1, 10])
def test_a_voltage_off_by_ten_in_most_recordings_stops_the_packing(tmp_path, factor):
    array = write_array(tmp_path, np.rint(hearts(40) * 1000 * factor))
    with pytest.raises(DataError, match="ten times too small or too large"):
        pack_ecgs(open_recordings(array), tmp_path / "pack", ECG_MAE_INPUT)


def test_of_a_long_recording_the_window_is_the_first_or_the_one_around_a_moment(tmp_path):
    """Format 16, half an hour at 100 Hz: 10 s of a heart, again and again, each a little larger than the last."""
    heart = hearts(1)[0][:, ::5]
    long = np.concatenate([heart * (1 + number / 100) for number in range(180)], axis=1)
    lines = [f"holter 12 100 {long.shape[1]} 22:00:00 01/02/2150"]
    lines += [f"holter.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "holter.hea").write_text("\n".join(lines) + "\n")
    np.rint(long * 1000).T.astype("<i2").tofile(tmp_path / "holter.dat")
    rows = ["a,holter,", "b,holter,2150-02-01T22:10:05", "c,holter,2150-02-01T23:59:00", "d,holter,2150-02-01 21:00:00"]
    (tmp_path / "list.csv").write_text("\n".join(["sample_id,path,at", *rows]) + "\n")
    listed = open_recordings(tmp_path / "list.csv", facts=EcgFacts(moment_column="at"))
    pack = pack_ecgs(listed, tmp_path / "pack", ECG_MAE_INPUT)
    starts = pack.table["start"].str.slice(11, 19).tolist()
    assert starts == ["22:00:00", "22:10:00", "22:29:50", "22:00:00"]
    sizes = np.sqrt(np.square(pack.signals[:, 1]).mean(axis=1))
    np.testing.assert_allclose(sizes / sizes[0], [1, 1.6, 2.79, 1], rtol=0.02)


def test_a_moment_in_a_recording_that_says_no_time_is_a_fault(tmp_path):
    np.save(tmp_path / "x.npy", hearts(1)[0])
    (tmp_path / "list.csv").write_text("sample_id,path,at\na,x.npy,2150-02-01T22:10:05\n")
    facts = EcgFacts(moment_column="at", rate_hz=500, unit=None)
    with pytest.raises(DataError, match="does not say"):
        pack_ecgs(open_recordings(tmp_path / "list.csv", facts=facts), tmp_path / "pack", ECG_MAE_INPUT)


def test_a_moment_without_a_list_is_refused(array):
    with pytest.raises(UsageError, match="--moment-column names a column of a list"):
        open_recordings(array, facts=EcgFacts(moment_column="seen"))


def test_recordings_are_not_listed_anew_for_each_of_them(tmp_path):
    source = ecg_sources([EcgRef(tmp_path / f"{row}.hea") for row in range(9)])
    assert source.places is source.places
    assert source.places[8].endswith("8.hea")


def test_the_command_packs_shards_merges_and_counts_by_reason(array, pack, tmp_path, capsys):
    words = ["--root", str(array), "--out", str(tmp_path / "ecg"), "--max-bad-fraction", "0.05", "--num-workers", "1"]
    for shard in ("1/2", "2/2"):
        main(["data", "pack", "ecg", *words, "--shard", shard])
    places = [str(tmp_path / f"ecg.shard-{index}-of-2") for index in (1, 2)]
    main(["data", "merge", *places, "--out", str(tmp_path / "ecg"), "--max-bad-fraction", "0.05"])
    said = capsys.readouterr().out
    assert "left out, 1: is flat in a lead" in said
    assert "left out, 1: is sample for sample the recording of another patient" in said
    assert "68 recordings, 2 quarantined" in said
    assert bytes_of(tmp_path / "ecg") == bytes_of(pack.path)
