"""What cannot be trained is refused by the command before anything is trained or written, with the remedy."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.packing import pack_records

TINY = """
    --task.model.img-size 32 --task.model.patch-size 8 --task.model.embed-dim 32 --task.model.depth 1
    --task.model.num-heads 2 --task.model.decoder-embed-dim 16 --task.model.decoder-depth 1
    --task.model.decoder-num-heads 2 --task.model.mask-ratio 0.75 --training.epochs 1 --training.batch-size 8
    --training.warmup-epochs 0 --training.accelerator cpu
"""


def complaint(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code and the one sentence on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, words)])
    return ended.value.code, capsys.readouterr().err


def one_patients_pack(root: Path) -> Path:
    root.mkdir()
    for number in range(3):
        Image.linear_gradient("L").resize((32, 32)).rotate(90 * number).save(root / f"{number}.png")
    pd.DataFrame({"file": ["0.png", "1.png", "2.png"], "patient_id": "p"}).to_csv(root / "index.csv", index=False)
    pack_records(DATASET.read(root, FolderOptions()), root / "pack", preprocessing=Preprocessing(image_size_px=32))
    return root / "pack"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--training.batch-size 49", "has 48 training films, fewer than one batch of 49; pack more films or give"),
        ("--training.batch-size 9 --training.accumulate 2", "batch_size 9 does not divide into 2 parts"),
        ("--task.model.mask-ratio 0.99", "mask_ratio 0.99 leaves 0 of 16 patches visible; choose a ratio"),
        ("--task.model.mask-ratio 1.0", "mask_ratio is 1.0; give a share between 0 and 1"),
        ("--task.model.mask-ratio 0.0", "mask_ratio is 0.0; give a share between 0 and 1"),
        ("--task.model.mask-ratio nan", "mask_ratio is nan; give a share between 0 and 1"),
        ("--task.model.patch-size 5", "img_size is 32; give a multiple of patch_size (5)"),
        ("--training.strategy FSDP --training.compile", "a compiled loss cannot be had with FSDP; leave out compile"),
        ("--training.strategy FSDP --training.precision 16-mixed", "no gradient scaling; choose precision bf16-mixed"),
        ("--task.model.img-size 64", "pack with --image-size-px 64 or train with --task.model.img-size 32"),
    ],
)
def test_a_call_that_cannot_train_ends_with_2_and_writes_nothing(blob_pack, tmp_path, capsys, words, sentence):
    out = tmp_path / "run"
    code, said = complaint(capsys, "mae-tiny", "--pack", blob_pack.path, "--out", out, *TINY.split(), *words.split())
    assert code == 2
    assert sentence in said
    assert said.startswith("pacx: ")
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_pack_with_nobody_to_hold_out_ends_with_1(tmp_path, capsys):
    pack = one_patients_pack(tmp_path / "films")
    code, said = complaint(capsys, "mae-tiny", "--pack", pack, "--out", tmp_path / "run", *TINY.split())
    assert code == 1
    assert "0 validation films, at least one of each is needed; pack films of at least two patients" in said
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_pack_is_named(tmp_path, capsys):
    code, said = complaint(capsys, "mae-tiny", "--pack", tmp_path, "--out", tmp_path / "run", *TINY.split())
    assert code == 2
    assert "is not a pack: it has no manifest.json; make one with `pacx data pack`" in said
