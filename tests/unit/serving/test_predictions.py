"""The table of predictions: a column per finding and end, the same numbers in every format."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.cli.verbs import predict
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.inference.answers import ModelAnswer
from pacx.inference.heads import load_heads
from pacx.inference.predictions import check_table_path, columns, write_table
from pacx.models.encoders.folder import save_encoder
from pacx.models.heads.classifier import Classifier, save_classifier
from pacx.models.heads.readouts import ReadoutHead, save_readouts
from pacx.models.heads.reference import Reference, save_reference
from pacx.models.vit import Pooling, ViTConfig, random_vit

FILMS = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoder") / "encoder"
    vit = random_vit(ViTConfig(img_size=32, embed_dim=8, depth=1, num_heads=2), seed=0)
    contract = Preprocessing(image_size_px=32)
    save_encoder(vit, out, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# A", provenance={})
    with pytest.raises(UsageError, match="has no heads"):
        predict.main([str(out), str(out / "config.json"), "--out", str(out.parent / "table.csv")])
    rng = np.random.default_rng(1)
    weight, bias = rng.standard_normal((5, 8, 1)).astype(np.float32), np.zeros((5, 1), np.float32)
    save_classifier(
        out, Classifier(labels=("Edema",), weight=weight, bias=bias, is_multiclass=False, level=0.9, fitted_on="")
    )
    quantiles, chances = np.linspace(0, 10, 11), np.linspace(0, 1, 11)
    save_readouts(
        out,
        {
            "potassium": ReadoutHead(np.eye(8)[0], 0.0, quantiles, chances, 0.5, 0.8, 0.9, False),
            "open": ReadoutHead(np.eye(8)[0], 0.0, quantiles, chances, math.inf, 1.0, 0.9, False),
            "chloride": ReadoutHead(np.eye(8)[0], 0.0, quantiles, chances, 0.5, 0.99, 0.9, True),
        },
    )
    reference = Reference(mean=np.zeros(8), factor=np.eye(8), held_out=np.arange(199.0) / 100, fitted_on="")
    save_reference(out, reference)
    return out


def test_every_head_has_its_columns(folder: Path) -> None:
    heads = load_heads(folder)
    assert heads.abstaining == ("chloride",)
    found = columns(heads, FILMS)
    assert list(found) == [
        *("Edema", "Edema:low", "Edema:high", "potassium", "potassium:low", "potassium:high"),
        *("open", "open:low", "open:high", "distance", "percentile", "is_unusual"),
    ]
    wanted = heads.classifier.predict(FILMS)[:, 0]
    ends = np.stack([found[f"Edema{end}"] for end in (":low", "", ":high")], axis=1)
    np.testing.assert_allclose(ends, wanted, rtol=1e-12)
    assert found["open:low"] == [None] * 3
    np.testing.assert_allclose(found["distance"], np.linalg.norm(FILMS.astype(float), axis=1))
    assert all(type(value) is bool for value in found["is_unusual"])


def test_a_quantity_named_by_its_item_is_a_column_by_item_and_an_answer_by_name(folder: Path) -> None:
    heads = load_heads(folder)
    sodium = replace(heads, readouts={"50983": heads.readouts["potassium"]})
    assert "50983:low" in columns(sodium, FILMS)
    (reading,) = ModelAnswer(embedding=FILMS[0], readouts=sodium.readings(FILMS)[0]).to_json(with_embedding=False)[
        "readouts"
    ]
    assert reading["name"] == "Sodium, mEq/L"
    assert reading["value"] == columns(sodium, FILMS)["50983"][0]


def test_the_formats_say_the_same(folder: Path, tmp_path: Path) -> None:
    table = {"path": ["a", "b,c", 'd"e'], **columns(load_heads(folder), FILMS)}
    for suffix in ("csv", "jsonl", "parquet"):
        write_table(tmp_path / f"table.{suffix}", table)
    with (tmp_path / "table.csv").open(newline="") as file:
        by_csv = list(csv.DictReader(file))
    by_json = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    by_parquet = pd.read_parquet(tmp_path / "table.parquet")
    assert [row["path"] for row in by_csv] == table["path"] == [row["path"] for row in by_json]
    for number in range(3):
        assert float(by_csv[number]["Edema"]) == by_json[number]["Edema"] == by_parquet["Edema"][number]
        assert by_csv[number]["open:low"] == ""
        assert by_json[number]["open:low"] is None
    assert list(by_parquet) == list(table)


def test_a_table_that_cannot_be_written_is_refused_before_the_work() -> None:
    with pytest.raises(UsageError, match=r"ends in '\.xlsx'"):
        check_table_path(Path("table.xlsx"))
    check_table_path(Path("table.CSV"))
