"""The plan for a host: measured once, kept, made anew when anything it rests on changed, never one that disagrees."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from pacx.core.artifacts import sha256_of
from pacx.core.errors import ModelError, UsageError
from pacx.inference import host_choice
from pacx.inference.checks import Checks
from pacx.inference.engines import Runtime
from pacx.inference.export_folder import Precision, load_export, write_about
from pacx.inference.host_choice import Measured, Plan, candidates, choose, measure, smooth_films
from pacx.inference.onnx_encoder import OnnxEncoder, open_embedder
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


def test_agreement_is_measured() -> None:
    reference = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
    checks = Checks(films=smooth_films(4, 8), embeddings=reference)
    for precision, disturbance, agrees in (
        (Precision.FP32, 5e-5, True),
        (Precision.FP32, 2e-4, False),
        (Precision.INT8, 0.05, True),
        (Precision.INT8, 1.0, False),
    ):
        turned = reference + disturbance * np.roll(np.sign(reference), 1, axis=1)
        assert checks.agree(precision, turned) == agrees
    assert not checks.agree(Precision.INT8, np.full_like(reference, np.nan))


def test_int8_is_measured_beside_fp32_and_served(export: Path, export_with_8_bits: Path) -> None:
    both = load_export(export_with_8_bits)
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
        expected = OnnxEncoder(both, both.embedding_graph(Precision.FP32))(films)
        assert np.abs(np.stack([answer.embedding for answer in answers]) - expected).max() < tolerance
        assert [answer.attention is not None for answer in answers] == [False, True, False]


@pytest.mark.parametrize(("eight_bits", "chosen"), [(129.0, Precision.FP32), (131.0, Precision.INT8)])
def test_eight_bits_have_to_be_clearly_faster(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eight_bits: float, chosen: Precision
) -> None:
    found = [
        Measured(
            plan=Plan(runtime=Runtime.ONNXRUNTIME, precision=precision, num_threads=1, num_streams=1),
            films_per_s=speed,
            agrees=True,
        )
        for precision, speed in ((Precision.FP32, 100.0), (Precision.INT8, eight_bits))
    ]
    monkeypatch.setattr(host_choice, "measure", lambda *_: found)
    assert choose(load_export(export), None, 1, tmp_path)[0].precision is chosen


def test_graphs_that_mix_films_are_not_offered(export_with_8_bits: Path, tmp_path: Path) -> None:
    """As 0.1.0 and 0.2.0 wrote them: one scale of activations for a whole batch."""
    folder = tmp_path / "old"
    shutil.copytree(export_with_8_bits, folder)
    quantize_dynamic(
        folder / "onnx" / "fp32.onnx", folder / "onnx" / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8
    )
    about = json.loads((folder / "export.json").read_text())
    for graph in about["graphs"]:
        del graph["films_per_run"]
        graph["sha256"] = sha256_of(folder / graph["file"])
    del about["checks_sha256"]
    (folder / "export.json").write_text(json.dumps(about))
    old = load_export(folder)
    assert {plan.precision for plan in candidates(old, None)} == {Precision.FP32}
    assert choose(old, None, 2, tmp_path / "cache")[0].precision is Precision.FP32
    for ask in (lambda: candidates(old, Precision.INT8), lambda: open_embedder(folder, Precision.INT8)):
        with pytest.raises(UsageError, match="depends on the films beside it; export the encoder again"):
            ask()


def test_a_host_is_held_to_what_was_exported(export_with_8_bits: Path, tmp_path: Path) -> None:
    """A runtime of fewer bits is played by embeddings that were kept and are a little others."""
    for name, disturbance, agreeing in (
        ("same", 0.0, {Precision.FP32, Precision.INT8}),
        ("fewer bits", 1e-3, {Precision.INT8}),
        ("another", 10.0, set()),
    ):
        folder = tmp_path / name
        shutil.copytree(export_with_8_bits, folder)
        both = load_export(folder)
        films = smooth_films(3, 64)
        embeddings = OnnxEncoder(both, both.embedding_graph(Precision.FP32))(films)
        embeddings[1, 3] += disturbance
        (folder / "onnx" / "checks.safetensors").write_bytes(Checks(films=films, embeddings=embeddings).to_bytes())
        write_about(folder, name="both", embedding_dim=32, graphs=both.graphs, provenance={})
        kept = load_export(folder)
        measured = measure(kept, candidates(kept, None), 2)
        assert {each.plan.precision for each in measured if each.agrees} == agreeing, name
        (folder / "onnx" / "checks.safetensors").write_bytes(b"")
        with pytest.raises(ModelError, match="is not the file that was exported"):
            load_export(folder)


def test_flat_maps_are_zero_and_others_span_everything() -> None:
    assert runtime._FLAT == _FLAT
    grids = np.stack([np.full((3, 3), 0.1), np.arange(9.0).reshape(3, 3)]).astype(np.float32)
    grids[0, 0, 0] *= 1 + _FLAT / 10
    flat, full = scaled_maps(grids)
    assert not flat.any()
    assert np.allclose(full, np.arange(9).reshape(3, 3) / 8)
