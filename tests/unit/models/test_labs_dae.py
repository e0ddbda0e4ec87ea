"""The lab autoencoder: size, keys, what it does with missing values, and its folder."""

import json

import pytest
import torch

from pacx.core.errors import DataError, ModelError
from pacx.models.panel.autoencoder import (
    PanelAutoencoder,
    corrupt,
    dae_loss,
    load_panel_autoencoder,
    write_panel_autoencoder,
)
from pacx.models.panel.config import LAB_PANEL, Panel, Quantity
from pacx.models.panel.labs import LabsDenoisingAutoencoder


@pytest.fixture(scope="module")
def model() -> LabsDenoisingAutoencoder:
    return LabsDenoisingAutoencoder(seed=3).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def labs() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(200, 50, generator=draw), (torch.rand(200, 50, generator=draw) < 0.7).float()


def test_parameters_and_keys():
    model = LabsDenoisingAutoencoder()
    assert sum(p.numel() for p in model.parameters()) == 341_298
    assert {key.rsplit(".", 1)[0] for key in model.state_dict()} == {
        "encoder.0", "encoder.1", "encoder.3", "decoder.0", "decoder.2",
    }  # fmt: skip
    assert model.state_dict()["encoder.3.weight"].shape == (256, 512)


def test_seed_decides_the_weights_and_leaves_torchs_generator_alone():
    before = torch.random.get_rng_state()
    one, same, other = (LabsDenoisingAutoencoder(seed=s).encoder[0].weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_placeholders_of_missing_tests_do_not_matter_unless_asked(model, labs):
    values, observed = labs
    imputed = torch.where(observed == 1, values, torch.tensor(0.5))
    assert torch.equal(model.encode(values, observed), model.encode(imputed, observed))
    raw = model.encode(imputed, observed, zero_missing=False)
    assert not torch.allclose(raw, model.encode(imputed, observed), atol=1e-3)


def test_observed_bits_matter(model, labs):
    values, observed = labs
    assert not torch.allclose(model.encode(values, observed), model.encode(values, 1 - observed), atol=1e-2)


def test_corruption_leaves_its_inputs_alone_and_drops_about_the_asked_share(labs):
    values, observed = labs
    copies = values.clone(), observed.clone()
    noise = torch.rand(200, 50, generator=torch.Generator().manual_seed(1))
    corrupted, shown = corrupt(values, observed, noise)
    assert torch.equal(values, copies[0])
    assert torch.equal(observed, copies[1])
    dropped = (observed - shown).sum() / observed.sum()
    assert 0.13 < dropped < 0.17
    assert (corrupted[shown == 0] == 0).all()
    assert torch.equal(corrupted[shown == 1], values[shown == 1])


def test_wrong_shapes_are_refused(model):
    with pytest.raises(DataError, match=r"expected \(patients, 50\)"):
        model.encode(torch.zeros(2, 49), torch.zeros(2, 49))
    with pytest.raises(DataError, match="observed"):
        model.encode(torch.zeros(2, 50), torch.zeros(1, 50))


def test_folder_round_trip_and_refusals(model, tmp_path):
    write_panel_autoencoder(model, tmp_path, provenance={"seed": 3})
    loaded = load_panel_autoencoder(tmp_path, LAB_PANEL)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert not loaded.training
    with pytest.raises(ModelError, match="not an autoencoder of vitals"):
        load_panel_autoencoder(tmp_path, Panel("vitals", LAB_PANEL.quantities))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "keys": config["keys"][::-1]}))
    with pytest.raises(ModelError, match="with the 50 quantities"):
        load_panel_autoencoder(tmp_path, LAB_PANEL)
    (tmp_path / "config.json").unlink()
    with pytest.raises(DataError, match="missing"):
        load_panel_autoencoder(tmp_path, LAB_PANEL)


def test_any_panel_and_any_width(tmp_path):
    pair = Panel("pair", (Quantity("a", "A", "mm"), Quantity("b", "B", "s")))
    model = PanelAutoencoder(pair, hidden_dim=8, embedding_dim=3, seed=1)
    assert model.encode(torch.rand(4, 2), torch.ones(4, 2)).shape == (4, 3)
    assert model(torch.rand(4, 2), torch.ones(4, 2)).shape == (4, 2)
    write_panel_autoencoder(model, tmp_path, provenance={})
    loaded = load_panel_autoencoder(tmp_path, pair)
    assert (loaded.hidden_dim, loaded.embedding_dim) == (8, 3)


def test_it_learns_to_restore_what_was_hidden():
    """Labs that move together: the hidden ones can be told from the shown ones, and a short training does."""
    draw = torch.Generator().manual_seed(4)
    illness = torch.rand(512, 1, generator=draw)
    values = (illness * torch.ones(1, 50) + 0.05 * torch.randn(512, 50, generator=draw)).clamp(0, 1)
    observed = (torch.rand(512, 50, generator=draw) < 0.7).float()
    model = LabsDenoisingAutoencoder(seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def restored(noise):
        corrupted, shown = corrupt(values, observed, noise)
        hidden = (observed - shown) == 1
        return (model(corrupted, shown) - values)[hidden].square().mean()

    fixed = torch.rand(512, 50, generator=draw)
    for _ in range(60):
        corrupted, shown = corrupt(values, observed, torch.rand(512, 50, generator=draw))
        loss = dae_loss(model(corrupted, shown), values, observed)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert restored(fixed).item() < 0.2 * values.var().item()
