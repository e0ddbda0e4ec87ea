"""The scripts of docs/cluster.md, run as they stand; of SLURM itself only the two commands they call are played."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacx.cli.main import main
from pacx.core.randomness import generator
from pacx.data.packs.pack import Pack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
SCRIPTS = {
    name: script
    for script in re.findall(r"^```\n(#!/bin/bash\n.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name in re.findall(r"--job-name=(\S+)", script)
}


def run(folder: Path, script: str, *, srun: str = 'exec "$@"', **variables: str) -> int:
    """Run a script where ``srun`` starts what it is given, and ``scontrol`` and ``pacx`` note how they were called."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    note = 'printf "%s\\n" "$@" > "$(basename "$0").txt"'
    for name, body in (("srun", srun), ("scontrol", note), ("pacx", note)):
        (commands / name).write_text(f"#!/bin/bash\n{body}\n")
        (commands / name).chmod(0o755)
    slurm = {"SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1", "SLURM_JOB_ID": "41", "SLURM_CPUS_PER_TASK": "1"}
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **slurm, **variables, "PATH": path}
    return subprocess.run(["bash"], input=script, env=environment, cwd=folder, text=True, check=False).returncode


def pacx(folder: Path) -> None:
    """What the script last called, in this process."""
    main((folder / "pacx.txt").read_text().splitlines())


def test_the_page_has_the_three_scripts_and_bash_reads_them() -> None:
    assert list(SCRIPTS) == ["pacx-mae", "pacx-pack", "pacx-evaluate"]
    for script in SCRIPTS.values():
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(("code", "is_requeued"), [(75, True), (0, False), (1, False)])
def test_a_job_is_put_back_in_the_queue_when_its_run_was_interrupted_and_only_then(
    code: int, is_requeued: bool, tmp_path: Path
) -> None:
    assert run(tmp_path, SCRIPTS["pacx-mae"], srun=f"exit {code}") == code
    assert (tmp_path / "scontrol.txt").exists() == is_requeued
    if is_requeued:
        assert (tmp_path / "scontrol.txt").read_text().split() == ["requeue", "41"]


def test_the_array_of_parts_makes_the_pack_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = generator(0, "films")
    (tmp_path / "films").mkdir()
    for number in range(7):
        Image.fromarray(random.integers(0, 256, (32, 32), np.uint8)).save(tmp_path / "films" / f"{number}.png")
    names = {"NAME": "folder", "ROOT": "films", "PACK": "packs/parts"}
    script = f"{SCRIPTS['pacx-pack'].rstrip()} --image-size-px 32\n"
    for task in ("1", "2"):
        assert run(tmp_path, script, SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="2", **names) == 0
        pacx(tmp_path)
    (merge,) = re.findall(r"--wrap '(pacx data merge .*?)'", PAGE.read_text())
    assert run(tmp_path, merge.replace("-of-8", "-of-2"), **names) == 0
    pacx(tmp_path)
    main(["data", "pack", "folder", "--root", "films", "--out", "packs/whole", "--image-size-px", "32"])
    parts, whole = (Pack.open(Path("packs") / name) for name in ("parts", "whole"))
    np.testing.assert_array_equal(parts.images, whole.images)
    assert list(parts.sample_ids) == list(whole.sample_ids)


@pytest.mark.parametrize(
    ("name", "complaint"), [("pacx-mae", "P is not a pack"), ("pacx-evaluate", "runs/mae/encoder is no encoder")]
)
def test_the_other_scripts_get_as_far_as_looking_for_their_files(
    name: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, SCRIPTS[name], SLURM_ARRAY_TASK_ID="0") == 0
    with pytest.raises(SystemExit):
        pacx(tmp_path)
    assert complaint in capsys.readouterr().err
