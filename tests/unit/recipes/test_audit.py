"""Every audit from the command on; what must be found is built in, what must not be used is set as a trap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from pacx.audits.audit import in_words
from pacx.audits.masks import RULE, PreMaskedAudit
from pacx.audits.probes import BY_FILM, BY_PATIENT, GAP, SEEN, UNSEEN, SplitsAudit
from pacx.cli.main import main
from pacx.cli.verbs.audit import all_audits
from pacx.core.artifacts import read_json
from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe, train_probes
from pacx.evaluation.results import ResultRow, read_rows
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

SIZE = 32
CONFIG = ViTConfig(img_size=SIZE, patch_size=8, embed_dim=64, depth=1, num_heads=2)
PROBE = ProbeConfig(epochs=60, learning_rates=(0.03,), num_seeds=2, standardize=True)
PROBE_WORDS = "--probe.epochs 60 --probe.learning-rates 0.03 --probe.num-seeds 2 --probe.standardize --num-draws 50"
QUICK = "--probe.epochs 2 --probe.num-seeds 2 --num-draws 20"
MODEL = """
    --mae.task.model.img-size 32 --mae.task.model.patch-size 8 --mae.task.model.embed-dim 32 --mae.task.model.depth 1
    --mae.task.model.num-heads 2 --mae.task.model.decoder-embed-dim 16 --mae.task.model.decoder-depth 1
    --mae.task.model.decoder-num-heads 2
"""
TRAINING = "training.epochs 1 training.batch-size 8 training.warmup-epochs 0 training.accelerator cpu"
CONTRACT = Preprocessing(image_size_px=SIZE)


def training_words(stage: str) -> list[str]:
    return [f"--{stage}.{word}" if word.startswith("training") else word for word in TRAINING.split()]


def audit(*words: object) -> int:
    try:
        main(["audit", *map(str, words)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def row(rows: list[ResultRow], **fields: object) -> ResultRow:
    """The one row that fits."""
    wanted = {"label": "macro", "fraction": 1.0, "subgroup": "", **fields}
    (found,) = [each for each in rows if all(getattr(each, name) == value for name, value in wanted.items())]
    return found


def written(root: Path, table: pd.DataFrame, films: np.ndarray, masks: np.ndarray | None = None) -> Pack:
    """A pack of these films."""
    (root / "films").mkdir(parents=True)
    table = table.assign(sample_id=[f"s{k}" for k in range(len(table))], study_id="", view="PA")
    table["image_path"] = [f"{k}.png" for k in range(len(table))]
    for k, film in enumerate(films):
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(root / "films" / f"{k}.png")
    if masks is not None:
        table["mask:lung"] = [f"m{k}.png" for k in range(len(table))]
        for k, mask in enumerate(masks):
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / "films" / f"m{k}.png")
    names = tuple(name for name in ("sick", "rare") if name in table)
    records = Records(table, names, () if masks is None else ("lung",), root / "films")
    return pack_records(records, root / "pack", preprocessing=CONTRACT, num_workers=1)


def saved(folder: Path, seed: int, *, is_token_blind: bool = False) -> Path:
    """An encoder folder; a blind class token never hears of the patches."""
    vit = random_vit(CONFIG, seed)
    if is_token_blind:
        with torch.no_grad():
            for block in vit.blocks:
                for layer in (block.attn.proj, block.mlp.fc2):
                    layer.weight.zero_()
                    layer.bias.zero_()
    save_encoder(vit, folder, preprocessing=CONTRACT, pooling=Pooling.CLASS_TOKEN, card="", provenance={})
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two encoders."""
    root = tmp_path_factory.mktemp("encoders")
    return {name: saved(root / name, seed, is_token_blind=True) for seed, name in enumerate(("mae", "pacx"))}


@pytest.fixture(scope="module")
def misleading(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Sick films have a bright left half; in the test split the healthy ones have."""
    random = np.random.default_rng(0)
    number = np.arange(90)
    split, bright = np.array(["train", "val", "test"])[number % 3], number // 3 % 2
    films = random.normal(90, 15, size=(90, SIZE, SIZE))
    films[:, :, : SIZE // 2] += 60 * bright[:, None, None]
    table = pd.DataFrame({"patient_id": [f"p{k}" for k in number], "split": split})
    table["sick"] = np.where(split == "test", 1 - bright, bright).astype(float)
    table["rare"] = (number // 3 % 10 == 0).astype(float)
    return written(tmp_path_factory.mktemp("misleading"), table, films)


def people(split_of: object, root: Path) -> Pack:
    """Sixty people of four films with a face each; half of them are sick, which nothing but the face tells."""
    random = np.random.default_rng(1)
    faces, sick = random.normal(120, 40, size=(60, SIZE, SIZE)), random.permutation(np.arange(60) % 2)
    films = faces.repeat(4, axis=0) + random.normal(0, 8, size=(240, SIZE, SIZE))
    table = pd.DataFrame({"patient_id": [f"p{k // 4}" for k in range(240)], "sick": sick.repeat(4).astype(float)})
    return written(root, table.assign(split=[split_of(k // 4, k % 4) for k in range(240)]), films)


@pytest.fixture(scope="module")
def split_twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Pack]:
    """The people split by patient, and by film: 40 of them are on all sides, 20 are met in the test only."""
    root = tmp_path_factory.mktemp("people")
    by_patient = people(lambda person, _: "train" if person < 30 else "val" if person < 38 else "test", root / "a")
    order = ("train", "train", "val", "test")
    by_film = people(lambda person, film: order[film] if person < 40 else "test", root / "b")
    return by_patient, by_film


def test_the_help_lists_every_audit_with_an_example(capsys):
    for name in ("class-token", "splits", "threshold", "pre-masked", "mask-ratio", "shuffled-pairs"):
        assert name in all_audits()
        assert audit(name, "--help") == 0
        assert f"Example:\n  pacx audit {name} --" in capsys.readouterr().out


def test_class_token_takes_the_pooling_that_validation_prefers_though_test_prefers_the_other(
    misleading, places, tmp_path, capsys
):
    words = ["--pack", misleading.path, "--out", tmp_path / "r.json", "--fractions", "0.5", "1", *PROBE_WORDS.split()]
    assert (
        audit("class-token", *words, "--baseline", f"mae={places['mae']}", "--encoder", f"pacx={places['pacx']}") == 0
    )
    rows = read_rows(tmp_path / "r.json")
    assert {each.protocol for each in rows} == {"audit: class-token"}
    for fraction in (0.5, 1.0):
        find = {"rows": rows, "metric": "auroc", "label": "sick", "fraction": fraction}
        for name in ("mae", "pacx"):
            token, mean = row(name=f"{name}#token", **find).value, row(name=f"{name}#mean", **find).value
            assert mean < 0.2 < token, "the trap is not set"
            chosen = row(name=name, **find)
            assert chosen.value == mean
            assert "by validation AUROC mae#mean and pacx#mean" in chosen.provenance
        for mark in ("#token", "#mean", ""):
            gain = row(**{**find, "metric": "auroc_difference"}, name=f"pacx{mark} - mae{mark}")
            values = [row(name=f"{name}{mark}", **find).value for name in ("pacx", "mae")]
            assert gain.value == pytest.approx(values[0] - values[1], abs=1e-12)
            assert gain.ci_low <= gain.value <= gain.ci_high
    said = capsys.readouterr().out
    gain = row(rows, name="pacx - mae", metric="auroc_difference")
    assert (
        f"100 % of the labels (pacx#mean over mae#mean) {gain.value:+.3f} [{gain.ci_low:.3f}, {gain.ci_high:.3f}]"
        in said
    )


def test_splits_finds_the_leak_that_was_built_in(split_twice, places, tmp_path, capsys):
    by_patient, by_film = split_twice
    words = ["--encoder", f"mae={places['mae']}#mean", "--out", tmp_path / "r.json", *PROBE_WORDS.split()]
    assert audit("splits", "--by-patient", by_patient.path, "--by-film", by_film.path, *words) == 0
    rows, said = read_rows(tmp_path / "r.json"), capsys.readouterr().out
    gap = row(rows, metric="auroc_difference", subgroup=GAP)
    assert gap.value > 0.2
    assert gap.ci_low > 0.05
    seen, unseen = (row(rows, metric="auroc", subgroup=group) for group in (SEEN, UNSEEN))
    assert (seen.n, unseen.n) == (40, 80)
    assert gap.value == pytest.approx(seen.value - unseen.value)
    assert "40 of 60 test patients have films in the training split" in said
    more = row(rows, name=f"mae ({BY_FILM}) - mae ({BY_PATIENT})")
    whole, leaky = (row(rows, metric="auroc", dataset=f"pack, {how}") for how in (BY_PATIENT, BY_FILM))
    assert more.value == pytest.approx(leaky.value - whole.value)
    assert f"is {leaky.value:.3f} [{leaky.ci_low:.3f}, {leaky.ci_high:.3f}] split by film and {whole.value:.3f}" in said
    assert said.count("not distinguishable") == (more.ci_low <= 0)
    # scikit-learn on the same probes
    data = ClassificationData.from_pack(by_film, dataset="")
    features = embed_pack(load_encoder(places["mae"]).pooled_by(Pooling.PATCH_MEAN), by_film)
    chances = train_probes(data, features, config=PROBE).probabilities(features[data.test])[..., 0]
    truth, person = data.labels[data.test, 0], np.array([int(each[1:]) for each in data.patient_ids[data.test]])
    for group, member in ((seen, person < 40), (unseen, person >= 40)):
        expected = np.mean([roc_auc_score(truth[member], chance[member]) for chance in chances])
        assert group.value == pytest.approx(expected, abs=1e-9)


def test_splits_refuses_packs_in_the_wrong_places(split_twice, misleading, places, tmp_path):
    by_patient, by_film = (pack.path for pack in split_twice)
    right = SplitsAudit(by_patient=by_patient, by_film=by_film, encoder=f"mae={places['mae']}", out=tmp_path / "r.json")
    right = replace(right, probe=ProbeConfig(epochs=1, num_seeds=1), num_draws=5)
    for wrong, sentence in (
        (
            replace(right, by_film=by_patient),
            "0 of 88 of .* expected none in the first and some, not all, in the second",
        ),
        (replace(right, by_patient=by_film), "^40 of 120 test films of"),
        (replace(right, by_film=misleading.path), "differ in films or labels; pack one copy twice"),
    ):
        with pytest.raises(DataError, match=sentence):
            wrong.run()


def test_threshold_says_what_the_linear_probe_says(misleading, places, tmp_path, capsys):
    words = ["--encoders", f"mae={places['mae']}#mean", "--out", tmp_path / "r.json", *PROBE_WORDS.split()]
    assert audit("threshold", "--pack", misleading.path, *words) == 0
    rows = read_rows(tmp_path / "r.json")
    encoder = load_encoder(places["mae"]).pooled_by(Pooling.PATCH_MEAN)
    known = linear_probe(
        ClassificationData.from_pack(misleading, dataset=""),
        {"mae": embed_pack(encoder, misleading)},
        Comparison(dataset="", num_draws=50),
        config=PROBE,
    )
    fixed, tuned = "mae (at 0.5)", "mae (at the validation threshold)"
    for label in ("macro", "sick", "rare"):
        values = {}
        for name, metric in ((fixed, "f1"), (tuned, "f1_tuned")):
            mine, theirs = row(rows, name=name, label=label), row(known, metric=metric, label=label)
            assert (mine.value, mine.ci_low, mine.ci_high, mine.n) == (
                theirs.value, theirs.ci_low, theirs.ci_high, theirs.n,
            )  # fmt: skip
            values[name] = mine.value
        assert row(rows, name=f"{tuned} - {fixed}", label=label).value == pytest.approx(values[tuned] - values[fixed])
    assert "at the threshold tuned on validation" in capsys.readouterr().out


def test_pre_masked_films_need_no_model(places, tmp_path, capsys):
    random = np.random.default_rng(2)
    down, across = np.mgrid[:SIZE, :SIZE]
    centre = random.uniform(10, 22, size=(45, 2))
    masks = (down - centre[:, :1, None]) ** 2 + (across - centre[:, 1:, None]) ** 2 < 60
    films = random.integers(0, 4, size=masks.shape) * 60  # a quarter of the pixels are black, inside as well
    table = pd.DataFrame({"patient_id": [f"p{k}" for k in range(45)], "split": ["train", "val", "test"] * 15})
    pack = written(tmp_path / "lungs", table, films, masks)
    before = pack.images.copy()
    words = ["--encoders", f"mae={places['mae']}", "--out", tmp_path / "r.json", "--num-draws", "20"]
    schedule = ["--decoder.epochs", "15", "--decoder.learning-rate", "0.01", "--decoder.warmup-epochs", "0"]
    assert audit("pre-masked", "--pack", pack.path, *words, *schedule, "--decoder.batch-size", "8") == 0
    rows = read_rows(tmp_path / "r.json")
    expected = np.mean([(films[k] > 0)[masks[k]].mean() for k in range(2, 45, 3)])  # nothing outside is above 0
    assert row(rows, encoder=RULE, metric="iou", label="lung").value == pytest.approx(expected, abs=1e-9)
    gap = row(rows, name="mae (on pre-masked films) - mae (on X-rays)", metric="iou_difference", label="lung")
    assert gap.ci_low > 0.1, "noise outside the lungs can be told from black, noise inside from noise outside cannot"
    assert (Pack.open(pack.path).images == before).all()
    assert "reaches an IoU of" in capsys.readouterr().out
    with pytest.raises(DataError, match="has no mask 'heart'; its masks are lung"):
        PreMaskedAudit(pack=pack.path, encoders=(f"mae={places['mae']}",), mask="heart", out=tmp_path / "x.json").run()


def test_mask_ratio_trains_twice_and_only_once(labelled, tmp_path, capsys):
    words = ["--labelled", labelled.path, "--mae.pack", labelled.path, "--mae.out", tmp_path / "runs", *QUICK.split()]
    words += [*MODEL.split(), *training_words("mae"), "--out", tmp_path / "r.json"]
    assert audit("mask-ratio-tiny", *words) == 0
    ratios = [read_json(tmp_path / "runs" / name / "config.json") for name in ("0.75", "0.9")]
    assert [str(config).count("'mask_ratio': 0.75") for config in ratios] == [1, 0]
    first = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    rows = read_rows(tmp_path / "r.json")
    assert row(rows, name="mask ratio 0.9 - mask ratio 0.75", metric="auroc_difference").n == 20
    assert "one training each" in rows[0].provenance
    assert audit("mask-ratio-tiny", *words) == 0
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.safetensors")}
    assert kept
    assert kept.items() <= first.items()
    assert read_rows(tmp_path / "r.json") == rows
    assert "75 %" in capsys.readouterr().out


def test_shuffled_pairs_are_held_against_true_ones_and_the_mae(labelled, tmp_path, capsys):
    mae = saved(tmp_path / "mae", 3)
    random = np.random.default_rng(0).standard_normal((len(labelled), 5)).astype(np.float32)
    FrozenTargets("ecg", tuple(labelled.sample_ids), random, "a-b-c").save(tmp_path / "ecg")
    words = ["--labelled", labelled.path, "--distill.pack", labelled.path, "--distill.encoder", mae]
    words += ["--distill.targets", tmp_path / "ecg", "--distill.out", tmp_path / "runs", "--out", tmp_path / "r.json"]
    assert audit("shuffled-pairs-tiny", *words, *QUICK.split(), *training_words("distill")) == 0
    rows = read_rows(tmp_path / "r.json")
    true, shuffled, between = (
        row(rows, name=pair, metric="auroc_difference").value
        for pair in ("true pairs - mae", "shuffled pairs - mae", "true pairs - shuffled pairs")
    )
    assert between == pytest.approx(true - shuffled, abs=1e-12)
    keys = [(each.name, each.metric, each.label) for each in rows]
    assert len(keys) == len(set(keys))
    told = [str(read_json(tmp_path / "runs" / name / "config.json")) for name in ("true", "shuffled")]
    assert ["shuffled-0-a-b-c" in config for config in told] == [False, True]
    assert "Over the MAE, true pairs gain" in capsys.readouterr().out


def test_what_cannot_be_probed_is_refused_before_anything_is_trained(labelled, tmp_path, capsys):
    table = pd.DataFrame({"patient_id": ["a", "b"], "split": ["train", "val"]})
    unlabelled = written(tmp_path / "plain", table, np.tile(np.arange(SIZE), (2, SIZE, 1)))
    words = ["--labelled", unlabelled.path, "--mae.pack", labelled.path, "--mae.out", tmp_path / "runs"]
    assert audit("mask-ratio-tiny", *words, "--out", tmp_path / "r.json") == 1
    assert "has no labels" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_difference_says_whether_it_can_be_told_from_0():
    known = {"protocol": "", "dataset": "", "label": "macro", "n": 1, "seed": 0, "fraction": 1.0, "provenance": ""}
    for value, low, high, words in (
        (0.05, 0.01, 0.09, "+0.050 [0.010, 0.090]"),
        (0.05, -0.01, 0.09, "+0.050 [-0.010, 0.090] (not distinguishable)"),
    ):
        made = ResultRow(
            **known, encoder="a", contrast="b", metric="auroc_difference", value=value, ci_low=low, ci_high=high
        )
        assert in_words([made], subject="a", contrast="b") == words
        assert in_words([replace(made, metric="auroc")], contrast="b", metric="auroc") == words.split(" (")[
            0
        ].removeprefix("+")
    with pytest.raises(LookupError):
        in_words([made], encoder="nobody")
