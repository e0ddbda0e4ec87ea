"""Stage 2 in closed form: what is released, what is refused, and what its controls are told."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import pacx
from pacx.cli.main import main
from pacx.core.artifacts import sha256_of
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import generator
from pacx.data.augment import to_input
from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_pack
from pacx.exporting.export import ExportConfig, export_encoder
from pacx.inference.onnx_encoder import open_embedder
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.by_name import open_encoders
from pacx.models.encoders.directions_encoder import open_encoder_folder
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.fingerprint import weights_sha256
from pacx.models.heads.directions import load_directions
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.recipes import recipe
from pacx.recipes.closed_form import ClosedFormRandomRun, ClosedFormRun, ClosedFormShuffledRun
from pacx.training.task_config import ClosedFormConfig
from pacx.training.tasks.closed_form import FilmPairs, fit_closed_form

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


@pytest.fixture(scope="module")
def run(blob_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> ClosedFormRun:
    """A run over blobs whose ECG depends on the film, in another order than the films, and whose labs are noise."""
    here = tmp_path_factory.mktemp("closed")
    quadrants = blob_pack.images[:].reshape(-1, 2, 16, 2, 16).mean((2, 4)).reshape(-1, 4)
    quadrants = (quadrants - quadrants.mean(0)) / quadrants.std(0)
    shuffled = generator(0, "shuffle").permutation(len(quadrants))
    ids = tuple(blob_pack.sample_ids[shuffled])
    ecg = quadrants @ generator(0, "ecg").normal(size=(4, 6)) + 0.5
    ecg = np.column_stack([ecg, ecg[:, 0], np.full(len(ecg), 0.25)])  # one twice, one constant
    noise = generator(0, "labs").normal(size=(len(quadrants), 5))
    FrozenTargets("ecg", ids, ecg[shuffled].astype(np.float32), "a-b-c").save(here / "ecg")
    FrozenTargets("labs", ids, noise.astype(np.float32), "d-e-f").save(here / "labs")
    contract = blob_pack.preprocessing
    save_encoder(
        random_vit(MODEL, 0),
        here / "mae",
        preprocessing=contract,
        pooling=Pooling.CLASS_TOKEN,
        card="",
        provenance={},
    )
    made = recipe("distill-closed-form")
    assert isinstance(made, ClosedFormRun)
    return replace(
        made,
        encoder=here / "mae",
        pack=blob_pack.path,
        targets=(here / "ecg", here / "labs"),
        out=here / "run",
        device="cpu",
    )


@pytest.fixture(scope="module")
def done(run: ClosedFormRun) -> dict[str, float]:
    return run.run().validation


def test_what_the_film_shows_is_predicted_and_noise_is_dropped(run: ClosedFormRun, done: dict[str, float]) -> None:
    assert done["pairs_ecg"] == done["pairs_labs"] == 48
    assert 2 <= done["directions_ecg"] <= 4  # of four quadrants, whatever the number of columns
    assert done["r2_ecg"] > 0.5
    assert done["held_out_r2_ecg"] > 0.1  # of twelve films
    assert done["directions_labs"] <= 2
    assert done["directions"] + done["directions_left_out"] == 9
    assert done["predicted_by_both"] > 1
    told = json.loads((run.out / "directions.json").read_text())
    assert [each["name"] for each in told][:5] == ["ecg 1", "ecg 2", "ecg 3", "ecg 4", "labs 1"]
    assert sum(each["penalty"] is not None for each in told) == done["directions"]
    summary = json.loads((run.out / "summary.json").read_text())
    assert summary["validation"]["r2_ecg"] == done["r2_ecg"]
    assert summary["elapsed_s"] > 0


def test_timm_opens_the_folder_and_its_head_is_the_map_of_one_pooling(
    run: ClosedFormRun, done: dict[str, float], blob_pack: Pack
) -> None:
    folder = run.out / "encoder"
    ours, before = load_encoder(folder), load_encoder(run.encoder)
    kept = ours.vit.state_dict()
    assert all(torch.equal(kept[key], tensor) for key, tensor in before.vit.state_dict().items())
    images = to_input(torch.from_numpy(np.array(blob_pack.images)), ours.preprocessing)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        pooled = ours.embed_images(images)
        weights = theirs.state_dict()
        expected = pooled @ weights["head.weight"].T + weights["head.bias"]
        torch.testing.assert_close(theirs(images), expected, rtol=1e-5, atol=1e-5)
        plain = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
        torch.testing.assert_close(plain(images), pooled, rtol=1e-5, atol=1e-5)
        given = theirs(images).numpy()
    assert given.shape == (60, done["directions"])
    fitting = blob_pack.rows("train")
    ids = blob_pack.sample_ids[fitting].tolist()
    targets = {each.modality: each.for_samples(ids) for each in map(FrozenTargets.open, run.targets)}
    again = fit_closed_form(
        FilmPairs(
            class_tokens=np.load(run.out / "features" / "class_tokens.npy")[: len(fitting)],
            patch_means=np.load(run.out / "features" / "patch_means.npy")[: len(fitting)],
            targets=targets,
            observed={name: np.full(len(fitting), True) for name in targets},
            patient_ids=blob_pack.patient_ids[fitting],
        ),
        run.task,
    )
    predicted = again.fits[ours.pooling].predict(embed_pack(ours, blob_pack))[:, again.kept]
    assert np.allclose(given, predicted, atol=1e-5)
    by_pooling = {Pooling.CLASS_TOKEN: done["predicted_by_token"], Pooling.PATCH_MEAN: done["predicted_by_mean"]}
    assert by_pooling[ours.pooling] == max(by_pooling.values())


def test_every_door_gives_the_directions_of_both_poolings(
    run: ClosedFormRun, done: dict[str, float], blob_pack: Pack
) -> None:
    folder = run.out / "encoder"
    words = [f"both={folder}", f"token={folder}#token", f"mean={folder}#mean", "random"]
    both, token, mean, unseen = (embed_pack(each.encoder, blob_pack) for each in open_encoders(words, seed=0))
    head = load_directions(folder)
    assert both.shape == (60, done["directions"])
    assert len(head.names) == done["directions"]
    assert np.allclose(both, head.predict(token, mean), atol=1e-5)
    assert token.shape == unseen.shape == (60, 24)
    encoder = pacx.load_encoder(folder)
    assert encoder.pooling is None
    assert np.allclose(encoder.embed(list(blob_pack.images[:3])), both[:3], atol=1e-5)
    assert encoder.embed([]).shape == (0, done["directions"])
    assert encoder.pooled_by(Pooling.PATCH_MEAN).embed(list(blob_pack.images[:3])).shape == (3, 24)
    assert encoder.weights_sha256 != weights_sha256(load_encoder(folder).vit), "or results of other maps would be kept"
    truth = FrozenTargets.open(run.targets[0]).for_samples(blob_pack.sample_ids.tolist())
    held_out = blob_pack.rows("val")
    # the predicted directions span what the ECG is made of: a regression on them alone finds it on held-out films
    design = np.column_stack([np.ones(60), both])
    fitting = blob_pack.rows("train")
    weight = np.linalg.lstsq(design[fitting], truth[fitting], rcond=None)[0]
    error = ((truth[held_out] - design[held_out] @ weight) ** 2).sum()
    assert error < 0.6 * ((truth[held_out] - truth[fitting].mean(0)) ** 2).sum()


def test_a_second_call_embeds_nothing_and_gives_the_same_bytes(
    run: ClosedFormRun, done: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    del done
    before = (run.out / "encoder" / "model.safetensors").read_bytes()
    monkeypatch.setattr("pacx.evaluation.embeddings.embed_each", lambda *_, **__: pytest.fail("embedded again"))
    run.run()
    assert (run.out / "encoder" / "model.safetensors").read_bytes() == before


def test_embeddings_of_another_encoder_are_not_taken_for_these(run: ClosedFormRun, done: dict[str, float]) -> None:
    del done
    other, out = run.out.parent / "other", run.out.parent / "of-other"
    save_encoder(
        random_vit(MODEL, 1),
        other,
        preprocessing=load_encoder(run.encoder).preprocessing,
        pooling=Pooling.CLASS_TOKEN,
        card="",
        provenance={},
    )
    shared = run.out.parent / "shared"
    replace(run, out=out, features=shared).run()
    first = np.load(shared / "class_tokens.npy")
    replace(run, out=out, features=shared, encoder=other).run()
    assert not np.allclose(np.load(shared / "class_tokens.npy"), first)
    (run.out.parent / "mine").mkdir()
    with pytest.raises(UsageError, match="no films' embeddings"):
        replace(run, features=run.out.parent / "mine").run()


def test_controls_are_told_otherwise_and_predict_less(run: ClosedFormRun, done: dict[str, float]) -> None:
    told = {"features": run.out / "features", "targets": run.targets[:1]}
    shuffled = run.taught_otherwise(ClosedFormShuffledRun, out=run.out.parent / "shuffled", **told).run().validation
    assert shuffled["predicted_by_both"] < 0.5 * done["predicted_by_both"]
    assert not shuffled["held_out_r2_ecg"] > 0.1  # validation patients keep their own
    random = run.taught_otherwise(ClosedFormRandomRun, out=run.out.parent / "random", **told)
    try:
        assert random.run().validation["predicted_by_both"] < 0.5 * done["predicted_by_both"]
    except DataError as error:
        assert "predict none" in str(error)  # noqa: PT017 - noise may be dropped altogether
    with pytest.raises(UsageError, match="no column colour"):
        run.taught_otherwise(ClosedFormShuffledRun, within=("colour",)).run()


def test_canonical_directions_are_as_many_as_asked(run: ClosedFormRun, done: dict[str, float]) -> None:
    config = replace(run.task, canonical=3, standard_errors=0.0)
    found = replace(run, task=config, out=run.out.parent / "canonical", features=run.out / "features").run().validation
    assert found["directions"] + found["directions_left_out"] == 3
    assert found["r2_canonical"] > 0.5
    assert "r2_ecg" not in found
    assert done["r2_ecg"] > 0


def test_partial_pairs_are_fitted_or_refused(run: ClosedFormRun, done: dict[str, float], blob_pack: Pack) -> None:
    del done
    ecg = FrozenTargets.open(run.targets[0])
    half = run.out.parent / "half"
    FrozenTargets("ecg", ecg.sample_ids[:40], np.array(ecg.embeddings[:40]), "a-b-half").save(half)
    partial = replace(
        run, targets=(half, run.targets[1]), out=run.out.parent / "partial", features=run.out / "features"
    )
    with pytest.raises(DataError, match="no ecg targets for"):
        partial.run()
    found = replace(partial, task=ClosedFormConfig(partial_pairs=True)).run().validation
    assert found["pairs_ecg"] == np.isin(blob_pack.sample_ids[blob_pack.rows("train")], ecg.sample_ids[:40]).sum()
    assert found["pairs_labs"] == 48
    assert found["directions_ecg"] >= 1
    strangers = run.out.parent / "strangers"
    FrozenTargets("ecg", tuple(f"x{i}" for i in range(40)), np.array(ecg.embeddings[:40]), "a-b-x").save(strangers)
    for config, sentence in ((ClosedFormConfig(), "no ecg targets"), (ClosedFormConfig(partial_pairs=True), "0 of 48")):
        with pytest.raises(DataError, match=sentence):
            replace(partial, targets=(strangers,), task=config, out=run.out.parent / "none").run()


def test_validation_films_without_a_target_are_counted(run: ClosedFormRun, done: dict[str, float]) -> None:
    del done
    ecg, pack = FrozenTargets.open(run.targets[0]), Pack.open(run.pack)
    held_out = set(pack.sample_ids[pack.rows("val")][:5].tolist())
    kept = [row for row, sample in enumerate(ecg.sample_ids) if sample not in held_out]
    place = run.out.parent / "without-five"
    FrozenTargets("ecg", tuple(ecg.sample_ids[row] for row in kept), np.array(ecg.embeddings[kept]), "five").save(place)
    told = replace(run, targets=(place,), out=run.out.parent / "five", features=run.out / "features").run()
    assert told.notes == ("5 of 12 validation films have no target in ecg and are not measured",)


def test_whatever_a_kill_leaves_the_same_call_makes_whole(
    run: ClosedFormRun, done: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    del done
    again = replace(run, out=run.out.parent / "killed", features=run.out / "features")
    (again.out / ".partial-0123456789ab-features").mkdir(parents=True)
    with monkeypatch.context() as broken:
        broken.setattr("pacx.training.tasks.closed_form.save_directions", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            again.run()
    assert not (again.out / "encoder").exists(), "without its directions it would pass for the plain encoder"
    again.run()
    assert sha256_of(again.out / "encoder/model.safetensors") == sha256_of(run.out / "encoder/model.safetensors")
    assert sorted(each.name for each in again.out.iterdir()) == [
        "config.json",
        "directions.json",
        "encoder",
        "summary.json",
    ]


@pytest.mark.parametrize("damage", ["cut", "gone", "of fewer films"])
def test_damaged_embeddings_are_made_again(
    run: ClosedFormRun, done: dict[str, float], damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del done
    features = tmp_path / "features"
    shutil.copytree(run.out / "features", features)
    file = features / "patch_means.npy"
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    else:
        np.save(file, np.load(file)[:7])
    replace(run, out=tmp_path / "run", features=features).run()
    assert "not whole, so the films are embedded again" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(file), np.load(run.out / "features" / "patch_means.npy"))


def test_strata_with_missing_values_exchange_among_themselves(
    run: ClosedFormRun, done: dict[str, float], blob_pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    del done
    fitting = blob_pack.rows("train")
    ward = np.where(np.arange(len(blob_pack.table)) % 3 == 0, None, "icu").astype(object)
    number = np.where(np.arange(len(blob_pack.table)) % 2 == 0, np.nan, 1.5)
    monkeypatch.setattr(blob_pack, "table", blob_pack.table.assign(ward=ward, number=number))
    control = run.taught_otherwise(ClosedFormShuffledRun, within=("ward", "number"), targets=run.targets[:1])
    (told,) = control.frozen_targets(blob_pack, fitting)
    real, ids = FrozenTargets.open(run.targets[0]), blob_pack.sample_ids[fitting].tolist()
    row_of = {values.tobytes(): row for row, values in zip(fitting, real.for_samples(ids), strict=True)}
    given = np.array([row_of[values.tobytes()] for values in told.for_samples(ids)])
    assert (given != fitting).all()
    assert [ward[row] for row in given] == [ward[row] for row in fitting]
    assert np.array_equal(np.isnan(number[given]), np.isnan(number[fitting]))


def test_each_modality_of_partial_pairs_is_fitted_to_its_own_films() -> None:
    random = np.random.default_rng(0)
    tokens = random.standard_normal((80, 6)).astype(np.float32)
    ecg = tokens[:, :2] + 0.1 * random.standard_normal((80, 2)).astype(np.float32)
    labs = tokens[:, 2:4] + 0.1 * random.standard_normal((80, 2)).astype(np.float32)
    has = np.arange(80) < 50

    def pairs(chosen: np.ndarray, spoilt: bool) -> FilmPairs:
        values = {"ecg": np.where(has[:, None] | (not spoilt), ecg, 1e6)[chosen], "labs": labs[chosen]}
        return FilmPairs(
            class_tokens=tokens[chosen],
            patch_means=tokens[chosen, :3],
            targets=values,
            observed={"ecg": has[chosen], "labs": np.full(int(chosen.sum()), True)},
            patient_ids=np.arange(80)[chosen],
        )

    both = fit_closed_form(pairs(np.full(80, True), spoilt=True), ClosedFormConfig()).fits[None]
    alone = fit_closed_form(pairs(has, spoilt=False), ClosedFormConfig()).fits[None]
    assert np.allclose(both.weight[:, :2], alone.weight[:, :2])
    assert np.isfinite(both.penalties).all()


def test_more_directions_than_pairs_and_nothing_to_predict() -> None:
    random = np.random.default_rng(0)
    tokens = random.standard_normal((12, 30)).astype(np.float32)

    def pairs(target: np.ndarray) -> FilmPairs:
        return FilmPairs(
            class_tokens=tokens,
            patch_means=tokens,
            targets={"ecg": target.astype(np.float32)},
            observed={"ecg": np.full(12, True)},
            patient_ids=np.arange(12),
        )

    found = fit_closed_form(pairs(tokens @ random.standard_normal((30, 40))), ClosedFormConfig(standard_errors=0.0))
    assert len(found.names) == 11
    with pytest.raises(DataError, match="do not vary"):
        fit_closed_form(pairs(np.full((12, 3), 0.1)), ClosedFormConfig())
    with pytest.raises(DataError, match="predict none for patients left out"):
        fit_closed_form(pairs(random.standard_normal((12, 2))), ClosedFormConfig(standard_errors=50.0))


def test_bad_input_is_refused_in_a_sentence(run: ClosedFormRun, done: dict[str, float], tmp_path: Path) -> None:
    del done
    save_encoder(
        random_vit(replace(MODEL, img_size=64), 0),
        tmp_path / "large",
        preprocessing=Preprocessing(image_size_px=64),
        pooling=Pooling.CLASS_TOKEN,
        card="",
        provenance={},
    )
    with pytest.raises(ModelError, match="pack the images again"):
        replace(run, encoder=tmp_path / "large", out=tmp_path / "run").run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        replace(run, out=tmp_path / "mine").run()
    with pytest.raises(UsageError, match="give at least 1"):
        ClosedFormConfig(canonical=0)
    with pytest.raises(UsageError, match="is no folder"):
        replace(run, out=tmp_path / "mine" / "notes.txt").run()
    with pytest.raises(UsageError, match="batch size is 0"):
        replace(run, out=tmp_path / "run", batch_size=0).run()
    wide = FrozenTargets("ecg", ("a", "b"), np.eye(2, dtype=np.float32), "a-b-d")
    wide.save(tmp_path / "wide")
    with pytest.raises(DataError, match="hold 2 and 8 values a sample"):
        replace(run, out=tmp_path / "run", targets=(run.targets[0], tmp_path / "wide")).run()
    with pytest.raises(UsageError, match="no targets are given"):
        replace(run, targets=(), out=tmp_path / "run").run()


@pytest.mark.parametrize("fold", [True, False])
def test_an_export_gives_the_directions(
    run: ClosedFormRun, done: dict[str, float], blob_pack: Pack, tmp_path: Path, fold: bool
) -> None:
    source, out = run.out / "encoder", tmp_path / "export"
    config = ExportConfig(fold=fold, int8=False, num_parity_films=16)
    assert export_encoder(source, out, config) == ()
    encoder, graph = open_encoder_folder(source), open_embedder(out)
    squares = np.array(blob_pack.images[:5])
    with torch.no_grad():
        expected = encoder.embed_images(to_input(torch.from_numpy(squares), encoder.preprocessing)).numpy()
    assert graph.export.embedding_dim == expected.shape[1] == done["directions"]
    np.testing.assert_allclose(graph(squares), expected, rtol=0, atol=1e-4)
    again = open_encoder_folder(out)  # the export is an encoder folder, too, and gives the same
    with torch.no_grad():
        images = to_input(torch.from_numpy(squares), again.preprocessing)
        np.testing.assert_array_equal(again.embed_images(images).numpy(), expected)
    assert "what ECG and laboratory values would say" in (out / "MODEL_CARD.md").read_text()


def test_a_head_other_than_the_configuration_tells_is_refused(run: ClosedFormRun, done: dict[str, float]) -> None:
    del done
    folder = run.out / "encoder"
    config = json.loads((folder / "config.json").read_text())
    contract = json.loads((folder / "preprocessing.json").read_text())
    before = {name: (folder / name).read_text() for name in ("config.json", "preprocessing.json")}
    (folder / "config.json").write_text(json.dumps(config | {"num_classes": 77}))
    contract["sha256"]["config.json"] = sha256_of(folder / "config.json")
    (folder / "preprocessing.json").write_text(json.dumps(contract))
    try:
        with pytest.raises(ModelError, match="expected \\(77, 24\\)"):
            load_encoder(folder)
    finally:
        for name, text in before.items():
            (folder / name).write_text(text)


def test_commands_read_the_released_folder(
    run: ClosedFormRun, done: dict[str, float], blob_pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = sorted((blob_pack.path.parent / "films").glob("*.png"))[:3]
    main(["embed", str(run.out / "encoder"), *map(str, films), "--out", str(tmp_path / "e.npz"), "--device", "cpu"])
    with np.load(tmp_path / "e.npz") as found:
        assert found["embeddings"].shape == (3, done["directions"])
    words = ["--encoder", str(run.encoder), "--pack", str(run.pack), "--out", str(tmp_path / "run"), "--device", "cpu"]
    main(["train", "distill-closed-form", *words, "--targets", *map(str, run.targets)])
    said = capsys.readouterr().out
    assert "distill-closed-form: 0 s, directions" in said or "distill-closed-form: 1 s, directions" in said
    assert "r2_ecg" in said
