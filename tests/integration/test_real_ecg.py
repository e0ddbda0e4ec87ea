"""Real twelve-lead ECGs of five databases: read, compared, prepared and embedded."""

import csv
import runpy

import numpy as np
import pytest
import torch

from pacx.core.errors import DataError
from pacx.modalities.ecg_measurements.job import measured_table
from pacx.modalities.ecg_signal.ecg_file import EcgRef
from pacx.modalities.ecg_signal.facts import EcgUnit
from pacx.modalities.ecg_signal.job import EcgJob, prepare_usable
from pacx.modalities.ecg_signal.readers import ecg_sources
from pacx.modalities.ecg_signal.recordings import EcgRecordings, check_lead_order, check_voltage
from pacx.modalities.ecg_signal.sources import source_of
from pacx.modalities.modality import EmbeddingSettings
from pacx.models.ecg.founder import ECGFounder
from pacx.models.ecg.input import ECG_FOUNDER_INPUT
from pacx.models.ecg.mae import EcgMaskedAutoencoder
from pacx.models.ecg.mae_config import TINY_ECG_MAE


@pytest.fixture(scope="module")
def rows(shared):
    with (shared / "data/ecg/index.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["npz"]]


@pytest.fixture(scope="module")
def originals(shared, rows):
    paths = [shared / "data/ecg" / row["wfdb"] for row in rows if row["wfdb"]]
    return ecg_sources([EcgRef(path.with_suffix(".hea")) for path in paths])


def test_wfdb_files_agree_with_the_arrays(shared, rows, originals):
    stored = {}
    for row in rows:
        if row["wfdb"]:
            with np.load(shared / "data/ecg" / row["npz"]) as arrays:
                stored[row["record"]] = arrays["ecg"][int(row["npz_row"])] / 1000
    read = originals.piece(np.arange(len(originals.sample_ids))).records(10.0)
    for record, ours in zip(originals.sample_ids, read, strict=True):
        np.testing.assert_allclose(ours.twelve()[:, :5000], stored[record], atol=0.0011, err_msg=record)
    assert len(originals.sample_ids) == len(stored) >= 8


@pytest.fixture(scope="module")
def everything(shared):
    ids, signals = [], []
    for path in sorted((shared / "data/ecg").glob("*_500hz.npz")):
        with np.load(path) as arrays:
            ids += [f"{path.stem}/{record}" for record in arrays["record"]]
            signals.append(arrays["ecg"])
    return EcgRecordings(tuple(ids), np.concatenate(signals), unit=EcgUnit.MICROVOLT)


def test_lead_identities_hold_in_every_database_and_an_exchange_is_found(everything):
    check_lead_order(everything, "real recordings")
    exchanged = everything.signals[:, [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]]
    with pytest.raises(DataError, match="aVL and aVF are exchanged"):
        check_lead_order(EcgRecordings(everything.sample_ids, exchanged, unit=EcgUnit.MICROVOLT), "real recordings")


@pytest.fixture(scope="module")
def ecg_founder(shared):
    fill = runpy.run_path(str(shared / "golden" / "fill.py"))["fill"]
    with torch.device("meta"):
        network = ECGFounder(12)
    state = {
        key: torch.from_numpy(fill(key, tuple(value.shape), seed=7)).to(value.dtype)
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state, strict=True, assign=True)
    return network


def test_every_record_gets_an_embedding_of_its_own(originals, ecg_founder):
    assert ecg_founder.preprocessing == ECG_FOUNDER_INPUT
    for model, width in ((ecg_founder, 1024), (EcgMaskedAutoencoder(TINY_ECG_MAE, seed=0), 96)):
        targets = EcgJob(model, originals).run(EmbeddingSettings())
        assert targets.embeddings.shape == (len(originals.sample_ids), width)
        assert np.isfinite(targets.embeddings).all()
        centered = targets.embeddings - targets.embeddings.mean(0)
        distances = np.linalg.norm(centered[:, None] - centered[None], axis=2) + 1e9 * np.eye(len(originals.sample_ids))
        assert distances.min() > 0.05 * np.linalg.norm(centered, axis=1).mean()


def test_flat_leads_and_a_recording_under_two_names_are_left_out_and_nothing_else(everything):
    """Of 198: index.csv knows the flat leads; nobody knew that one record of the Georgia database is there twice."""
    check_voltage(everything, "real recordings")
    usable = prepare_usable(everything, ECG_FOUNDER_INPUT, max_bad_fraction=0.05)
    reasons = {entry.sample_id.split("/")[1]: entry.reason for entry in usable.quarantined}
    assert reasons == {
        "JS20004": "is flat in lead V2, V4, V6",
        "JS20008": "is flat in lead V2, V4, V6",
        "JS45551": "is flat in lead V4, V5, V6",
        "E07510": "is sample for sample the recording of georgia_500hz/E07509",
    }
    assert len(usable.sample_ids) == 194
    with pytest.raises(DataError, match="4 of 198 ECG recordings cannot be used"):
        prepare_usable(everything, ECG_FOUNDER_INPUT)
    millivolts = EcgRecordings(everything.sample_ids, everything.signals, unit=EcgUnit.MILLIVOLT)
    with pytest.raises(DataError, match="far too large"):
        check_voltage(millivolts, "real recordings")


def test_measures_are_a_persons_and_agree_with_what_physicians_called_the_rhythm(everything, shared):
    """Rates, intervals and order by diagnosis; PR is measured where there is a P wave, and hardly in fibrillation."""
    with (shared / "data/ecg/index.csv").open(newline="") as file:
        called = {row["record"]: set(row["dx_abbrev"].split("|")) for row in csv.DictReader(file)}
    table = measured_table(source_of(everything), EmbeddingSettings(max_bad_fraction=0.03))
    assert len(table) >= 0.97 * len(everything)
    taken = dict(zip(table.panel.keys, table.values.T, strict=True))
    bounds = {"heart_rate": (30, 220), "qrs_duration": (50, 200), "qtc_fridericia": (280, 600), "qrs_limb": (0.2, 4)}
    for key, (low, high) in bounds.items():
        known = taken[key][np.isfinite(taken[key])]
        assert len(known) > 0.95 * len(table), key
        assert np.quantile(known, [0.01, 0.99]).tolist() == pytest.approx(
            np.quantile(known, [0.01, 0.99]).clip(low, high)
        )

    def those(name):
        return np.array([name in called[sample.partition("/")[2]] for sample in table.sample_ids])

    normal, fibrillating, slow, fast, block = map(those, ("NSR", "AF", "SB", "STach", "RBBB"))
    assert np.median(taken["heart_rate"][slow]) < 60 < 100 < np.median(taken["heart_rate"][fast])
    assert np.median(taken["rr_rmssd"][fibrillating]) > 4 * np.median(taken["rr_rmssd"][normal])
    assert (
        np.isnan(taken["pr_interval"][normal]).mean() < 0.1 < 0.8 < np.isnan(taken["pr_interval"][fibrillating]).mean()
    )
    assert np.median(taken["qrs_duration"][normal]) < 100 < 110 < np.median(taken["qrs_duration"][block])
    assert 120 < np.nanmedian(taken["pr_interval"][normal]) < 200
