"""Every command and every Python block of the tutorials, run in order on few simulated patients with small settings."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running_server import TOKEN, serving

import pacx.recipes
from pacx.cli.main import main
from pacx.recipes import MAERun, recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/start.md"]
PAGES += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_ONLY = re.compile(r"(git|cd|pip|make|pacx demo|docker) ?")

_MODEL = "--task.model.embed-dim 32 --task.model.depth 1 --task.model.num-heads 2"
_DECODER = "--task.model.decoder-embed-dim 32 --task.model.decoder-depth 1 --task.model.decoder-num-heads 2"
_SHORT = "--training.epochs 1 --training.warmup-epochs 0 --training.batch-size 16 --training.accelerator cpu"
_PROBE = "--num-draws 20 --probe.epochs 2 --probe.num-seeds 1"
SMALL = {
    "simulate": "--patients 40 --num-workers 1",
    "simulate mimic": "--patients 40",
    "data pack": "--num-workers 1",
    "train mae-": f"{_SHORT} {_MODEL} {_DECODER}",
    "train": _SHORT,
    "evaluate linear-probe": f"{_PROBE} --num-halves 2",
    "evaluate all": f"{_PROBE} --decoder.epochs 1 --decoder.num-seeds 1 --deletion.num-films 4",
    "evaluate": "--num-draws 20",
    "audit": _PROBE,
    "export": "--num-parity-films 16 --no-int8",
}
"""What is added to a command that begins so; the longest beginning counts. A later word overrules an earlier one."""


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of the blocks of a page, in order."""
    return ((found[1], found[2]) for found in BLOCK.finditer((ROOT / page).read_text()))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a block, continued lines joined, without ``pacx``."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            assert words[0] == "pacx", f"only pacx is run here, not {line}"
            yield words[1:]


def settings(words: list[str]) -> list[str]:
    """What makes this command small."""
    beginnings = [each for each in SMALL if " ".join(words).startswith(each)]
    return SMALL[max(beginnings, key=len)].split() if beginnings else []


def small_mae_tiny() -> MAERun:
    """The recipe as ``SMALL`` makes it, for Python that trains."""
    run = recipe("mae-tiny")
    assert isinstance(run, MAERun)
    sizes = {"embed_dim": 32, "depth": 1, "num_heads": 2, "decoder_embed_dim": 32}
    model = replace(run.task.model, **sizes, decoder_depth=1, decoder_num_heads=2)
    training = replace(run.training, epochs=1, warmup_epochs=0, batch_size=16, accelerator="cpu")
    return replace(run, task=replace(run.task, model=model), training=training)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = small_mae_tiny()
    monkeypatch.setattr(pacx.recipes, "recipe", lambda name: small if name == "mae-tiny" else recipe(name))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    languages = set()
    with ExitStack() as servers:
        for language, text in blocks(page):
            languages.add(language)
            if language == "python":
                exec(compile(text, page, "exec"), names)
            for words in commands(text) if language == "bash" else ():
                if words[0] == "serve":
                    places = (word.split("=") for word in words[1:])
                    folders = [f"{name}={tmp_path / place}" for name, place in places]
                    port = servers.enter_context(serving(folders, tmp_path)).port
                    monkeypatch.setenv("PACX_SERVER", f"http://127.0.0.1:{port}")
                    monkeypatch.setenv("PACX_TOKEN", TOKEN)
                    continue
                main([*words, *settings(words)])
                if "--out" in words:
                    assert Path(words[words.index("--out") + 1]).exists(), " ".join(words)
    assert {"bash"} <= languages <= {"bash", "python", "text"}
    if "vectors" in names:
        assert np.isfinite(names["vectors"]).all()
    if "answer" in names:
        assert '"findings"' in names["answer"]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_only_shown_is_no_command_that_could_be_run(page: str) -> None:
    for language, text in blocks(page):
        if language == "text":
            for line in filter(None, text.splitlines()):
                assert SHOWN_ONLY.match(line), f"{page}: mark the block with {line!r} as bash, so that it is run"


def test_the_longest_beginning_counts() -> None:
    assert settings(["train", "mae-tiny", "--out", "runs/mae"])[-1] == "2"
    assert settings(["train", "ecg-tiny"]) == _SHORT.split()
    assert settings(["report", "results.json"]) == []
