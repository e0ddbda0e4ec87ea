"""Whatever door a film comes in by, it has the same pixels or is refused for the same reason."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import dicom, lut
from picture_files import GREY_12
from PIL import Image
from test_pictures import OTHER_FILMS, REFUSED, SAME_FILM

import pacx
from pacx.cli.main import main
from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.data.checks.doctor import examine
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.file_kinds import kind_of
from pacx.data.packs.packing import pack_records
from pacx.models.encoders.folder import save_encoder
from pacx.models.heads.classifier import Classifier, load_classifier, save_classifier
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.serving.decoding.film_format import ANY_BYTES, SERVED
from pacx.serving.decoding.pool import DecoderPool
from pacx.serving.decoding.worker import Question
from pacx.serving.limits import Limits
from pacx.serving.refusal import RefusedRequest

SIZE_PX = 32
DICOM = {
    "plain": dicom(GREY_12, bits_stored=12),
    "white is zero": dicom(GREY_12, bits_stored=12, PhotometricInterpretation="MONOCHROME1"),
    "12 bits that claim 16": dicom(GREY_12, bits_stored=16),
    "signed": dicom(GREY_12.astype(np.int16), bits_stored=16),
    "a window": dicom(GREY_12, bits_stored=12, WindowCenter=2000, WindowWidth=1000),
    "a window of no width": dicom(GREY_12, bits_stored=12, WindowCenter=2000, WindowWidth=0),
    "a window above all": dicom(GREY_12, bits_stored=12, WindowCenter=60_000, WindowWidth=10),
    "a look-up table": dicom(GREY_12, bits_stored=12, VOILUTSequence=[lut(0, list(range(4096)), 16)]),
    "one grey": dicom(GREY_12 * 0 + 7, bits_stored=12),
    "nothing stored": dicom(GREY_12 * 0, bits_stored=12),
    "colour": dicom(GREY_12, bits_stored=12, PhotometricInterpretation="RGB", SamplesPerPixel=3),
    "text burned in": dicom(GREY_12, bits_stored=12, BurnedInAnnotation="YES"),
    "cut": dicom(GREY_12, bits_stored=12)[:-900],
}
FILMS = [
    *SAME_FILM.values(),
    *(data for data, _ in OTHER_FILMS.values()),
    *(data for data, _ in REFUSED.values()),
    *DICOM.values(),
]
Outcomes = dict[str, str | bytes]
"""Of each film the pixels of its square, or the reason why there are none."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every film, and three rows of an array: a film, one grey, and none at all."""
    root = tmp_path_factory.mktemp("films")
    rows = Preprocessing().normalize(np.stack([(GREY_12 >> 4).astype(np.uint8), np.full((40, 48), 9, np.uint8)]))
    np.save(root / "rows.npy", rows)
    for number, data in enumerate(FILMS):
        (root / f"{number:03d}").write_bytes(data)
    names = [*(f"{number:03d}" for number in range(len(FILMS))), "rows.npy#0", "rows.npy#1", "rows.npy#2"]
    pd.DataFrame({"file": names, "sample_id": names}).to_csv(root / "index.csv", index=False)
    return root


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    vit = random_vit(ViTConfig(img_size=SIZE_PX, patch_size=8, embed_dim=32, depth=2, num_heads=2), seed=0)
    contract = Preprocessing(image_size_px=SIZE_PX)
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="#", provenance={})
    weight, bias = np.random.default_rng(0).standard_normal((5, 32, 2)).astype(np.float32), np.zeros((5, 2), np.float32)
    labels = ("Edema", "Effusion")
    save_classifier(
        folder, Classifier(labels=labels, weight=weight, bias=bias, is_multiclass=False, level=0.95, fitted_on="")
    )
    return folder


@pytest.fixture(scope="module")
def packed(root: Path) -> Outcomes:
    """What becomes of each film in a pack, which the other doors are held against."""
    records = DATASET.read(root, FolderOptions())
    contract = Preprocessing(image_size_px=SIZE_PX)
    pack = pack_records(records, root.with_name("pack"), preprocessing=contract, max_bad_fraction=0.9)
    squares = zip(pack.table["sample_id"], pack.images, strict=True)
    return {bad.sample_id: bad.reason for bad in pack.quarantined} | {name: each.tobytes() for name, each in squares}


def test_every_film_is_told_of_and_both_ends_occur(packed: Outcomes, root: Path) -> None:
    assert len(packed) == len(FILMS) + 3
    reasons = {name: reason for name, reason in packed.items() if isinstance(reason, str)}
    assert {"rows.npy#1", "rows.npy#2"} < set(reasons)
    assert reasons["rows.npy#1"] == "it shows one grey only"
    assert len(reasons) >= len(REFUSED)
    assert len(packed) - len(reasons) >= len(SAME_FILM) + len(OTHER_FILMS)


def test_the_doctor_names_what_the_pack_leaves_out(packed: Outcomes, root: Path, tmp_path: Path) -> None:
    diagnosis = examine(DATASET, root, FolderOptions(), state=tmp_path / "state", num_samples=None)
    named = [file for issue in diagnosis.issues if issue.check == "readable films" for file in issue.files]
    assert sorted(named) == sorted(f"{name}: {told}" for name, told in packed.items() if isinstance(told, str))


@pytest.mark.parametrize("verb", ["embed", "predict"])
def test_embed_and_predict_take_what_the_pack_takes(
    packed: Outcomes, root: Path, encoder: Path, tmp_path: Path, verb: str
) -> None:
    out = tmp_path / ("out.npz" if verb == "embed" else "out.csv")
    main([verb, str(encoder), *(str(root / name) for name in packed), "--out", str(out), "--max-bad-fraction", "0.9"])
    bad = json.loads(out.with_name(f"{out.name}.quarantine.json").read_text())
    told = {Path(each["file"]).name: each["reason"] for each in bad}
    assert told == {name: reason for name, reason in packed.items() if isinstance(reason, str)}
    loaded = pacx.load_encoder(encoder)
    if verb == "embed":
        with np.load(out) as found:
            paths, embeddings = found["paths"].tolist(), found["embeddings"]
        np.testing.assert_allclose(embeddings, loaded.embed_squares(_squares(packed, paths)), rtol=0, atol=1e-5)
    else:
        table = pd.read_csv(out)
        paths = table["path"].tolist()
        expected = loaded.embed_squares(_squares(packed, paths))
        probabilities = load_classifier(encoder).predict(expected)
        np.testing.assert_allclose(table["Edema"], probabilities[:, 0, 1], rtol=0, atol=1e-4)
    assert {Path(path).name for path in paths} == {name for name, each in packed.items() if isinstance(each, bytes)}


def _squares(packed: Outcomes, paths: list[str]) -> np.ndarray:
    squares = [np.frombuffer(packed[Path(path).name], np.uint8) for path in paths]
    return np.stack(squares).reshape(-1, SIZE_PX, SIZE_PX)


def _held_against(packed: Outcomes, root: Path, open_film: Callable[[Path], object], encoder: Path) -> None:
    loaded = pacx.load_encoder(encoder)
    for name, told in packed.items():
        if isinstance(told, str):
            with pytest.raises(DataError) as refused:
                loaded.embed([open_film(root / name)])
            assert str(refused.value).endswith(told), name
        else:
            found = loaded.embed([open_film(root / name)])
            np.testing.assert_allclose(found, loaded.embed_squares(_squares(packed, [name])), atol=1e-5, err_msg=name)


def test_an_encoder_in_python_takes_what_the_pack_takes(packed: Outcomes, root: Path, encoder: Path) -> None:
    _held_against(packed, root, lambda path: path, encoder)


def test_a_film_opened_with_pillow_is_the_film_of_its_file(packed: Outcomes, root: Path, encoder: Path) -> None:
    opened = {}
    for name in packed:
        if (root / name).is_file():
            with (
                contextlib.suppress(OSError, SyntaxError, ValueError),
                warnings.catch_warnings(),
            ):  # what Pillow does not open
                warnings.simplefilter("ignore")
                opened[name] = Image.open(io.BytesIO((root / name).read_bytes()))
    assert len(opened) > 40
    _held_against({name: packed[name] for name in opened}, root, lambda path: opened[path.name], encoder)


def test_the_server_takes_what_the_pack_takes(packed: Outcomes, root: Path) -> None:
    replaced: list[object] = []
    question = Question(media_type=ANY_BYTES, sides_px=(SIZE_PX,), wants_picture=False, cpu_s=10)
    pool = DecoderPool(Limits(decode_workers=1), replaced.append)
    try:
        for name, told in packed.items():
            if not (root / name).is_file():
                continue
            data = (root / name).read_bytes()
            answer = pool.decode(question, data)
            kind = kind_of(data)
            if kind not in SERVED:
                with pytest.raises(RefusedRequest, match=f"{kind.name} films are not served"):
                    answer.result()
            elif isinstance(told, bytes):
                assert answer.result().squares[SIZE_PX].tobytes() == told, name
            else:
                with pytest.raises(RefusedRequest) as refused:
                    answer.result()
                assert refused.value.refusal.sentence == told, name
                assert 400 <= refused.value.refusal.status < 500
    finally:
        pool.close()
    assert replaced == []
