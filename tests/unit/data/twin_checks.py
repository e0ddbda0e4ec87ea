"""What the tests of all simulated twins ask: read as written, packed, and learnt from."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pacx.core.preprocessing import Preprocessing
from pacx.data.checks.doctor import examine
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import Dataset
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.simulation.twin import TWIN_FILE, TwinConfig, twins, write_twin

_POOLED_SIDE_PX = 16


def write(name: str, root: Path, *, num_patients: int = 48, image_size_px: int = 32, **config: Any) -> Path:
    write_twin(twins()[name], root, TwinConfig(num_patients=num_patients, image_size_px=image_size_px, **config))
    return root


def read(dataset: Dataset[Any], root: Path, **options: object) -> Records:
    return dataset.read(root, dataset.options_type(**options))


def assert_counts_agree(root: Path, records: Records) -> None:
    """What was read is what the twin says it wrote, and the twin's words are all that can be counted."""
    assert json.loads((root / TWIN_FILE).read_text())["counts"] == dict(tally(records))


def assert_doctor_is_content(dataset: Dataset[Any], root: Path, **options: object) -> None:
    diagnosis = examine(
        dataset, root, dataset.options_type(**options), state=root.parent / "doctor-state", num_samples=24
    )
    assert diagnosis.issues == ()
    assert diagnosis.is_twin
    assert diagnosis.num_checked == 24


def probe_auroc(records: Records, out: Path) -> dict[str, float]:
    """Pack, and probe coarse pixels: AUROC on the test films per label (NaN where it cannot be scored) and "macro"."""
    pack = pack_records(records, out, preprocessing=Preprocessing(image_size_px=_POOLED_SIDE_PX))
    assert not pack.quarantined
    pixels = np.asarray(pack.images, np.float32).reshape(len(pack.images), -1) / 255
    rows = linear_probe(
        ClassificationData.from_pack(pack, dataset="twin"),
        {"pixels": pixels},
        Comparison(dataset="twin", provenance="test", num_draws=1),
        config=ProbeConfig(standardize=True, num_seeds=1, epochs=30, learning_rates=(1e-2,)),
    )
    return {row.label: row.value for row in rows if row.metric == "auroc"}
