"""No option is parsed and dropped: while a call runs, every one of its fields is read, or it is refused if given.

Each verb runs for real, on films and recordings small enough, once for each of its branches. A field in a group that
several branches share (how to read a table, how to train) has to be read in one of them; a verb's own fields in each.
"""

import dataclasses
import json
import os
import signal
import threading
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from option_reads import Told, options_of
from PIL import Image
from test_modalities import CASES as MODALITIES

from pacx.cli.main import _VERBS, main
from pacx.cli.verbs.audit import all_audits
from pacx.core.preprocessing import Preprocessing
from pacx.core.vocabulary import ECG_LEADS
from pacx.evaluation.protocol import protocols
from pacx.modalities.modality import modalities
from pacx.models.ecg.founder import ECGFounder
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.simulation.twin import twins

SIZE = 32
VIT = ViTConfig(img_size=SIZE, patch_size=8, embed_dim=24, depth=2, num_heads=2)
PROBE = "--probe.epochs 2 --probe.num-seeds 2"
DECODER = "--decoder.epochs 1 --decoder.warmup-epochs 0 --decoder.num-seeds 1 --decoder.batch-size 8"
DELETION = "--deletion.steps 2 --deletion.num-films 4"
TRAINING = "training.epochs=2 training.warmup-epochs=0 training.accelerator=cpu training.batch-size=8"
MODEL = (
    "img-size=32 patch-size=8 embed-dim=24 depth=1 num-heads=2 decoder-embed-dim=16 decoder-depth=1 decoder-num-heads=2"
)
AUGMENTATION = "affine-probability=1 jitter-probability=1 blur-probability=1 erasing-probability=1"
OF_PROTOCOLS = {
    "probe": PROBE,
    "decoder": DECODER,
    "deletion": DELETION,
    "targets": "--targets ecg-targets",
    "values": "--values labs.csv",
    "save": "--save",
    "label": "--label bright",
}


def words_below(path: str, words: str) -> str:
    return " ".join(f"--{path}{word}" for word in words.split())


def calls() -> dict[str, str]:
    """Every verb and branch, each with a call that ends; later ones use what earlier ones wrote."""
    ready = {
        "data pack": "data pack folder --root films --out packs/films --image-size-px 32 --label-columns bright",
        "data pack, findings": "data pack folder --root films --out packs/b --csv films/found.csv "
        "--finding-column found",
        "data pack, tree": "data pack folder --root tree --out packs/c --labels-from-subfolders",
        "data pack, shard": "data pack folder --root films --out packs/d --shard 1/1",
        "data pack, leak": "data pack folder --root films --out packs/leak --csv films/leak.csv --label-columns bright",
        "data merge": "data merge packs/d.shard-1-of-1 --out packs/d",
        "data doctor": "data doctor folder --root films --json d.json",
        "data overlap": "data overlap packs/films packs/d --json o.json",
        "simulate": "simulate university --out hospital --patients 12 --image-size-px 32",
        "convert": "convert ecgfounder founder.pth --out founder",
        "embed": "embed mae films --out e.npz --device cpu",
        "embed, ecg": "embed ecg/encoder wfdb --out g.npz --device cpu --num-workers 1",
        "embed ecg": "embed ecg --encoder ecg/encoder --recordings ecg/ecg.npy --out ecg-targets",
        "data pack ecg": "data pack ecg --root ecg/ecg.npy --out packs/ecg --notch-hz 60",
        "data pack ecg, shard": "data pack ecg --root ecg/ecg.npy --out packs/e --shard 1/1 --num-workers 1",
        "data merge, ecg": "data merge packs/e.shard-1-of-1 --out packs/e",
        "embed ecg, pack": "embed ecg --encoder ecg/encoder --recordings packs/ecg --out pack-targets",
        "look": "look ecg wfdb/r0.hea --out r0.svg",
        "embed ecg, bare": "embed ecg --encoder ecg/encoder --recordings bare --out bare-targets --rate-hz 500 "
        f"--unit MILLIVOLT --leads {' '.join(ECG_LEADS)}",
        "embed ecg, list": "embed ecg --encoder ecg/encoder --recordings wfdb/list.csv --out list-targets "
        "--moment-column seen",
        "embed labs": "embed labs --encoder labs/encoder --table labs/labs.csv --out labs-targets",
        "embed labs, long": "embed labs --encoder labs/encoder --table long.csv --out long-targets "
        "--reading.samples samples.csv",
        "embed ecg-measures": "embed ecg-measures --encoder ecg-measures/encoder --recordings ecg/ecg.npy "
        "--out measures-targets",
        "embed vitals": "embed vitals --encoder vitals/encoder --table vitals/vitals.csv --out vitals-targets",
    }
    ready |= {
        f"simulate {name}": f"simulate {name} --out twins/{name} --patients 12 --image-size-px 32" for name in TWINS
    }
    ready |= {f"data pack {name}": f"data pack {name} --root twins/{name} --out packs/{name}" for name in TWINS}
    ready["data pack dicom-folder"] = "data pack dicom-folder --root twins/vindr-cxr --out packs/dicom"
    ready |= {f"data doctor {name}": f"data doctor {name} --root twins/{name} --samples 4" for name in TWINS}
    films = "--pack packs/films --encoders mae=mae pacx=pacx --baseline mae --num-draws 20"
    for name, protocol in protocols().items():
        names = {each.name for each in dataclasses.fields(protocol.settings)}
        more = " ".join(words for field, words in OF_PROTOCOLS.items() if field in names)
        ready[f"evaluate {name}"] = f"evaluate {name} {films} {more} --out results/{name}.json"
    ready |= {
        "evaluate all": "evaluate all --packs packs/films --encoders mae=mae pacx=pacx --baseline mae --num-draws 20 "
        f"--targets ecg-targets --values labs.csv --trained-on packs/films {PROBE} {DECODER} {DELETION} --out all",
        "report": "report results/linear-probe.json --out page.html --tables tables",
        "report --verify": "report --verify all/certificate.json --depth files",
        "export": "export mae --out exported --num-parity-films 60",
        "embed, export": "embed exported films --out f.npz",
        "predict": "predict mae films --out p.csv --device cpu",
        "predict, export": "predict exported films --out q.csv",
        "serve": "serve mae=exported --port 0 --no-auth --cache cache --limits.decode-workers 1",
        "train mae": f"train mae-tiny-muon --pack packs/films --out runs/mae {words_below('', TRAINING)} "
        + words_below("task.model.", MODEL)
        + " "
        + words_below("task.augmentation.", AUGMENTATION),
        "train labs": f"train labs-tiny --table labs/train.csv --out runs/labs {words_below('', TRAINING)}",
        "train vitals": f"train vitals-tiny --table vitals/train.csv --out runs/vitals {words_below('', TRAINING)}",
        "train ecg": f"train ecg-tiny --recordings ecg/ecg.npy --out runs/ecg {words_below('', TRAINING)} "
        "--task.model.preprocessing.notch-quality 29",
        "train distill": "train distill-tiny --encoder mae --pack packs/films --targets ecg-targets labs-targets "
        f"--out runs/distill {words_below('', TRAINING)}",
        "audit class-token": f"--pack packs/films --baseline mae=mae --encoder pacx=pacx {PROBE}",
        "audit threshold": f"--pack packs/films --encoders mae=mae {PROBE}",
        "audit pre-masked": f"--pack packs/films --encoders mae=mae {DECODER}",
        "audit illness": "--pack packs/films --encoder mae=mae --targets ecg-targets labs-targets --alike view "
        f"--labelled packs/films {PROBE}",
        "audit mask-ratio-tiny": f"--labelled packs/films --mae.pack packs/films --mae.out runs/ratios {PROBE} "
        + words_below("mae.", TRAINING) + " " + words_below("mae.task.model.", MODEL),
        "audit shuffled-pairs-tiny": "--labelled packs/films --distill.pack packs/films --distill.encoder mae "
        f"--distill.targets ecg-targets --distill.out runs/pairs {PROBE} " + words_below("distill.", TRAINING),
    }  # fmt: skip
    for name, words in ready.items():
        if name.startswith("audit "):
            ready[name] = f"{name} {words} --num-draws 20 --out results/{name.replace(' ', '-')}.json"
    return ready


TWINS = list(twins())
CALLS = calls()
REFUSED = {
    "report --verify": {
        "results": "results/linear-probe.json",
        "out": "--out other.html",
        "tables": "--tables more",
        "as_released": "--as-released",
    },
    "report": {"depth": "--depth files"},
    "embed, export": {"device": "--device cuda"},
    "embed, ecg": {"precision": "--precision INT8"},
    "predict, export": {"device": "--device cuda"},
    "predict": {"precision": "--precision INT8"},
    "embed labs": {"reading.samples": "--reading.samples samples.csv", "reading.window_h": "--reading.window-h 3"},
    "data pack, tree": {"label_columns": "--label-columns bright", "where": "--where view=PA"},
    "data pack": {"separator": "--separator ;"},
}
"""What says nothing in a branch, with words that give it."""
IN_ONE_PROCESS = {
    "data pack", "data doctor", "embed", "predict", "simulate university", "data pack folder", "embed exported",
}  # fmt: skip
"""What another process reads is not seen from here."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films with tables and masks, untrained encoders, recordings of every modality, an ECGFounder."""
    here = tmp_path_factory.mktemp("here")
    random = np.random.default_rng(0)
    (here / "films").mkdir()
    rows = []
    for number in range(90):
        bright, split = number // 3 % 2, ("train", "val", "test")[number % 3]
        film = Image.fromarray(random.normal(70 + 50 * bright, 20, (SIZE, SIZE)).clip(0, 255).astype(np.uint8))
        film.save(here / f"films/f{number}.png")
        (here / f"tree/{split}/{['dark', 'bright'][bright]}").mkdir(parents=True, exist_ok=True)
        film.save(here / f"tree/{split}/{['dark', 'bright'][bright]}/f{number}.png")
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:24, 8 + number % 4 : 20] = 255
        Image.fromarray(mask).save(here / f"films/m{number}.png")
        told = {"sample_id": f"s{number}", "file": f"f{number}.png", "patient_id": f"p{number}", "split": split}
        told |= {"view": "PA", "age": 50 + number % 40, "sex": "FM"[number % 2], "bright": bright}
        rows.append({**told, "mask:lung": f"m{number}.png"})
    table = pd.DataFrame(rows)
    table.to_csv(here / "films/index.csv", index=False)
    table.assign(patient_id=table["patient_id"].iloc[0::2].repeat(2).to_numpy()).to_csv(
        here / "films/leak.csv", index=False
    )
    found = table.assign(found=np.where(table["bright"] == 1, "Bright|Round", "No Finding")).drop(columns="bright")
    found.to_csv(here / "films/found.csv", index=False)
    table[["sample_id"]].assign(potassium=random.normal(size=90)).to_csv(here / "labs.csv", index=False)
    contract = Preprocessing(image_size_px=SIZE)
    for seed, name in enumerate(("mae", "pacx")):
        vit = random_vit(VIT, seed)
        save_encoder(vit, here / name, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="", provenance={})
    for name, make in MODALITIES.items():
        (here / name).mkdir()
        make(here / name, list(table["sample_id"]), 0)
    (here / "wfdb").mkdir()
    leads = json.loads((here / "ecg/ecg.json").read_text())["leads"]
    (here / "bare").mkdir()
    np.save(here / "bare/signals.npy", np.load(here / "ecg/ecg.npy")[:3])
    for number, millivolts in enumerate(np.load(here / "ecg/ecg.npy")[:3]):
        signals = [f"r{number}.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in leads]
        (here / f"wfdb/r{number}.hea").write_text("\n".join([f"r{number} 12 500 {millivolts.shape[1]}", *signals]))
        np.round(1000 * millivolts).T.astype("<i2").tofile(here / f"wfdb/r{number}.dat")
    listed = [{"path": f"r{number}.hea", "sample_id": f"r{number}", "seen": ""} for number in range(3)]
    pd.DataFrame(listed).to_csv(here / "wfdb/list.csv", index=False)
    torch.save({"state_dict": ECGFounder(1).state_dict()}, here / "founder.pth")
    item, hours = 50971, range(3)
    events = [
        {"subject_id": n, "hadm_id": n, "itemid": item, "charttime": f"2150-01-01 0{h}:00:00", "valuenum": 4 + n / 9}
        for n in range(9)
        for h in hours
    ]
    pd.DataFrame(events).assign(valueuom="mEq/L").to_csv(here / "long.csv", index=False)
    asked = [{"sample_id": f"s{n}", "hadm_id": n, "time": "2150-01-01 01:00:00"} for n in range(9)]
    pd.DataFrame(asked).to_csv(here / "samples.csv", index=False)
    return here


def served(port: int) -> None:
    """What somebody does with a server: ask something, stop it."""
    film = Image.fromarray(np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE))
    file = Path("asked.png")
    film.save(file)
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/predict",
        content=file.read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
        timeout=60,
    )
    os.kill(os.getpid(), signal.SIGTERM)
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def told(here: Path) -> dict[str, Told]:
    """Of every call, its options and those that nothing read."""
    answers = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        from pacx.serving import http_server

        serve = http_server.serve

        def asked(*arguments: object, on_ready: object, **more: object) -> None:
            def ready(port: int) -> None:
                on_ready(port)
                threading.Thread(target=served, args=(port,), daemon=True).start()

            serve(*arguments, on_ready=ready, **more)

        patch.setattr(http_server, "serve", asked)
        for name, words in CALLS.items():
            more = ["--num-workers", "1"] if words.startswith(tuple(IN_ONE_PROCESS)) else []
            answers[name] = options_of([*words.split(), *more])
    return answers


def test_every_verb_and_every_plug_in_is_called() -> None:
    first = {words.split()[0] for words in CALLS.values()}
    assert first | {"demo"} == set(_VERBS)
    for verb, names in (("evaluate", protocols()), ("embed", modalities()), ("simulate", twins())):
        assert {f"{verb} {name}" for name in names} <= CALLS.keys()
    assert {name.removesuffix("-tiny") for name in all_audits()} - {"splits"} <= {  # its packs need a leak built in
        name.removeprefix("audit ").removesuffix("-tiny") for name in CALLS
    }


@pytest.mark.parametrize("name", CALLS)
def test_a_verbs_own_fields_are_read_in_every_branch(name: str, told: dict[str, Told]) -> None:
    own = {path for path in told[name].unread if "." not in path}
    assert own <= REFUSED.get(name, {}).keys()


def test_fields_of_shared_groups_are_read_by_somebody(told: dict[str, Told]) -> None:
    known = {kind for each in told.values() for kind in each.options.values()}
    read = {kind for each in told.values() for path, kind in each.options.items() if path not in each.unread}
    assert {f"{kind.__name__}.{name}" for kind, name in known - read} == set()


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in REFUSED for field in REFUSED[name]])
def test_what_says_nothing_in_a_branch_is_refused_there(
    name: str,
    field: str,
    told: dict[str, Told],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(here)
    with pytest.raises(SystemExit) as stop:
        main([*CALLS[name].split(), *REFUSED[name][field].split()])
    assert stop.value.code == 2
    assert field.rpartition(".")[2] in capsys.readouterr().err.replace("-", "_")
