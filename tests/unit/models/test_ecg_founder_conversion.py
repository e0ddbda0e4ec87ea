"""The official checkpoint to safetensors: same numbers, a recorded hash, and no code run on the way."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.cli.main import main
from pacx.core.artifacts import sha256_of
from pacx.core.errors import ModelError
from pacx.models.ecg.encoder import load_ecg_encoder
from pacx.models.ecg.founder import ECGFounder
from pacx.models.ecg.founder_conversion import convert_ecg_founder, load_converted_ecg_founder
from pacx.models.ecg.kinds import is_ecg_encoder


@pytest.fixture(scope="module")
def network() -> ECGFounder:
    return ECGFounder(1).eval().requires_grad_(False)


def official(path: Path, network: ECGFounder, **beside: object) -> Path:
    """The layout of the published files: weights under state_dict, the rest of a training state beside them."""
    torch.save({"epoch": 9, "step": 3100, "score": np.float64(0.9), **beside, "state_dict": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def converted(network, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("conversion")
    moments = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    source = official(folder / "1_lead_ECGFounder.pth", network, optimizer=moments)
    convert_ecg_founder(source, folder / "out")
    return source, folder / "out"


def test_the_folder_gives_the_same_features_and_says_where_they_come_from(network, converted):
    source, out = converted
    loaded = load_converted_ecg_founder(out)
    signals = torch.randn(1, 1, 640, generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.state_dict().items())
    torch.testing.assert_close(loaded.embed(signals), network.embed(signals), rtol=1e-3, atol=1e-6)
    config = json.loads((out / "config.json").read_text())
    assert config["source"] == {"file": source.name, "sha256": sha256_of(source), "bytes": source.stat().st_size}
    assert (config["num_leads"], config["preprocessing"]["leads"]) == (1, ["I"])
    assert "do not redistribute" in config["licence"]
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "config.json"}, "no optimiser state"


def test_every_way_to_name_the_encoder_opens_it(converted):
    source, out = converted
    assert is_ecg_encoder(out)
    for path in (source, out, out / "model.safetensors"):
        assert isinstance(load_ecg_encoder(path), ECGFounder)
    with pytest.raises(ModelError, match="is no ECG encoder"):
        load_ecg_encoder(out.parent)


def test_the_hash_is_checked_before_the_file_is_opened(converted, tmp_path):
    source, _ = converted
    done = convert_ecg_founder(source, tmp_path / "out", expected_sha256=sha256_of(source).upper())
    assert done == (1, sha256_of(source))
    with pytest.raises(ModelError, match=f"has SHA-256 {sha256_of(source)}, expected 00ff"):
        convert_ecg_founder(source, tmp_path / "other", expected_sha256="00ff")
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"not even a pickle")
    with pytest.raises(ModelError, match="expected 00ff"):
        convert_ecg_founder(garbage, tmp_path / "other", expected_sha256="00ff")
    assert not (tmp_path / "other").exists()


def test_changed_weights_are_noticed(converted, tmp_path):
    source, _ = converted
    convert_ecg_founder(source, tmp_path / "out")
    weights = tmp_path / "out/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="was changed since it was converted"):
        load_converted_ecg_founder(tmp_path / "out")


class _Runs:
    """A pickle that would call a function when opened: here a harmless one."""

    def __reduce__(self):
        return (print, ("this ran",))


def test_a_file_that_builds_objects_stays_shut_and_the_message_says_what_to_do(network, tmp_path):
    source = official(tmp_path / "calls.pth", network, scheduler=_Runs())
    with pytest.raises(ModelError, match=r"would build builtins\.print when opened.*write its 'state_dict' alone"):
        convert_ecg_founder(source, tmp_path / "out")
    with pytest.raises(ModelError, match="would build pathlib"):
        convert_ecg_founder(official(tmp_path / "odd.pth", network, best=Path("x")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_parallel_prefixes_and_bare_state_dicts(network, tmp_path):
    state = network.state_dict()
    for name, content in (
        ("bare.pth", state),
        ("prefixed.pth", {"state_dict": {f"module.{key}": value for key, value in state.items()}}),
    ):
        torch.save(content, tmp_path / name)
        assert convert_ecg_founder(tmp_path / name, tmp_path / f"{name}-out").num_leads == 1
    torch.save({"state_dict": {key: value for key, value in state.items() if "dense" not in key}}, tmp_path / "few.pth")
    with pytest.raises(ModelError, match=r"2 keys are missing \(dense\.bias, dense\.weight\)"):
        convert_ecg_founder(tmp_path / "few.pth", tmp_path / "out")


def test_the_command(converted, tmp_path, capsys):
    source, _ = converted
    main(["convert", "ecgfounder", str(source), "--out", str(tmp_path / "out")])
    assert sha256_of(source) in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["convert", "ecgfounder", str(tmp_path / "nothing.pth"), "--out", str(tmp_path / "other")])
    assert stop.value.code == 1
    assert "is not a file" in capsys.readouterr().err
