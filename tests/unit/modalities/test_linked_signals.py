"""ECGs and laboratory values of linked films: each under its film's id, as the links chose it, with its patient."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ecg_loading import loaded

from pacx.core.errors import DataError, UsageError
from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS, MIMIC_ECG_LEADS
from pacx.modalities.ecg_signal.facts import NO_FACTS
from pacx.modalities.ecg_signal.linked import recordings_of
from pacx.modalities.labs import read_labs_of
from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.panel.reading import TableReading
from pacx.modalities.patients import Patients
from pacx.simulation.signals.ecg_files.wfdb import save_wfdb

FILMS = ("film-a", "film-b", "film-c")
NOBODY = Patients()


@pytest.fixture
def signals() -> np.ndarray:
    """Three recordings (3, 12, 5000) in mV whose limb leads keep the identities, in steps of 5 microvolt."""
    drawn = np.random.default_rng(0).integers(-100, 100, (3, 12, 5000)) * 0.01
    one, two = drawn[:, 0], drawn[:, 1]
    drawn[:, 2], drawn[:, 3], drawn[:, 4], drawn[:, 5] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
    return drawn


@pytest.fixture
def links(tmp_path: Path, signals: np.ndarray) -> Path:
    """Film b has no ECG, film c no value, and films a and c are of one patient."""
    order = [ECG_LEADS.index(lead) for lead in MIMIC_ECG_LEADS]
    for number, signal in enumerate(signals):
        save_wfdb(tmp_path / "ecg" / "files" / f"s{number}" / f"{number}", signal[order], MIMIC_ECG_LEADS, 500)
    values = pd.DataFrame(np.nan, index=range(3), columns=[str(item) for item in LAB_ITEM_IDS])
    values.loc[:1, "50912"], values.loc[0, "50971"] = [0.9, 3.1], 4.4
    ids = {
        "subject_id": [7, 8, 7],
        "dicom_id": FILMS,
        "film_path": FILMS,
        "ecg_path": ["files/s2/2", None, "files/s0/0"],
    }
    folder = tmp_path / "links"
    folder.mkdir()
    pd.concat([pd.DataFrame(ids), values], axis=1).to_parquet(folder / "pairs.parquet")
    story = {"format_version": 1, "items": list(values.columns), "flow": {}}
    (folder / "links.json").write_text(json.dumps(story))
    return folder


def test_an_ecg_is_called_by_its_film_and_read_from_where_the_links_say(links: Path, signals: np.ndarray) -> None:
    recordings = recordings_of(links.parent / "ecg", links, patients=NOBODY, facts=NO_FACTS)
    assert recordings.sample_ids == ("film-a", "film-c")
    assert recordings.patient_ids == ("7", "7")
    first, second = loaded(recordings).signals
    np.testing.assert_allclose(first, signals[2], atol=0.003)
    np.testing.assert_allclose(second, signals[0], atol=0.003)
    assert any("2 of 3 films have an ECG" in note for note in recordings.notes)


def test_values_are_those_of_the_links_in_the_order_of_the_panel(links: Path) -> None:
    table = read_labs_of((), links, TableReading(), NOBODY)
    assert isinstance(table, PanelTable)
    assert table.sample_ids == ("film-a", "film-b")
    assert table.patient_ids == ("7", "8")
    assert table.values[:, LAB_ITEM_IDS.index(50912)].tolist() == [0.9, 3.1]
    assert np.isnan(table.values).sum() == 2 * 50 - 3
    assert any("2 of 3 films have labs" in note for note in table.notes), table.notes


def test_a_value_that_stands_for_none_is_none_and_too_many_are_refused(links: Path) -> None:
    pairs = pd.read_parquet(links / "pairs.parquet")
    pairs.loc[0, "50971"] = -999.0
    pairs.to_parquet(links / "pairs.parquet")
    with pytest.raises(DataError, match="1 of 3 values are no numbers"):
        read_labs_of((), links, TableReading(), NOBODY)
    table = read_labs_of((), links, TableReading(max_bad_fraction=0.5), NOBODY)
    assert np.isnan(table.values).sum() == 2 * 50 - 2


def test_a_table_and_links_or_neither_are_refused(links: Path) -> None:
    for tables, given in (((Path("labs.csv"),), links), ((), None)):
        with pytest.raises(UsageError, match="give --table or --links, one of them"):
            read_labs_of(tables, given, TableReading(), NOBODY)
    with pytest.raises(UsageError, match="window_h say nothing about"):
        read_labs_of((), links, TableReading(window_h=2.0), NOBODY)


def test_links_without_a_kind_of_data_say_so(links: Path) -> None:
    pairs = pd.read_parquet(links / "pairs.parquet")
    pairs.assign(ecg_path=None, **{str(item): np.nan for item in LAB_ITEM_IDS}).to_parquet(links / "pairs.parquet")
    with pytest.raises(DataError, match=r"no film of .* has an ECG; link with recordings"):
        recordings_of(links.parent / "ecg", links, patients=NOBODY, facts=NO_FACTS)
    with pytest.raises(DataError, match=r"no film of .* has one of the 50 .*; link with measurements"):
        read_labs_of((), links, TableReading(), NOBODY)
