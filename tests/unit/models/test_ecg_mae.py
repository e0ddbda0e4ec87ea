"""The ECG masked autoencoder: patches, masking, decimation, positions, learning, and its folder."""

import json

import numpy as np
import pytest
import scipy.signal
import torch

from pacx.core.errors import DataError, ModelError
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, EcgPreprocessing
from pacx.models.ecg.mae import TINY_ECG_MAE, EcgMAEConfig, EcgMaskedAutoencoder, load_ecg_mae, save_ecg_mae


@pytest.fixture(scope="module")
def model() -> EcgMaskedAutoencoder:
    return EcgMaskedAutoencoder(TINY_ECG_MAE, seed=1).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def signals() -> torch.Tensor:
    return torch.randn(3, 12, 5000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.rand(3, 80, generator=torch.Generator().manual_seed(2))


def test_decimation_equals_scipys_zero_phase_filter(model, signals):
    expected = scipy.signal.decimate(signals.double().numpy(), 5, ftype="fir", zero_phase=True, axis=-1)
    np.testing.assert_allclose(model.decimate(signals).numpy(), expected, atol=2e-6)


def test_decimation_keeps_the_heart_and_removes_what_would_alias(model):
    time = np.arange(5000) / 500
    tones = np.stack([np.sin(2 * np.pi * f * time) for f in (10, 70)])
    low = model.decimate(torch.tensor(np.repeat(tones[:, None], 12, 1)).float()).numpy()[:, :, 50:-50]
    np.testing.assert_allclose(low[0, 0], np.sin(2 * np.pi * 10 * np.arange(50, 950) / 100), atol=3e-3)
    assert np.abs(low[1]).max() < 3e-3, "70 Hz would come back as 30 Hz"


def test_without_decimation_patches_are_the_samples_themselves(signals):
    config = EcgMAEConfig(**{**_fields(TINY_ECG_MAE), "sample_rate_hz": 500, "patch_samples": 250})
    patches = EcgMaskedAutoencoder(config).patchify(signals)
    assert patches.shape == (3, 80, 750)
    # token 27 = lead group 1 (aVR, aVL, aVF), eighth half second
    torch.testing.assert_close(patches[2, 27], signals[2, 3:6, 7 * 250 : 8 * 250].reshape(-1))


def _fields(config: EcgMAEConfig) -> dict:
    return {name: getattr(config, name) for name in EcgMAEConfig.__dataclass_fields__}


def test_sizes():
    assert (TINY_ECG_MAE.num_patches, TINY_ECG_MAE.num_visible) == (80, 20)
    assert EcgMAEConfig().num_patches == 80


def test_the_smallest_noise_stays_visible(model, signals, noise):
    mask = model(signals, noise).mask
    for row in range(3):
        smallest = sorted(range(80), key=lambda token: float(noise[row, token]))[:20]
        assert sorted(torch.nonzero(mask[row] == 0).flatten().tolist()) == sorted(smallest)


def test_loss_is_the_squared_error_of_hidden_patches_only(model, signals, noise):
    out, patches = model(signals, noise), model.patchify(signals)
    total, count = 0.0, 0
    for row in range(3):
        for token in range(80):
            if out.mask[row, token]:
                total += float(((out.prediction[row, token] - patches[row, token]).double() ** 2).sum())
                count += 150
    assert float(out.loss) == pytest.approx(total / count, rel=1e-5)


def test_hidden_patches_do_not_reach_the_prediction(model, noise):
    flat = torch.zeros(3, 12, 5000)
    hidden_token = int(noise[0].argmax())
    group, time = divmod(hidden_token, 20)
    changed = flat.clone()
    changed[0, 3 * group : 3 * group + 3, 250 * time + 120 : 250 * time + 130] = 5.0  # far from the patch's borders
    torch.testing.assert_close(model(changed, noise).prediction, model(flat, noise).prediction)
    shown_token = int(noise[0].argmin())
    group, time = divmod(shown_token, 20)
    changed = flat.clone()
    changed[0, 3 * group : 3 * group + 3, 250 * time + 120 : 250 * time + 130] = 5.0
    assert not torch.allclose(model(changed, noise).prediction[0], model(flat, noise).prediction[0], atol=1e-3)


def test_positions_tell_times_and_lead_groups_apart(model):
    code = model.positions[0].unflatten(0, (4, 20))  # (group, time, D)
    group, time = code[:, 0, :48], code[0, :, 48:]
    assert torch.equal(code[2, 13], torch.cat([group[2], time[13]]))
    for part in (group, time):
        alike = torch.nn.functional.cosine_similarity(part[:, None], part[None], dim=-1)
        assert (alike - torch.eye(len(part))).abs().max() < 0.1


def test_embedding_sees_when_and_in_which_lead_something_happens(model):
    def beat(lead, start):
        record = torch.zeros(1, 12, 5000)
        record[0, lead, start : start + 40] = 4.0
        return record

    embeddings = model.embed(torch.cat([beat(0, 1100), beat(7, 1100), beat(0, 3100), 2 * beat(0, 1100)]))
    assert embeddings.shape == (4, 96)
    assert torch.pdist(embeddings).min() > 1e-4


def test_wrong_shapes_are_refused(model, noise):
    with pytest.raises(DataError, match=r"\(2, 5000, 12\), expected \(records, 12 leads, 5000 samples\)"):
        model.embed(torch.zeros(2, 5000, 12))
    with pytest.raises(DataError, match=r"noise of shape \(3, 80\), expected \(2, 80\)"):
        model(torch.zeros(2, 12, 5000), noise)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate_hz": 150}, "not a whole multiple of sample_rate_hz = 150"),
        ({"sample_rate_hz": 0}, "not a whole multiple"),
        ({"patch_samples": 60}, "samples of a patch"),
        ({"patch_leads": 5}, "patch_leads = 5"),
        ({"embed_dim": 98}, "position code"),
        ({"num_heads": 5}, "num_heads = 5"),
        ({"mask_ratio": 1.0}, "leaves 0 of 80"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        EcgMAEConfig(**change)


def test_seed_decides_the_weights_and_leaves_torchs_generator_alone(model):
    before = torch.random.get_rng_state()
    same, other = (EcgMaskedAutoencoder(TINY_ECG_MAE, seed=s).patch_embed.weight for s in (1, 2))
    assert torch.equal(same, model.patch_embed.weight)
    assert not torch.equal(same, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_folder_round_trip_and_refusals(model, signals, tmp_path):
    out = tmp_path / "ecg"
    save_ecg_mae(model, out, provenance={"seed": 1})
    loaded = load_ecg_mae(out)
    assert loaded.config == TINY_ECG_MAE
    assert loaded.preprocessing == TINY_ECG_MAE.preprocessing
    torch.testing.assert_close(loaded.embed(signals), model.embed(signals))
    saved = json.loads((out / "config.json").read_text())
    for change, message in (
        ({"kind": "other"}, "not an ECG autoencoder"),
        ({"config": {**saved["config"], "extra": 1}}, "another version"),
        ({"config": {**saved["config"], "depth": 3}}, r"0 keys are missing \(none\) and 12 are unknown"),
    ):
        (out / "config.json").write_text(json.dumps({**saved, **change}))
        with pytest.raises(ModelError, match=message):
            load_ecg_mae(out)


def test_input_contract_round_trip_and_refusal():
    contract = EcgPreprocessing(notch_hz=60.0, baseline_window_s=None)
    assert EcgPreprocessing.from_json(json.loads(json.dumps(contract.to_json()))) == contract
    with pytest.raises(ModelError, match="another version"):
        EcgPreprocessing.from_json({**ECG_FOUNDER_INPUT.to_json(), "scale": "per-lead"})
    with pytest.raises(ModelError, match="another version"):
        EcgPreprocessing.from_json({"scale": "millivolt"})


def test_it_learns_a_rhythm():
    """Periodic records whose phase and rate differ: what is hidden follows from what is seen."""
    draw = torch.Generator().manual_seed(5)
    phase = torch.rand(16, 1, 1, generator=draw)
    records = torch.sin(2 * torch.pi * (torch.arange(5000) / 500 + phase)).expand(16, 12, 5000)
    model = EcgMaskedAutoencoder(TINY_ECG_MAE, seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(100):
        loss = model(records, torch.rand(16, 80, generator=draw)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3, "a constant prediction stays at the variance, 0.5"


def test_embedding_is_standardized_over_the_recordings_it_was_fitted_to(signals, tmp_path):
    model = EcgMaskedAutoencoder(TINY_ECG_MAE, seed=1).eval()
    common = torch.nn.functional.normalize(model.embed(signals), dim=1)
    assert (common @ common.T).min() > 0.9  # what all recordings share hides what differs
    model.standardize([signals[:1], signals[1:]])
    embedded = model.embed(signals)
    torch.testing.assert_close(embedded.mean(0), torch.zeros(96), atol=1e-3, rtol=0)
    torch.testing.assert_close(embedded.std(0, correction=0), torch.ones(96), atol=1e-3, rtol=0)
    save_ecg_mae(model, tmp_path / "ecg", provenance={})
    torch.testing.assert_close(load_ecg_mae(tmp_path / "ecg").embed(signals), embedded)
