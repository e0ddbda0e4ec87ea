"""Packing that is killed, or whose disk is full, at random moments: the next call goes on and ends in the same bytes.

    python benchmarks/kept_work.py --kills 20 --disks 10

A full disk is a tmpfs of a random size in a mount of its own, where this system lets one be made (``unshare -rm``); the
next call finds it larger. Prints what each round kept.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_SIDE_PX, _NUM_FILMS = 200, 700
_PACK_KIB = _SIDE_PX**2 * _NUM_FILMS // 1024


def _films(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(_NUM_FILMS):
        Image.fromarray(rng.integers(0, 256, (250, 250), np.uint8)).save(folder / f"{number:04d}.png")


def _command(films: Path, out: Path, num_workers: int) -> list[str]:
    words = f"data pack folder --root {films} --out {out} --image-size-px {_SIDE_PX} --num-workers {num_workers}"
    return [sys.executable, "-m", "pacx", *words.split()]


def _contents(pack: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(pack.iterdir())}


def _num_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _kill(films: Path, out: Path, rng: random.Random) -> str:
    """Kill the packing at a random moment of its work."""
    wanted = rng.randrange(1, _NUM_FILMS // 32)
    journal = out.parent / f".partial-{out.name}" / "journal.jsonl"
    with subprocess.Popen(_command(films, out, rng.choice((1, 2)))) as process:
        while _num_lines(journal) < wanted and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
    return f"killed with {max(_num_lines(journal) - 1, 0)} chunks written"


def _fill(films: Path, out: Path, rng: random.Random) -> str:
    """Pack on a disk with room for a part, copy what is left there to where there is room."""
    room_kib = rng.randrange(100, _PACK_KIB)
    place = out.parent / "small"
    script = (
        f"mkdir -p {place} && mount -t tmpfs -o size={room_kib}k tmpfs {place} && "
        f"{' '.join(_command(films, place / out.name, 1))}; code=$?; cp -a {place}/. {out.parent}/; exit $code"
    )
    done = subprocess.run(["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()[-1]
    if done.returncode != 1 or "No space left on device" not in said:
        raise SystemExit(f"exit {done.returncode}, {said}")
    return f"{room_kib} KiB of {_PACK_KIB}: ..{said[said.index('No space') :]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Do so many rounds of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--disks", type=int, default=10)
    asked = parser.parse_args(arguments)
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        films, whole = Path(place) / "films", Path(place) / "whole"
        _films(films)
        subprocess.run(_command(films, whole, 2), check=True)
        right = _contents(whole)
        for number, mishap in enumerate([_kill] * asked.kills + [_fill] * asked.disks):
            out = Path(place) / f"round-{number}" / "pack"
            out.parent.mkdir()
            told = mishap(films, out, rng)
            again = subprocess.run(_command(films, out, 2), capture_output=True, text=True, check=True)
            if _contents(out) != right:
                raise SystemExit(f"round {number}: {told}; then other bytes: {again.stdout}")
            print(f"round {number + 1}: {told}; the next call ended in the same bytes", flush=True)


if __name__ == "__main__":
    main()
