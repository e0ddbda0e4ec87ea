"""The simulated MIMIC, linked by Symile's rule, gives the values that the twin of Symile-MIMIC was cut from."""

from pathlib import Path

import numpy as np
import pandas as pd

from pacx.cli.main import main
from pacx.core.vocabulary import LAB_ITEM_IDS, MIMIC_ECG_LEADS
from pacx.linking.links import Links
from pacx.modalities.ecg_signal.formats.wfdb import imported_wfdb
from pacx.simulation.twin import TwinConfig, twins, write_twin

CONFIG = TwinConfig(num_patients=20, image_size_px=32)


def linked(root: Path, rule: str) -> Links:
    hospital = {"hosp": "mimiciv/hosp", "mimic-cxr-jpg": "mimic-cxr-jpg", "mimic-iv-ecg": "mimic-iv-ecg"}
    places = [word for name, place in hospital.items() for word in (f"--{name}", str(root / "mimic" / place))]
    main(["data", "link", "mimic-iv", *places, "--rule", rule, "--out", str(root / f"links-{rule}")])
    return Links.open(root / f"links-{rule}")


def test_tables_films_and_recordings_give_the_triplets_of_the_other_twin(tmp_path: Path) -> None:
    write_twin(twins()["mimic-cxr-jpg"], tmp_path / "mimic", CONFIG)
    write_twin(twins()["symile-mimic"], tmp_path / "symile", CONFIG)
    pairs = linked(tmp_path, "symile").pairs.set_index("hadm_id")
    triplets = pd.read_csv(tmp_path / "symile/symile-mimic/1.0.0/symile_mimic_data.csv").set_index("hadm_id")
    both = pairs.index.intersection(triplets.index)
    # Whoever is missing has a film whose study has no labels.
    assert 0.7 * len(triplets) < len(both) <= len(triplets)
    items = [str(item) for item in LAB_ITEM_IDS]
    np.testing.assert_array_equal(pairs.loc[both, items].astype(float), triplets.loc[both, items].astype(float))
    assert pairs.loc[both, "dicom_id"].tolist() == triplets.loc[both, "cxr_dicom_id"].tolist()
    assert pairs.loc[both, "film_path"].tolist() == triplets.loc[both, "cxr_path"].tolist()
    assert len(pairs) > len(both), "second stays, which Symile's twin does not have, give pairs too"

    folder = tmp_path / "symile/symile-mimic/1.0.0/data_npy/train"
    scaled = dict(zip(np.load(folder / "hadm_id_train.npy").tolist(), np.load(folder / "ecg_train.npy"), strict=True))
    compared = [admission for admission in both if admission in scaled]
    assert len(compared) > 5
    for admission in compared:
        record = imported_wfdb().rdrecord(str(tmp_path / "mimic/mimic-iv-ecg" / pairs.loc[admission, "ecg_path"]))
        assert tuple(record.sig_name) == MIMIC_ECG_LEADS
        lowest, highest = record.p_signal.min(), record.p_signal.max()
        as_shipped = 2 * (record.p_signal - lowest) / (highest - lowest) - 1
        np.testing.assert_allclose(as_shipped, scaled[admission][0], atol=0.01)


def test_recordings_without_a_signal_come_first_and_are_passed_over(tmp_path: Path) -> None:
    write_twin(twins()["mimic-cxr-jpg"], tmp_path / "mimic", CONFIG)
    said = " ".join(linked(tmp_path, "film").flow.lines())
    assert "nothing but zeros" in said
    assert "an invalid sample" in said
