"""What the outside world relies on: the public names, the command's verbs, the README's commands."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pacx
from pacx.cli import main as command

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_exports_exactly_this() -> None:
    assert sorted(pacx.__all__) == ["Encoder", "__version__", "load_encoder"]
    for name in pacx.__all__:
        assert getattr(pacx, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pacx.nonsense


def test_help_answers_without_loading_torch() -> None:
    code = "import sys, pacx.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit as e: assert not e.code\n"
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in command._VERBS:
        assert re.search(rf"^  {verb} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("verb", list(command._VERBS))
def test_every_verb_explains_itself_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main([verb, "--help"])
    assert stop.value.code == 0
    assert f"pacx {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["nonsense"], ["train", "nonsense"], ["report", "--nonsense"]])
def test_a_wrong_call_exits_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(words)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_windows_is_refused_in_one_sentence() -> None:
    """As on a Windows, which has no fcntl; the platform's name is set after Python's own modules have looked at it."""
    code = (
        "import sys, shutil, multiprocessing, tempfile\nfrom pacx.cli.main import main\n"
        "sys.modules['fcntl'] = None; sys.platform = 'win32'\nmain(['data', 'list'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "pacx: PaCX runs on Linux and macOS; on Windows, run it in the Windows Subsystem for Linux (WSL)\n"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "Operating System :: POSIX" in project["classifiers"]
    assert "needs Linux or macOS" in (ROOT / "README.md").read_text()


def test_ci_and_readme_call_the_same_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
    assert "make check" in (ROOT / ".ci" / "run").read_text()


def test_no_registry_host_or_machine_path_is_named() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    host = re.compile(r"index[-]url|pyp[i]\.org|files\.python[h]osted|(^|[^A-Za-z0-9_.-])/wor[k]/[a-z.]")
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".txt", ".md", ".cff", ".yml"} and path != Path(__file__):
            assert not host.search(path.read_text()), name
