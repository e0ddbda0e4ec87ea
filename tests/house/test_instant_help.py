"""Help, lists and wrong calls answer at once: none of them opens a heavy library, or takes the memory of one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch", "torchvision", "timm", "transformers", "peft", "lightning_fabric", "sklearn", "scipy", "pandas", "pyarrow",
    "matplotlib", "jinja2", "onnx", "onnxruntime", "fastapi", "uvicorn", "wfdb", "h5py", "pyedflib",
    "huggingface_hub", "wandb",
)  # fmt: skip
MOST_MIB = 150

ASK = """
import contextlib, io, json, pathlib, re, sys
from pacx.cli.main import _VERBS, main
from pacx.modalities.modality import modalities

def answer(words):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(words)
            code = 0
        except SystemExit as stop:
            code = stop.code
    return said.getvalue(), code

heavy, wrong = json.loads(sys.argv[1])
found = {}
waiting = [[verb] for verb in _VERBS] + [["embed", name] for name in modalities()] + [["data", "list"]]
while waiting:
    words = waiting.pop(0)
    name = " ".join(words)
    said, code = answer([*words, "--help"])
    found[name] = [code, sorted({module.partition(".")[0] for module in sys.modules} & set(heavy))]
    if said.startswith(f"usage: pacx {name} NAME"):
        waiting += [[*words, each] for each in re.findall(r"^  (\\S+) ", said.partition("Example:")[0], re.MULTILINE)]
for words in wrong:
    said, code = answer(words)
    found[" ".join(words)] = [code, sorted({module.partition(".")[0] for module in sys.modules} & set(heavy)), said]
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())  # of this program alone
found["MiB"] = int(peak[1]) / 1024
print(json.dumps(found))
"""
WRONG = {
    "nonsense": "not a verb",
    "trian mae": "did you mean train",
    "train": "choose one of these",
    "train mea-tiny": "did you mean mae-tiny",
    "train mae --nonsense": "nonsense",
    "train mae": "required",
    "train mae --pack nowhere": "nowhere is not a pack",
    "train mae --pack nowhere --task.model.img-size 225": "give a multiple of patch_size",
    "train distill --encoder e --pack nowhere --targets t": "nowhere is not a pack",
    "embed ecgg --out x.npz": "did you mean ecg",
    "data pack nih --root x --out y": "did you mean nih14",
    "data doctor nih14 --nonsense": "nonsense",
    "data merge": "required",
    "simulate chexpart --out x": "did you mean chexpert",
    "audit class-tokne": "did you mean class-token",
    "convert ecgfonder": "did you mean ecgfounder",
    "report": "nothing to report on",
    "report nothing.json": "nothing.json does not exist",
    "evaluate knn --pack nowhere --encoders random --out rows.json": "nowhere is not a pack",
    "predict": "required",
    "export": "required",
    "export pyproject.toml --out pyproject.toml": "is the encoder itself",
    "serve --nonsense": "nonsense",
}
"""A wrong call, and a part of what is said to it."""


@pytest.fixture(scope="module")
def answers() -> dict:
    asked = json.dumps([HEAVY, [call.split() for call in WRONG]])
    done = subprocess.run([sys.executable, "-c", ASK, asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_page_of_help_is_looked_at(answers: dict) -> None:
    assert answers.keys() >= {"train mae", "train distill-tokens", "data pack nih14", "data list", "embed labs"}
    assert answers.keys() >= {"simulate university", "simulate nih14", "convert ecgfounder", "audit", "report"}
    assert answers.keys() >= {"evaluate linear-probe", "evaluate all", "audit mask-ratio", "audit pre-masked"}


def test_no_help_and_no_list_opens_a_heavy_library(answers: dict) -> None:
    pages = {call: answer for call, answer in answers.items() if call not in (*WRONG, "MiB")}
    assert {call: opened for call, (_, opened, *_) in pages.items() if opened} == {}
    assert {call for call, (code, *_) in pages.items() if code != 0} == set()


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_call_is_answered_without_a_heavy_library(answers: dict, call: str) -> None:
    code, opened, said = answers[call]
    assert code == 2
    assert opened == []
    assert WRONG[call] in " ".join(said.split())


def test_all_of_it_takes_little_memory(answers: dict) -> None:
    assert answers["MiB"] < MOST_MIB


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, pacx\nassert not [name for name in sys.modules if name.startswith('pacx.')]\n"
    code += f"assert not {set(HEAVY)!r} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "pacx", "trian"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean train" in done.stderr
