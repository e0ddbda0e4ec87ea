import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pacx.core import artifacts
from pacx.core.errors import ArtifactError, DataError


def test_a_file_appears_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(ZeroDivisionError), artifacts.staged_file(target) as partial:
        partial.write_text("half")
        _ = 1 / 0
    assert list(target.parent.iterdir()) == []
    artifacts.write_text(target, "whole")
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_whoever_may_open_a_folder_may_read_what_is_in_it(tmp_path: Path, umask: int, mode: int) -> None:
    """safetensors writes for its owner alone, so that a colleague could not open an encoder."""
    before = os.umask(umask)
    try:
        for kind in (artifacts.staged_directory, artifacts.resumable_directory):
            with kind(tmp_path / kind.__name__) as partial:
                (partial / "deep").mkdir()
                save_file({"weight": np.zeros(3, np.float32)}, partial / "deep" / "model.safetensors")
                (partial / "card").write_text("")
            files = [each for each in (tmp_path / kind.__name__).rglob("*") if each.is_file()]
            assert [each.stat().st_mode & 0o777 for each in files] == [mode, mode]
    finally:
        os.umask(before)


def test_a_folder_replaces_the_old_one_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "pack"
    with artifacts.staged_directory(target) as partial:
        (partial / "a").write_text("old")
    with pytest.raises(ValueError, match="stop"), artifacts.staged_directory(target) as partial:
        (partial / "a").write_text("new")
        raise ValueError("stop")
    assert (target / "a").read_text() == "old"
    with artifacts.staged_directory(target) as partial:
        (partial / "b").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    assert [path.name for path in target.iterdir()] == ["b"]


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArtifactError, match=r"cannot write .*choose another place"):
        artifacts.write_text(tmp_path / "file" / "below", "text")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The kernel's own file size limit stands in for a full disk: the write fails half way, for real."""
    script = (
        "import sys; from pathlib import Path; from pacx.core import artifacts\n"
        "from pacx.core.errors import ArtifactError\n"
        "try: artifacts.write_text(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except ArtifactError as error: print(error); sys.exit(7)\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(tmp_path / "big.txt")],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "cannot write" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    target = tmp_path / "pack"
    script = (
        "import os, signal, sys; from pathlib import Path; from pacx.core import artifacts\n"
        "with artifacts.staged_directory(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'a').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    with artifacts.staged_directory(target) as partial:
        (partial / "a").write_text("whole")
    assert (target / "a").read_text() == "whole"


def test_json_refuses_nan_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(path, {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="is missing"):
        artifacts.read_json(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        artifacts.read_json(path)
    artifacts.write_json(path, {"x": [1, 2.5]})
    assert artifacts.read_json(path) == {"x": [1, 2.5]}
    assert artifacts.sha256_of(path) == artifacts.sha256_of(path)
