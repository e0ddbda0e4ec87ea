"""``pacx embed ECG_ENCODER RECORDS``: every option does what it says, or is refused."""

import json

import numpy as np
import pytest
from test_ecg_modality import heartbeats, write_wfdb

from pacx.cli.main import main
from pacx.models.ecg.mae import EcgMaskedAutoencoder, save_ecg_mae
from pacx.models.ecg.mae_config import TINY_ECG_MAE

NUM_RECORDS = 7


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Seven records, one of them with a flat lead, and an encoder."""
    here = tmp_path_factory.mktemp("embedded")
    (here / "records").mkdir()
    for number, signal in enumerate(heartbeats(NUM_RECORDS)):
        signal[7] *= number != 3
        write_wfdb(here / "records", f"r{number}", signal)
    save_ecg_mae(EcgMaskedAutoencoder(TINY_ECG_MAE, seed=0), here / "encoder", provenance={})
    return here


def embed(here, out, *words):
    usual = {"--max-bad-fraction": "0.2", "--device": "cpu", "--num-workers": "1"}
    usual |= dict(zip(words[::2], map(str, words[1::2]), strict=True))
    main(["embed", str(here / "encoder"), str(here / "records"), "--out", str(out), *sum(usual.items(), ())])
    with np.load(out) as stored:
        return dict(stored)


def refused(capsys, here, out, *words):
    with pytest.raises(SystemExit) as stop:
        embed(here, out, *words)
    assert not out.exists()
    return stop.value.code, capsys.readouterr().err


def test_few_bad_records_are_left_out_by_name_and_more_than_allowed_stop_the_call(here, tmp_path, capsys):
    out = tmp_path / "e.npz"
    code, said = refused(capsys, here, out, "--max-bad-fraction", 0.1)
    assert code == 1
    assert "1 of 7 ECG recordings cannot be used, more than the 10.00% allowed" in said
    found = embed(here, out)
    kept = [f"{here}/records/r{number}.hea" for number in range(NUM_RECORDS) if number != 3]
    assert found["paths"].tolist() == kept
    assert found["embeddings"].shape == (NUM_RECORDS - 1, TINY_ECG_MAE.embed_dim)
    (left_out,) = json.loads((tmp_path / "e.npz.quarantine.json").read_text())
    assert left_out["file"].endswith("r3.hea")
    assert "is flat in lead V2" in left_out["reason"]


@pytest.mark.parametrize("words", [("--batch-size", 1), ("--batch-size", 4), ("--num-workers", 2)])
def test_batches_and_processes_change_no_embedding(here, tmp_path, words):
    usual, other = embed(here, tmp_path / "a.npz"), embed(here, tmp_path / "b.npz", *words)
    assert usual["paths"].tolist() == other["paths"].tolist()
    np.testing.assert_allclose(other["embeddings"], usual["embeddings"], rtol=0, atol=1e-5)


def test_batches_are_as_large_as_asked(here, tmp_path, monkeypatch):
    sizes = []
    embedded = EcgMaskedAutoencoder.embed

    def noting(model, batch):
        sizes.append(len(batch))
        return embedded(model, batch)

    monkeypatch.setattr(EcgMaskedAutoencoder, "embed", noting)
    embed(here, tmp_path / "e.npz", "--batch-size", 4)
    assert sizes == [4, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "nonsense"), "device nonsense cannot be used"),
        (("--batch-size", 0), "give at least 1"),
        (("--num-workers", 0), "give at least 1"),
        (("--max-bad-fraction", 2), r"give a share in [0, 1]"),
        (("--precision", "INT8"), "precision say nothing about"),
    ],
)
def test_what_cannot_be_heeded_is_refused(here, tmp_path, capsys, words, message):
    code, said = refused(capsys, here, tmp_path / "e.npz", *words)
    assert code == 2
    assert message in said
