"""Packs are whole, repeatable and honest about what was left out."""

import io
import mmap
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from dicom_files import dicom
from film_folders import write_films
from PIL import Image

from pacx.core.artifacts import read_json, resumable_directory, sha256_of, write_json
from pacx.core.errors import ArtifactError, DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.images.decode import Decoding, decode_grey, decode_mask, to_square, to_square_mask
from pacx.data.packs.files import recomputed_fingerprint
from pacx.data.packs.pack import BY_FILM, BY_PATIENT, Pack, _stretches, rows_of
from pacx.data.packs.packing import pack_records
from pacx.data.records import NEGATIVE_COLUMN, Records

SMALL = Preprocessing(image_size_px=24)
FILES = ["images.npy", "manifest.json", "masks.npy", "records.parquet"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def packed(records: Records, out: Path, **options: object) -> Pack:
    return pack_records(records, out, preprocessing=SMALL, **options)


def test_row_i_of_everything_is_film_i(records: Records, tmp_path: Path) -> None:
    pack = packed(records, tmp_path / "pack")
    assert sorted(contents(pack.path)) == FILES
    for row in (0, 33, 69):
        film = records.table.iloc[row]
        assert np.array_equal(pack.images[row], to_square(decode_grey(records.root / film["image_path"]), 24))
        expected = np.full((24, 24), 255)
        if film["mask:lung"]:
            expected = to_square_mask(decode_mask(records.root / film["mask:lung"]), 24)
        assert np.array_equal(pack.masks[row, 0], expected)
    assert pack.table.equals(records.table)
    assert pack.sample_ids.tolist() == records.table["sample_id"].tolist()
    assert pack.patient_ids[3] == "p1"
    assert pack.label_names == ("Edema", "Mass")
    assert np.array_equal(pack.labels[:6], [[0, 1], [1, np.nan], [0, np.nan], [1, np.nan], [0, np.nan], [1, 1]], True)
    assert pack.rows("val").tolist() == list(range(1, 70, 4))
    assert pack.rows("").tolist() == list(range(3, 70, 4))
    assert pack.mask_names == ("lung",)
    assert pack.preprocessing == SMALL
    assert pack.keys.dtype == np.uint64
    assert len(set(pack.keys.tolist())) == 70
    with pytest.raises(UsageError, match="no split 'valid'"):
        pack.rows("valid")


def test_statistics_are_those_of_the_pixels(records: Records, tmp_path: Path) -> None:
    pack = packed(records, tmp_path / "pack")
    assert pack.manifest.pixel_mean == pytest.approx(pack.images.mean() / 255, rel=1e-12)
    assert pack.manifest.pixel_std == pytest.approx(pack.images.std() / 255, rel=1e-12)


def test_any_number_of_workers_writes_the_same_bytes(records: Records, tmp_path: Path) -> None:
    (records.root / "films/040.png").write_bytes(b"")
    alone = contents(packed(records, tmp_path / "one", max_bad_fraction=0.1).path)
    assert contents(packed(records, tmp_path / "two", max_bad_fraction=0.1, num_workers=2).path) == alone


def test_without_masks_there_is_no_mask_file(records: Records, tmp_path: Path) -> None:
    plain = Records(records.table.drop(columns="mask:lung"), ("Edema",), (), records.root, ("A note.",))
    pack = packed(plain, tmp_path / "pack")
    assert pack.masks is None
    assert sorted(contents(pack.path)) == [name for name in FILES if name != "masks.npy"]
    assert pack.manifest.notes == ("A note.",)


def test_bad_files_are_quarantined_with_reason_and_hash(records: Records, tmp_path: Path) -> None:
    films = records.table["image_path"]
    (records.root / films[2]).write_bytes(b"")
    (records.root / films[69]).unlink()
    mask = records.root / records.table["mask:lung"][35]
    mask.write_bytes(mask.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"3 of 70 films cannot be used, more than the 0\.10% allowed: films/002\.png"):
        packed(records, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()

    pack = packed(records, tmp_path / "pack", max_bad_fraction=3 / 70)
    assert len(pack) == 67
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "source"]
    assert [(bad.sample_id, bad.file, bad.sha256) for bad in pack.quarantined] == [
        ("s2", films[2], sha256_of(records.root / films[2])),
        ("s35", "masks/035.png", sha256_of(mask)),
        ("s69", films[69], ""),
    ]
    assert pack.sample_ids.tolist() == [f"s{index}" for index in range(70) if index not in (2, 35, 69)]
    assert np.array_equal(pack.images[-1], to_square(decode_grey(records.root / films[68]), 24))
    with pytest.raises(DataError, match="3 of 70"):  # a pack that is there is no way around the limit
        packed(records, tmp_path / "pack")


def test_nothing_readable_is_an_error_whatever_is_allowed(records: Records, tmp_path: Path) -> None:
    for path in (records.root / "films").iterdir():
        path.write_bytes(b"no film")
    with pytest.raises(DataError, match="none of 70 films can be used") as raised:
        packed(records, tmp_path / "pack", max_bad_fraction=1.0)
    assert not hasattr(raised.value, "__notes__")
    assert [path.name for path in tmp_path.iterdir()] == ["source"], "there is nothing to keep"


def test_an_identical_pack_is_reused_and_another_is_not_touched(records: Records, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    pack = packed(records, out)
    made = (out / "images.npy").stat().st_ino
    assert packed(records, out).fingerprint == pack.fingerprint
    assert (out / "images.npy").stat().st_ino == made
    with pytest.raises(UsageError, match="made from other files or with other options"):
        pack_records(records, out, preprocessing=Preprocessing(image_size_px=32))
    shutil.copy(records.root / "films/000.png", records.root / "films/002.png")
    with pytest.raises(UsageError, match="choose another folder, or overwrite"):
        packed(records, out)
    again = packed(records, out, overwrite=True)
    assert again.fingerprint != pack.fingerprint
    assert np.array_equal(again.images[2], again.images[0])


def test_the_fingerprint_is_of_the_content_not_of_the_place(records: Records, tmp_path: Path) -> None:
    shutil.copytree(records.root, tmp_path / "elsewhere")
    moved = Records(records.table, records.label_names, records.mask_names, tmp_path / "elsewhere")
    pack = packed(records, tmp_path / "pack")
    assert packed(moved, tmp_path / "other").fingerprint == pack.fingerprint
    table = records.table.copy()
    table.loc[0, "Edema"] = 1.0
    relabelled = Records(table, records.label_names, records.mask_names, records.root)
    assert packed(relabelled, tmp_path / "relabelled").fingerprint != pack.fingerprint


def test_folders_that_are_no_packs_are_never_replaced(records: Records, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="exists and is not a pack"):
            packed(records, tmp_path / "thesis", overwrite=overwrite)
        with pytest.raises(UsageError, match="exists and is not a pack"):
            packed(records, tmp_path / "thesis" / "chapter1.tex", overwrite=overwrite)
    (tmp_path / "empty").mkdir()
    assert len(packed(records, tmp_path / "empty")) == 70


def test_a_place_that_cannot_be_written_to_is_refused_at_once(records: Records, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="cannot write"):
        packed(records, tmp_path / "file" / "pack")
    with pytest.raises(UsageError, match="expected a share"):
        packed(records, tmp_path / "pack", max_bad_fraction=2)


SCRIPT = """
import resource, sys
from pathlib import Path
from pacx.cli.terminal import explained
from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.files import recomputed_fingerprint
from pacx.data.packs.packing import pack_records
source, out, limit, num_workers, size_px = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
records = DATASET.read(Path(source), FolderOptions())
preprocessing = Preprocessing(image_size_px=int(size_px))
with explained():
    pack_records(records, Path(out), num_workers=int(num_workers), preprocessing=preprocessing)
"""


def script(source: Path, out: Path, limit: int, num_workers: int, size_px: int = 24) -> list[str]:
    """A process whose files may not grow beyond a limit, nor its bytecode: Python would keep a file cut short by it."""
    return [sys.executable, "-B", "-W", "error", "-c", SCRIPT, *map(str, (source, out, limit, num_workers, size_px))]


def test_a_full_disk_costs_nothing_of_what_was_decoded(records: Records, tmp_path: Path) -> None:
    """The kernel's limit on a file's size stands in for a full disk: the write fails half way, for real."""
    out = tmp_path / "packs" / "pack"
    plain = DATASET.read(records.root, FolderOptions())
    whole = contents(packed(plain, tmp_path / "whole").path)
    done = subprocess.run(script(records.root, out, 20_000, 1), capture_output=True, text=True)
    assert re.match(
        r"pacx: cannot write .*pack: File too large; free space .*; 32 films are kept; run the same command again",
        done.stderr,
    ), done.stderr
    assert [path.name for path in out.parent.iterdir()] == [".partial-pack"]
    swap_for_black(records.root / "films/000.png")
    assert contents(packed(plain, out).path) == whole, "the first films were decoded again"
    assert [path.name for path in out.parent.iterdir()] == ["pack"]


@pytest.mark.parametrize("limit", range(0, 41_000, 1000))
def test_a_disk_that_is_full_at_any_moment_leaves_what_can_be_gone_on_with(
    records: Records, tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python would keep what the limit cuts short
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = contents(packed(records, tmp_path / "whole", max_bad_fraction=1).path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        packed(records, tmp_path / "pack")
    except (ArtifactError, OSError):
        pass
    else:
        assert limit >= max(map(len, whole.values()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(packed(records, tmp_path / "pack").path) == whole


def swap_for_black(film: Path) -> None:
    """Another film in its place, of the same size and time: whoever decodes it again cannot hide it."""
    about, length = film.stat(), len(film.read_bytes())
    black = io.BytesIO()
    Image.new("L", (48, 40)).save(black, format="PNG")
    film.write_bytes(black.getvalue().ljust(length, b"\0"))
    os.utime(film, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_a_larger_share_of_bad_films_is_allowed_without_decoding_again(records: Records, tmp_path: Path) -> None:
    (records.root / "films/069.jpg").write_bytes(b"")
    whole = contents(packed(records, tmp_path / "whole", max_bad_fraction=0.1).path)
    with pytest.raises(DataError, match="1 of 70") as raised:
        packed(records, tmp_path / "pack", num_workers=2)
    assert raised.value.__notes__ == ["69 films are kept; run the same command again to go on"]
    for name in records.table["image_path"][:69]:
        swap_for_black(records.root / name)
    assert contents(packed(records, tmp_path / "pack", max_bad_fraction=0.1).path) == whole


@pytest.mark.parametrize("bad", ["002.png", "041.jpg", "069.jpg"])
def test_mended_films_are_decoded_and_no_others(records: Records, tmp_path: Path, bad: str) -> None:
    whole = contents(packed(records, tmp_path / "whole").path)
    film = records.root / "films" / bad
    right, times = film.read_bytes(), film.stat()
    film.write_bytes(right[:30])
    for _ in range(3):  # and calls between that change nothing lose nothing
        with pytest.raises(DataError, match="1 of 70") as raised:
            packed(records, tmp_path / "pack")
        assert raised.value.__notes__ == ["69 films are kept; run the same command again to go on"]
    film.write_bytes(right)
    os.utime(film, ns=(times.st_atime_ns, times.st_mtime_ns))
    for other in (records.root / "films").iterdir():
        if other != film:
            swap_for_black(other)
    assert contents(packed(records, tmp_path / "pack").path) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "source", "whole"]


def test_a_film_whose_rights_were_wrong_is_looked_at_again(records: Records, tmp_path: Path) -> None:
    """Nothing of the file changes that a fingerprint sees; a link to nowhere stands in for a file without rights."""
    film = records.root / "films/050.png"
    whole = contents(packed(records, tmp_path / "whole").path)
    right = film.rename(tmp_path / "elsewhere.png")
    film.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="1 of 70"):
        packed(records, tmp_path / "pack")
    right.rename(tmp_path / "nowhere.png")
    swap_for_black(records.root / "films/048.png")
    assert contents(packed(records, tmp_path / "pack").path) == whole


def test_another_table_of_the_same_films_decodes_nothing_again(records: Records, tmp_path: Path) -> None:
    """A label corrected, a row left out, another order: what was decoded before the call was ended is taken."""
    (records.root / "films/060.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 70"):
        packed(records, tmp_path / "pack")
    corrected = records.table.assign(Mass=1.0).iloc[np.r_[50:60, 5:40, 61:70]].reset_index(drop=True)
    other = Records(corrected, records.label_names, records.mask_names, records.root)
    whole = contents(packed(other, tmp_path / "whole").path)
    for film in (records.root / "films").iterdir():
        swap_for_black(film)
    assert contents(packed(other, tmp_path / "pack").path) == whole


def test_negatives_are_turned_round_and_what_was_decoded_as_a_positive_is_not_taken_for_them(
    records: Records, tmp_path: Path
) -> None:
    (records.root / "films/040.png").write_bytes(b"")
    with pytest.raises(DataError):
        packed(records, tmp_path / "pack")
    is_negative = np.arange(len(records)) % 3 == 0
    of_negatives = replace(records, table=records.table.assign(**{NEGATIVE_COLUMN: is_negative}))
    pack = packed(of_negatives, tmp_path / "pack", max_bad_fraction=0.1)
    assert pack.table[NEGATIVE_COLUMN].tolist() == [each for row, each in enumerate(is_negative) if row != 40]
    for square, film in zip(pack.images, pack.table.itertuples(index=False), strict=True):
        grey = decode_grey(records.root / film.image_path)
        expected = 255 - grey if is_negative[int(Path(film.image_path).stem)] else grey
        assert np.array_equal(square, to_square(expected, 24))
    with pytest.raises(DataError, match="is ours, and holds something other than bool"):
        replace(records, table=records.table.assign(**{NEGATIVE_COLUMN: 1}))


def children_of(pid: int) -> list[Path]:
    return [Path("/proc") / str(child.pid) for child in psutil.Process(pid).children()]


def packing(records: Records, out: Path, *, num_workers: int, size_px: int) -> "subprocess.Popen[bytes]":
    """Packing in another process, whose first films are on the disk."""
    command = script(records.root, out, resource.RLIM_INFINITY, num_workers, size_px)
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not any(path.read_bytes().count(b"\n") >= 2 for path in out.parent.glob(".partial-*/journal.jsonl")):
        assert process.poll() is None, "it ended before anything could happen to it"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def killed(records: Records, out: Path, *, num_workers: int, size_px: int) -> list[Path]:
    """Pack in another process and kill it once the first films are on the disk; returns its workers."""
    process = packing(records, out, num_workers=num_workers, size_px=size_px)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    return workers


def test_a_killed_packing_leaves_no_pack_and_no_workers(records: Records, tmp_path: Path) -> None:
    workers = killed(records, tmp_path / "packs" / "pack", num_workers=2, size_px=1000)
    assert len(workers) >= 2
    deadline = time.monotonic() + 300
    while any(worker.exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def test_killed_it_goes_on_to_the_same_bytes(records: Records, tmp_path: Path) -> None:
    large = Preprocessing(image_size_px=600)
    plain = DATASET.read(records.root, FolderOptions())
    whole = contents(pack_records(plain, tmp_path / "whole", preprocessing=large).path)
    out = tmp_path / "packs" / "pack"
    killed(plain, out, num_workers=1, size_px=600)
    shutil.copytree(out.parent, tmp_path / "again")
    assert contents(pack_records(plain, out, preprocessing=large, num_workers=2).path) == whole
    assert [path.name for path in out.parent.iterdir()] == ["pack"]

    swap_for_black(records.root / records.table["image_path"][0])  # decoded before the kill, and not again
    assert contents(pack_records(plain, tmp_path / "again" / "pack", preprocessing=large).path) == whole


def test_a_chunk_that_is_not_as_the_journal_says_is_decoded_anew(records: Records, tmp_path: Path) -> None:
    out = tmp_path / "packs" / "pack"
    plain = DATASET.read(records.root, FolderOptions())
    killed(plain, out, num_workers=1, size_px=600)
    images = out.parent / ".partial-pack" / "images.npy"
    with images.open("r+b") as file:
        file.seek(5000)
        file.write(b"power cut")
    large = Preprocessing(image_size_px=600)
    whole = contents(pack_records(plain, tmp_path / "whole", preprocessing=large).path)
    assert contents(pack_records(plain, out, preprocessing=large).path) == whole


def test_other_options_do_not_cost_the_work_of_a_night(records: Records, tmp_path: Path) -> None:
    out = tmp_path / "packs" / "pack"
    killed(records, out, num_workers=1, size_px=600)
    held = contents(out.parent / ".partial-pack")
    with pytest.raises(UsageError, match=r"\.partial-pack holds \d+ films of a pack that was begun with other options"):
        packed(records, out)
    assert contents(out.parent / ".partial-pack") == held
    assert contents(packed(records, out, overwrite=True).path) == contents(packed(records, tmp_path / "alone").path)


def test_a_decoding_worker_that_is_killed_costs_nothing_of_what_was_decoded(tmp_path: Path) -> None:
    """As the kernel kills one for want of memory."""
    out = tmp_path / "packs" / "pack"
    large = Preprocessing(image_size_px=600)
    plain = DATASET.read(write_films(tmp_path / "many", 300).root, FolderOptions())
    process = packing(plain, out, num_workers=2, size_px=600)
    for child in children_of(process.pid):
        if b"spawn_main" in (child / "cmdline").read_bytes():
            os.kill(int(child.name), signal.SIGKILL)
            break
    _, said = process.communicate()
    assert process.returncode == 1
    assert re.search(rb"a worker process died.*fewer than 2 processes; \d+ films are kept; run the same command", said)
    swap_for_black(plain.root / "films/000.png")
    kept = pack_records(plain, out, preprocessing=large)
    assert kept.images[0].any(), "it was decoded again"
    assert [path.name for path in out.parent.iterdir()] == ["pack"]


def test_a_disk_that_is_away_is_no_bad_film(records: Records, tmp_path: Path) -> None:
    """A link to a file that the kernel refuses to read stands in for a disk with an error, or a server that is gone."""
    film = records.root / "films/050.png"
    whole = contents(packed(records, tmp_path / "whole").path)
    film.rename(tmp_path / "elsewhere.png")
    film.symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=r"050.png cannot be read: Input/output error") as raised:
        packed(records, tmp_path / "pack", max_bad_fraction=1)
    assert raised.value.__notes__ == ["32 films are kept; run the same command again to go on"]
    film.unlink()
    (tmp_path / "elsewhere.png").rename(film)
    assert contents(packed(records, tmp_path / "pack").path) == whole


def test_two_processes_do_not_write_one_pack(records: Records, tmp_path: Path) -> None:
    with (
        resumable_directory(tmp_path / "pack") as folder,
        pytest.raises(UsageError, match="another process is writing in"),
    ):
        packed(records, tmp_path / "pack")
    assert folder.name == ".partial-pack"


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "records.parquet", "manifest.json"])
def test_a_damaged_pack_is_refused(records: Records, tmp_path: Path, name: str) -> None:
    pack = packed(records, tmp_path / "pack")
    path = pack.path / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=rf"{name} (is|holds)"):
        Pack.open(pack.path)
    path.unlink()
    with pytest.raises((DataError, UsageError), match=rf"{name}"):
        Pack.open(pack.path)
    path.write_bytes(whole)
    assert Pack.open(pack.path).fingerprint == pack.fingerprint


def test_a_pack_of_another_version_or_shape_is_refused(records: Records, tmp_path: Path) -> None:
    pack = packed(records, tmp_path / "pack")
    manifest = pack.path / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"format_version": 3', '"format_version": 2'))
    with pytest.raises(DataError, match="not a manifest of version 3"):
        Pack.open(pack.path)
    manifest.write_text(text.replace('"num_images": 70', '"num_images": 69'))
    with pytest.raises(DataError, match=r"holds uint8 \(70, 24, 24\), its manifest says uint8 \(69, 24, 24\)"):
        Pack.open(pack.path)
    assert read_json(pack.path / "manifest.json")["num_images"] == 69
    with pytest.raises(UsageError, match="is not a pack"):
        Pack.open(tmp_path)


def test_a_pack_is_sent_to_another_process_as_its_path(records: Records, tmp_path: Path) -> None:
    pack = packed(records, tmp_path / "pack")
    sent = pickle.dumps(pack)
    assert len(sent) < 500
    assert np.array_equal(pickle.loads(sent).images, pack.images)


def test_scaled_decoding_is_close_recorded_and_never_mixed(tmp_path: Path) -> None:
    root = tmp_path / "films"
    root.mkdir()
    y, x = np.mgrid[:390, :320]
    smooth = (np.sin(x / 17) * np.cos(y / 23) * 100 + 128).astype(np.uint8)
    Image.fromarray(smooth).save(root / "film.jpg", quality=90)
    Image.fromarray(smooth).save(root / "film.png")
    records = DATASET.read(root, FolderOptions())
    exact = pack_records(records, tmp_path / "exact")
    scaled = pack_records(records, tmp_path / "scaled", decoding=Decoding(scaled_jpeg=True))
    assert scaled.manifest.decoding.scaled_jpeg
    assert not exact.manifest.decoding.scaled_jpeg
    assert scaled.fingerprint != exact.fingerprint
    assert np.array_equal(scaled.images[1], exact.images[1])  # PNG knows no scaled decoding
    difference = np.abs(scaled.images[0].astype(int) - exact.images[0])
    assert 0 < difference.mean() < 1
    assert decode_grey(root / "film.jpg", Decoding(scaled_jpeg=True), wanted_px=224).shape == (293, 240)
    assert decode_grey(root / "film.jpg", wanted_px=224).shape == (390, 320)
    with pytest.raises(UsageError, match="made from other files or with other options"):
        pack_records(records, tmp_path / "exact", decoding=Decoding(scaled_jpeg=True))


def test_burned_in_films_are_quarantined_unless_allowed_and_that_is_recorded(tmp_path: Path) -> None:
    root = tmp_path / "films"
    root.mkdir()
    for name, flag in (("clean.dcm", "NO"), ("named.dcm", "YES")):
        pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
        (root / name).write_bytes(dicom(pixels, bits_stored=12, BurnedInAnnotation=flag))
    records = DATASET.read(root, FolderOptions())
    pack = packed(records, tmp_path / "pack", max_bad_fraction=0.5)
    assert [(bad.file, bad.reason[:48]) for bad in pack.quarantined] == [
        ("named.dcm", "its header says that text is burned into the film"[:48])
    ]
    allowed = packed(records, tmp_path / "allowed", decoding=Decoding(allow_burned_in=True))
    assert len(allowed) == 2
    assert allowed.manifest.decoding.allow_burned_in


def test_the_fingerprint_can_be_computed_again_and_sees_one_changed_byte(records: Records, tmp_path: Path) -> None:
    pack = packed(records, tmp_path / "pack")
    assert recomputed_fingerprint(pack) == pack.fingerprint
    for name in ("images.npy", "masks.npy"):
        file = pack.path / name
        before = file.read_bytes()
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert recomputed_fingerprint(Pack.open(pack.path)) != pack.fingerprint
        file.write_bytes(before)


def alone(records: Records, rows: list[int]) -> Records:
    """The same films, nobody knowing whose those of some rows are."""
    patients = records.table["patient_id"].where(~records.table.index.isin(rows), records.table["sample_id"])
    return replace(records, table=records.table.assign(patient_id=patients), has_unknown_patients=True)


def test_a_pack_says_whose_films_nobody_knows(records: Records, tmp_path: Path) -> None:
    known = packed(records, tmp_path / "known")
    assert known.manifest.unknown_patients == 0
    assert known.has_known_patient.all()
    assert known.drawn_by == BY_PATIENT

    none = packed(alone(records, list(range(70))), tmp_path / "none")
    assert none.manifest.unknown_patients == 70
    assert not none.has_known_patient.any()
    assert none.drawn_by == BY_FILM

    test = known.rows("test")[:5].tolist()
    some = packed(alone(records, [*test, 1]), tmp_path / "some")
    assert some.manifest.unknown_patients == 6
    assert np.flatnonzero(~some.has_known_patient).tolist() == sorted([*test, 1])
    assert some.drawn_by == f"patient, 5 of {len(known.rows('test'))} films alone, patients unknown"
    assert packed(alone(records, [1]), tmp_path / "one").drawn_by == BY_PATIENT  # a training film


def test_an_id_that_both_sample_and_patient_have_is_a_known_patient(records: Records, tmp_path: Path) -> None:
    same = replace(records, table=records.table.assign(patient_id=records.table["sample_id"]))
    assert packed(same, tmp_path / "pack").drawn_by == BY_PATIENT


@pytest.mark.parametrize(
    ("note", "drawn_by"),
    [
        ("3 of 4 images had no patient id and counts as its own patient: films of one person may lie ...", BY_FILM),
        ("Films have no patient id and count as one patient each: films of one person may lie ...", BY_FILM),
        ("VinDr-CXR has no patient ids; every film counts as its own patient.", BY_FILM),
        ("A training film was cropped at random once, when its array was made.", BY_PATIENT),
    ],
)  # fmt: skip
def test_a_pack_of_0_2_0_is_read_and_its_notes_believed(
    records: Records, tmp_path: Path, note: str, drawn_by: str
) -> None:
    same = replace(records, table=records.table.assign(patient_id=records.table["sample_id"]), notes=(note,))
    packed(same, tmp_path / "pack")
    manifest = read_json(tmp_path / "pack" / "manifest.json")
    del manifest["unknown_patients"]
    write_json(tmp_path / "pack" / "manifest.json", manifest)
    assert Pack.open(tmp_path / "pack").drawn_by == drawn_by


@pytest.mark.parametrize("header", [0, 128, mmap.ALLOCATIONGRANULARITY + 72])
@pytest.mark.parametrize("shape", [(40, 7), (9, 3, mmap.PAGESIZE), (5, 0)])
def test_rows_are_asked_of_the_disk_where_they_lie(tmp_path: Path, header: int, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "rows"
    path.write_bytes(b"h" * header + values.tobytes() + b"t")
    array = np.memmap(path, np.uint8, "r", header, shape) if values.size else values
    rows = np.array([4, 0, 3, 3])
    np.testing.assert_array_equal(rows_of(array, rows), values[rows])
    if values.size:
        for row, (begin, size) in zip(rows, _stretches(array, rows), strict=True):
            assert begin % mmap.PAGESIZE == 0
            assert bytes(array.base[begin : begin + size]).endswith(values[row].tobytes())


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="only Linux can be told to forget a file")
def test_asked_at_once_rows_are_there_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((400, 64 * 1024), np.uint8))

    def missed(read: Callable[[Any, Any], Any]) -> int:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        array, before = np.load(path, mmap_mode="r"), resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        read(array, np.random.default_rng(0).permutation(400)[:64])
        return resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before

    one_by_one = missed(lambda array, rows: array[rows])
    if not one_by_one:
        pytest.skip("this file system keeps what it is told to forget")
    assert missed(rows_of) < one_by_one
