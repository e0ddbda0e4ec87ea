"""The plan for a host: measured once, kept, made anew when anything it rests on changed, never one that disagrees."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pacx.core.errors import ModelError, UsageError
from pacx.exporting.quantized_graph import write_quantized
from pacx.inference import host_choice
from pacx.inference.engines import Runtime
from pacx.inference.export_folder import GraphInput, GraphOutput, Precision, describe_graph, load_export, write_about
from pacx.inference.host_choice import Measured, Plan, candidates, choose, measure, smooth_films
from pacx.inference.onnx_encoder import OnnxEncoder
from pacx.models.rollout import _FLAT
from pacx.serving import runtime
from pacx.serving.runtime import FilmQuestion, ServedEncoder, scaled_maps


def test_the_choice_is_the_fastest_and_is_kept(export: Path, tmp_path: Path) -> None:
    loaded = load_export(export)
    plan, measured = choose(loaded, None, 4, tmp_path)
    assert {each.plan for each in measured} == set(candidates(loaded, None))
    assert plan == max(measured, key=lambda each: each.films_per_s).plan
    (kept,) = tmp_path.iterdir()
    values = json.loads(kept.read_text())
    values["measured"] = [values["measured"][0] | {"films_per_s": 1e9, "agrees": True}]
    kept.write_text(json.dumps(values))
    again, from_cache = choose(loaded, None, 4, tmp_path)
    assert (len(from_cache), from_cache[0].films_per_s, again) == (1, 1e9, from_cache[0].plan)
    choose(loaded, None, 2, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # other batches, another measurement


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"format_version": 1, "measured": [{"plan": {}}]}'])
def test_a_damaged_cache_is_measured_anew(export: Path, tmp_path: Path, damage: str) -> None:
    loaded = load_export(export)
    choose(loaded, None, 1, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text(damage)
    _, measured = choose(loaded, None, 1, tmp_path)
    assert measured
    assert json.loads(kept.read_text())["measured"]


def test_a_cache_that_cannot_be_written_costs_nothing_else(export: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert choose(load_export(export), None, 1, tmp_path / "file" / "cache")[1]


def test_what_disagrees_is_never_chosen(export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_export(export)
    fast, slow = (Plan(runtime=Runtime.ONNXRUNTIME, precision=p, num_threads=1, num_streams=1) for p in Precision)
    found = [
        Measured(plan=fast, films_per_s=100, agrees=False),
        Measured(plan=slow, films_per_s=1, agrees=True),
    ]
    monkeypatch.setattr(host_choice, "measure", lambda *_: found)
    assert choose(loaded, None, 1, tmp_path / "a")[0] == slow
    found.pop()
    with pytest.raises(ModelError, match="on this host"):
        choose(loaded, None, 1, tmp_path / "b")


def test_agreement_is_measured(export: Path) -> None:
    reference = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
    for precision, disturbance, agrees in (
        (Precision.FP32, 5e-5, True),
        (Precision.FP32, 2e-4, False),
        (Precision.INT8, 0.05, True),
        (Precision.INT8, 1.0, False),
    ):
        turned = reference + disturbance * np.roll(np.sign(reference), 1, axis=1)
        assert host_choice._agrees(precision, turned, reference) == agrees
    assert not host_choice._agrees(Precision.INT8, np.full_like(reference, np.nan), reference)


def test_int8_is_measured_beside_fp32_and_served(export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(export, folder)
    write_quantized(folder / "onnx" / "fp32.onnx", folder / "onnx" / "int8.onnx")
    before = load_export(folder)
    eight = describe_graph(
        folder, "onnx/int8.onnx", precision=Precision.INT8, takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING
    )
    write_about(folder, name="both", embedding_dim=32, graphs=(*before.graphs, eight), provenance={})
    both = load_export(folder)
    measured = measure(both, candidates(both, None), 4)
    assert {each.plan.precision for each in measured} == set(Precision)
    assert all(each.agrees for each in measured)
    assert {plan.precision for plan in candidates(both, Precision.INT8)} == {Precision.INT8}
    with pytest.raises(UsageError, match="no int8 graph"):
        candidates(load_export(export), Precision.INT8)
    films = smooth_films(3, 64)
    for precision, tolerance in ((Precision.FP32, 1e-5), (Precision.INT8, 0.2)):
        plan = next(plan for plan in candidates(both, precision))
        encoder = ServedEncoder("both", both, plan)
        answers = encoder.answer([FilmQuestion(film, wants_attention=row == 1) for row, film in enumerate(films)])
        graph = both.find(GraphOutput.EMBEDDING)
        assert graph is not None
        expected = OnnxEncoder(both, graph)(films)
        assert np.abs(np.stack([answer.embedding for answer in answers]) - expected).max() < tolerance
        assert [answer.attention is not None for answer in answers] == [False, True, False]


def test_flat_maps_are_zero_and_others_span_everything() -> None:
    assert runtime._FLAT == _FLAT
    grids = np.stack([np.full((3, 3), 0.1), np.arange(9.0).reshape(3, 3)]).astype(np.float32)
    grids[0, 0, 0] *= 1 + _FLAT / 10
    flat, full = scaled_maps(grids)
    assert not flat.any()
    assert np.allclose(full, np.arange(9).reshape(3, 3) / 8)
