"""Every protocol in one call: kept steps, shared patients, and a certificate that notices whatever is changed."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.cli.main import main
from pacx.core.artifacts import sha256_of
from pacx.core.errors import DataError, UsageError
from pacx.data.packs.pack import Pack
from pacx.evaluation.masks.segmentation import SegmentationConfig
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.protocol import protocols
from pacx.evaluation.results import read_rows
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import save_encoder
from pacx.suite import certificate as certificates
from pacx.suite.certificate import Certificate, find_shared
from pacx.suite.config import SuiteConfig
from pacx.suite.suite import Suite
from pacx.suite.verification import Depth, Verdict, verify

PROTOCOLS = set(protocols()) - {"readout"}
"""All that a pack without measured values allows."""
SMALL = {
    "probe": ProbeConfig(epochs=2, num_seeds=2),
    "decoder": SegmentationConfig(epochs=1, warmup_epochs=0),
    "num_draws": 20,
}


def call_of(out: Path) -> list[str]:
    """The command, as a user types it in the folder of packs and encoders."""
    here = out.parent
    encoders = [f"{name}={here / name}" for name in ("mae", "pacx")]
    small = [
        "--deletion.num-films",
        "4",
        "--deletion.steps",
        "2",
        "--probe.epochs",
        "2",
        "--probe.num-seeds",
        "2",
        "--decoder.epochs",
        "1",
        "--decoder.warmup-epochs",
        "0",
    ]
    more = ["--targets", str(here / "ecg"), "--trained-on", str(here / "discs"), "--num-draws", "20", *small]
    packs = ["--packs", str(here / "discs"), "--baseline", "mae", "--out", str(out)]
    return ["evaluate", "all", *packs, "--encoders", *encoders, *more]


def run(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="session")
def finished(pack, encoders, tmp_path_factory):
    """A folder with pack, encoders, targets, and the evaluation of them all."""
    here = tmp_path_factory.mktemp("suite")
    shutil.copytree(pack.path, here / "discs")
    for name, encoder in encoders.items():
        save_encoder(
            encoder.vit,
            here / name,
            preprocessing=encoder.preprocessing,
            pooling=encoder.pooling,
            card="",
            provenance={},
        )
    random = np.random.default_rng(0).standard_normal((len(pack), 5)).astype(np.float32)
    FrozenTargets("ecg", tuple(pack.sample_ids), random, "a-b-c").save(here / "ecg")
    assert run(call_of(here / "out")) == 0
    return here


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it all to be damaged; the certificate is written anew, for its paths are those of the copy."""
    shutil.copytree(finished, tmp_path / "here")
    assert run(call_of(tmp_path / "here" / "out")) == 0
    return tmp_path / "here"


def verdicts(here: Path, depth: Depth = Depth.EMBEDDINGS) -> list[str]:
    """What differs."""
    return [check.what for check in verify(here / "out" / "certificate.json", depth=depth) if is_bad(check)]


def is_bad(check) -> bool:
    return check.verdict is Verdict.DIFFERS


def test_one_call_runs_what_the_pack_allows(finished):
    out = finished / "out"
    rows = read_rows(out / "results.json")
    assert {row.protocol for row in rows} >= set(PROTOCOLS) - {"directions"}  # it asks for 25 patients
    assert {path.name for path in (out / "figures").glob("*.png")} >= {"discs-view.png"}
    assert {row.name for row in rows} >= {"mae", "pacx", "pacx - mae"}
    assert "Table 1" in (out / "report.html").read_text()
    assert Certificate.read(out / "certificate.json").rows[0].dataset == "discs"


def test_steps_are_kept_and_only_what_changed_runs_again(copied):
    steps = copied / "out" / "steps"
    before = {file.name: file.stat().st_mtime_ns for file in steps.iterdir()}
    (steps / "discs.low-data.json").unlink()  # as a kill before its writing leaves it
    assert run(call_of(copied / "out")) == 0
    changed = {file.name for file in steps.iterdir() if file.stat().st_mtime_ns != before[file.name]}
    assert changed == {"discs.low-data.json"}
    assert run([*call_of(copied / "out"), "--align.alpha", "3"]) == 0
    changed = {file.name for file in steps.iterdir() if file.stat().st_mtime_ns != before[file.name]}
    assert changed == {"discs.low-data.json", "discs.alignment.json"}


def test_an_untouched_certificate_verifies_at_every_depth(finished, capsys):
    assert run(["report", "--verify", str(finished / "out" / "certificate.json"), "--depth", "encoders"]) == 0
    assert "0 differ, 0 could not be made" in capsys.readouterr().out


def test_a_changed_digit_is_noticed_whether_or_not_the_digest_is_made_to_fit(copied):
    path = copied / "out" / "certificate.json"
    values = json.loads(path.read_text())
    row = next(row for row in values["rows"] if row["metric"] == "auroc" and row["label"] == "macro")
    row["value"] += 0.001
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="was changed after it was written"):
        verify(path)
    assert run(["report", "--verify", str(path)]) == 1
    del values["sha256"]
    path.write_text(json.dumps({**values, "sha256": certificates._digest(values)}))
    assert verdicts(copied) == ["rows of results.json"]
    (copied / "out" / "results.json").unlink()  # nothing to compare with: only the arithmetic is left
    assert verdicts(copied) == [f"results of discs.{row['protocol']}, computed again"]
    assert run(["report", "--verify", str(path)]) == 1


def test_a_changed_byte_of_a_pack_is_noticed(copied):
    file = copied / "discs" / "images.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    assert verdicts(copied) == [f"bytes of pack {copied / 'discs'}"]


def test_two_films_that_changed_splits_are_noticed_though_the_pack_agrees_with_itself(copied):
    folder = copied / "discs"
    table = pd.read_parquet(folder / "records.parquet")
    training, test = (np.flatnonzero(table["split"] == split)[0] for split in ("train", "test"))
    table.loc[training, "split"], table.loc[test, "split"] = "test", "train"
    table.to_parquet(folder / "records.parquet", index=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["records_sha256"] = sha256_of(folder / "records.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert Pack.open(folder).fingerprint == manifest["fingerprint"]
    found = verdicts(copied)
    assert f"bytes of pack {folder}" in found
    assert f"splits of pack {folder}" in found
    assert "shared patients and films" in found


def test_another_encoder_under_the_same_name_is_noticed(copied):
    shutil.rmtree(copied / "mae")
    shutil.copytree(copied / "pacx", copied / "mae")
    assert verdicts(copied, Depth.FILES) == ["weights of encoder mae"]


def test_embeddings_of_another_pack_of_as_many_films_are_refused_and_so_are_missing_ones(copied):
    """Under one name and size: kept rows would be joined to other films' labels by position."""
    file = copied / "out" / "embeddings" / "discs.mae.npz"
    with np.load(file) as kept:
        values = dict(kept)
    names = np.array([f"other-{name}" for name in values["sample_ids"]])
    np.savez(file, **{**values, "sample_ids": names})
    path = copied / "out" / "certificate.json"
    suite = Suite(Certificate.read(path).call, "")
    with pytest.raises(DataError, match=r"discs\.mae\.npz holds embeddings of other films than .*discs has"):
        suite.benchmarks[0].features()
    np.savez(file, **{**values, "sample_ids": values["sample_ids"][::-1]})
    with pytest.raises(DataError, match="or in another order"):
        suite.benchmarks[0].features()
    file.unlink()
    with pytest.raises(DataError, match=r"discs\.mae\.npz is not there; evaluate again"):
        verify(path)


def test_what_is_not_here_is_said_and_not_passed_over(copied):
    shutil.rmtree(copied / "discs")
    checks = verify(copied / "out" / "certificate.json")
    assert [check.what for check in checks if check.verdict is Verdict.NOT_CHECKED] == [
        f"bytes of pack {copied / 'discs'}",
        "everything else",
    ]


def test_a_certificate_counts_shared_patients_and_films(pack, tmp_path):
    whole = find_shared(SuiteConfig(packs=(pack.path,), encoders=(), out=tmp_path, trained_on=()))
    assert [(shared.patients, shared.films) for shared in whole] == [(0, 0)]
    folder = tmp_path / "leaky"
    shutil.copytree(pack.path, folder)
    table = pd.read_parquet(folder / "records.parquet")
    table.assign(split="train").to_parquet(folder / "records.parquet", index=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["records_sha256"] = sha256_of(folder / "records.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    config = SuiteConfig(packs=(pack.path,), encoders=(), out=tmp_path, trained_on=(folder,))
    leaked = {shared.learnt: (shared.patients, shared.films) for shared in find_shared(config)}
    assert leaked[str(folder)] == (10, 20)


def test_wrong_calls_are_refused_in_a_sentence(finished, tmp_path):
    config = SuiteConfig(packs=(finished / "discs",), encoders=(f"mae={finished / 'mae'}",), out=tmp_path, **SMALL)
    with pytest.raises(UsageError, match="baseline pacx is not among the encoders"):
        Suite(SuiteConfig(**{**vars(config), "baseline": "pacx"}), "")
    with pytest.raises(UsageError, match="two packs of 32 pixels are called discs"):
        Suite(SuiteConfig(**{**vars(config), "packs": (finished / "discs", finished / "discs")}), "")
    with pytest.raises(UsageError, match="'knnn' is no protocol; did you mean knn"):
        Suite(SuiteConfig(**{**vars(config), "without": ("knnn",)}), "")
    some = Suite(SuiteConfig(**{**vars(config), "without": ("deletion", "shortcut")}), "").steps()
    assert {step.protocol for step in some} == set(PROTOCOLS) - {"deletion", "shortcut", "alignment", "directions"}
    FrozenTargets("ecg", ("x", "y"), np.eye(2, dtype=np.float32), "a-b-c").save(tmp_path / "others")
    with pytest.raises(DataError, match="--targets fits none of the packs, which lack --targets of its own training"):
        Suite(SuiteConfig(**{**vars(config), "targets": (tmp_path / "others",)}), "")


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_in_the_same_rows(finished, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(finished, here, ignore=shutil.ignore_patterns("out"))
    steps = here / "out" / "steps"
    process = subprocess.Popen([sys.executable, "-m", "pacx.cli.main", *call_of(here / "out")])
    try:
        deadline = time.monotonic() + 300
        while len(list(steps.glob("*.json"))) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    done = {file: file.stat().st_mtime_ns for file in steps.glob("*.json")}
    assert not (here / "out" / "results.json").exists()
    assert run(call_of(here / "out")) == 0
    assert {file: file.stat().st_mtime_ns for file in done} == done
    again, whole = (read_rows(folder / "out" / "results.json") for folder in (here, finished))
    assert [repr(row) for row in again] == [repr(row) for row in whole]
    assert not is_damaged(here)


def is_damaged(here: Path) -> bool:
    return any(is_bad(check) for check in verify(here / "out" / "certificate.json"))


def test_a_certificate_of_0_2_0_is_read_and_assumes_nothing_of_patients(tmp_path):
    told = certificates.PackSummary(
        path="packs/a", dataset="a", fingerprint="f", splits={}, divided_patients=0, unknown_patients=3, drawn_by="film"
    )
    call = SuiteConfig(packs=(Path("packs/a"),), encoders=("random",), out=tmp_path)
    path = tmp_path / "certificate.json"
    Certificate(call=call, packs=(told,), encoders=(), embeddings={}, shared=(), rows=(), made_by={}).write(path)
    assert Certificate.read(path).packs == (told,)
    values = json.loads(path.read_text())
    del values["sha256"]
    for field in ("unknown_patients", "drawn_by"):
        del values["packs"][0][field]
    path.write_text(json.dumps({**values, "sha256": certificates._digest(values)}))
    (old,) = Certificate.read(path).packs
    assert (old.unknown_patients, old.drawn_by) == (None, "")
