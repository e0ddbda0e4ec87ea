"""Shards, packed by whomever in whatever order, make the pack that one process would have made; or nothing."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pacx.cli.verbs import data as command
from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.images.decode import Decoding
from pacx.data.packs.merging import merge_shards
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import Shard, pack_records, pack_shard
from pacx.data.records import Records

SMALL = Preprocessing(image_size_px=24)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards(records: Records, out: Path, of: int, **options: object) -> list[Path]:
    return [
        pack_shard(records, out, Shard(index, of), preprocessing=SMALL, max_bad_fraction=0.1, **options)
        for index in range(of, 0, -1)
    ]


@pytest.mark.parametrize("of", [1, 3, 80])
def test_any_number_of_shards_makes_the_same_bytes(records: Records, tmp_path: Path, of: int) -> None:
    (records.root / "films/040.png").write_bytes(b"")
    (records.root / "films/000.png").unlink()
    records = replace(records, table=records.table.assign(age=[float(row) for row in range(70)]))
    alone = contents(pack_records(records, tmp_path / "one", preprocessing=SMALL, max_bad_fraction=0.1).path)
    folders = shards(records, tmp_path / "many", of)
    assert contents(merge_shards(folders, tmp_path / "many", max_bad_fraction=0.1).path) == alone
    with pytest.raises(DataError, match=r"2 of 70 films cannot be used, more than the 0\.10% allowed"):
        merge_shards(folders, tmp_path / "strict")
    assert not (tmp_path / "strict").exists()


def test_films_without_masks_merge_too(records: Records, tmp_path: Path) -> None:
    plain = replace(records, mask_names=())
    alone = contents(pack_records(plain, tmp_path / "one", preprocessing=SMALL).path)
    assert contents(merge_shards(shards(plain, tmp_path / "many", 4), tmp_path / "many").path) == alone


def test_shards_that_do_not_belong_together_are_refused(records: Records, tmp_path: Path) -> None:
    folders = shards(records, tmp_path / "pack", 3)
    with pytest.raises(DataError, match=re.escape("these are shards 1/3, 2/3; expected each of 1 to 3 once")):
        merge_shards(folders[1:], tmp_path / "pack")
    with pytest.raises(DataError, match="these are shards 1/3, 2/3, 3/3, 3/3"):
        merge_shards([*folders, folders[0]], tmp_path / "pack")
    scaled = pack_shard(
        records, tmp_path / "scaled", Shard(3, 3), preprocessing=SMALL, decoding=Decoding(scaled_jpeg=True)
    )
    with pytest.raises(DataError, match="made from other files or with other options"):
        merge_shards([scaled, *folders[1:]], tmp_path / "pack")
    with pytest.raises(UsageError, match="is not a shard"):
        merge_shards([tmp_path], tmp_path / "pack")
    with pytest.raises(UsageError, match="no shard is given"):
        merge_shards([], tmp_path / "pack")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not empty"):
        merge_shards(folders, tmp_path / "taken")
    assert not (tmp_path / "pack").exists()


def test_damaged_shards_are_refused(records: Records, tmp_path: Path) -> None:
    folders = shards(records, tmp_path / "pack", 2)
    about = json.loads((folders[0] / "shard.json").read_text())
    (folders[0] / "shard.json").write_text(json.dumps(about | {"index": 7}))
    with pytest.raises(DataError, match="written by another version"):
        merge_shards(folders, tmp_path / "pack")
    (folders[0] / "shard.json").write_text(json.dumps(about))
    whole = (folders[1] / "masks.npy").read_bytes()
    (folders[1] / "masks.npy").write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"masks\.npy is missing or cut short"):
        merge_shards(folders, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()
    (folders[1] / "masks.npy").write_bytes(whole)
    (folders[1] / "records.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="changed after packing"):
        merge_shards(folders, tmp_path / "pack")


def test_a_shard_is_kept_when_it_is_there_and_is_no_pack(records: Records, tmp_path: Path) -> None:
    folder = pack_shard(records, tmp_path / "pack", Shard(2, 3), preprocessing=SMALL)
    assert folder == tmp_path / "pack.shard-2-of-3"
    made = (folder / "images.npy").stat().st_mtime_ns
    assert pack_shard(records, tmp_path / "pack", Shard(2, 3), preprocessing=SMALL) == folder
    assert (folder / "images.npy").stat().st_mtime_ns == made
    with pytest.raises(UsageError, match="made from other files or with other options"):
        pack_shard(records, tmp_path / "pack", Shard(2, 3))
    with pytest.raises(UsageError, match="is not a pack"):
        Pack.open(folder)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="shard"):
        Shard.parse(text)


def test_job_arrays_work_from_the_command_line(records: Records, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "pack"
    words = [
        "pack",
        "folder",
        "--root",
        str(records.root),
        "--out",
        str(out),
        "--image-size-px",
        "24",
        "--num-workers",
        "1",
    ]
    for index in (2, 1):
        command.main([*words, "--shard", f"{index}/2"])
    assert f"pacx data merge {out}.shard-*-of-2 --out {out}" in capsys.readouterr().out
    command.main(["merge", *map(str, sorted(tmp_path.glob("pack.shard-*"))), "--out", str(out)])
    alone = tmp_path / "alone"
    command.main([*words[:5], str(alone), *words[6:]])
    assert contents(out) == contents(alone)


def test_a_merged_pack_knows_whose_films_nobody_knows(records: Records, tmp_path: Path) -> None:
    patients = records.table["patient_id"].where(records.table.index > 2, records.table["sample_id"])
    records = replace(records, table=records.table.assign(patient_id=patients), has_unknown_patients=True)
    merged = merge_shards(shards(records, tmp_path / "many", 3), tmp_path / "many", max_bad_fraction=0.1)
    assert merged.manifest.unknown_patients == 3
    assert (~merged.has_known_patient).nonzero()[0].tolist() == [0, 1, 2]
