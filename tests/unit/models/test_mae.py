from dataclasses import replace

import pytest
import torch

from pacx.core.errors import ModelError
from pacx.models.mae.config import CrossDecoder, Decoder, FullDecoder, MAEConfig, SampledDecoder
from pacx.models.mae.model import MAEOutput, MaskedAutoencoder
from pacx.models.vit import patch_tokens, pooled
from pacx.models.vit_config import Pooling

TINY = MAEConfig(
    img_size=32,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=2,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
    mask_ratio=0.75,
)


def tiny_images(batch: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def tiny_noise(batch: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.rand(batch, 16, generator=torch.Generator().manual_seed(seed))


def test_parameter_counts_are_the_papers():
    with torch.device("meta"):
        model = MaskedAutoencoder(MAEConfig())
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    positions = counts["pos_embed"] + counts["decoder_pos_embed"]
    assert sum(counts.values()) == 111_907_840
    assert positions == 252_160
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 111_907_840 - 252_160
    encoder = [n for name, n in counts.items() if not name.startswith(("decoder_", "mask_token"))]
    assert sum(encoder) == 85_798_656


@pytest.mark.parametrize(
    ("img_size", "mask_ratio", "num_visible"),
    [(224, 0.9, 19), (224, 0.75, 49), (160, 0.9, 10), (320, 0.9, 40), (64, 0.9, 1), (80, 0.8, 5)],
)
def test_num_visible_is_exact(img_size: int, mask_ratio: float, num_visible: int):
    # 100 * (1 - 0.9) and 25 * (1 - 0.8) fall just short of 10 and 5 in floats: the naive formula keeps 9 and 4
    assert MAEConfig(img_size=img_size, mask_ratio=mask_ratio).num_visible == num_visible


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0, 0.999, -0.1])
def test_useless_mask_ratios_are_refused(mask_ratio: float):
    with pytest.raises(ModelError, match="mask_ratio"):
        MAEConfig(mask_ratio=mask_ratio)


def test_mask_counts_and_keeps_the_smallest_noise():
    model, noise = MaskedAutoencoder(TINY), tiny_noise()
    output = model(tiny_images(), noise)
    assert output.mask.sum(dim=1).tolist() == [16 - model.num_visible] * 3
    assert output.latent.shape == (3, 1 + model.num_visible, 24)
    assert output.prediction.shape == (3, 16, 8 * 8 * 3)
    for row, row_noise in zip(output.mask, noise, strict=True):
        assert row_noise[row == 0].max() < row_noise[row == 1].min()


def test_visible_patches_go_through_in_order_of_noise():
    model, images, noise = MaskedAutoencoder(TINY).eval(), tiny_images(1), tiny_noise(1)
    order = noise[0].argsort()[: model.num_visible]
    embedded = model.patch_embed(images)[0, order] + model.pos_embed[0, 1:][order]
    class_token = model.cls_token[0] + model.pos_embed[0, :1]
    expected = model.norm(model.blocks(torch.cat([class_token, embedded])[None]))
    torch.testing.assert_close(model(images, noise).latent, expected)


def test_a_mask_ratio_that_never_reached_the_model_is_caught(monkeypatch: pytest.MonkeyPatch):
    model = MaskedAutoencoder(TINY)
    monkeypatch.setattr(MaskedAutoencoder, "num_visible", property(lambda _: 8))  # as if trained at 0.5
    with pytest.raises(ModelError, match=r"saw 8 of 16 .* 0\.75"):
        model(tiny_images(), tiny_noise())


def patch_errors(model: MaskedAutoencoder, images: torch.Tensor, output: MAEOutput) -> torch.Tensor:
    """Slow oracle: the error of each patch (B, L), computed from pixels of the painted image."""
    painted = model.unpatchify(output.prediction)
    errors = torch.zeros(len(images), 16)
    for image in range(len(images)):
        for patch in range(16):
            row, column = divmod(patch, 4)
            window = (image, slice(None), slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
            target = images[window]
            if model.config.norm_pix_loss:
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            errors[image, patch] = (painted[window] - target).square().mean()
    return errors


@pytest.mark.parametrize("norm_pix_loss", [False, True])
@pytest.mark.parametrize("decoder", [FullDecoder(), SampledDecoder(num_sampled=5), CrossDecoder(num_sampled=5)])
def test_loss_equals_a_patch_by_patch_sum(decoder: Decoder, norm_pix_loss: bool):
    """Hidden patches only; in a training step only the decoder's share of them, those first in order of noise."""
    model = MaskedAutoencoder(replace(TINY, decoder=decoder, norm_pix_loss=norm_pix_loss))
    images, noise = tiny_images(), tiny_noise()
    output = model(images, noise)
    errors = patch_errors(model, images, output)
    torch.testing.assert_close(output.loss, errors[output.mask == 1].mean())
    first, last = model.num_visible, model.num_visible + model.num_decoded
    assert model.num_decoded == (12 if isinstance(decoder, FullDecoder) else 5)
    decoded = noise.argsort(dim=1)[:, first:last]
    torch.testing.assert_close(model.loss(images, noise), errors.gather(1, decoded).mean())


def test_hidden_pixels_do_not_reach_the_encoder():
    model, images, noise = MaskedAutoencoder(TINY), tiny_images(), tiny_noise()
    output = model(images, noise)
    hidden = model.unpatchify(output.mask[..., None].expand_as(output.prediction))
    changed = model(images + 3 * hidden, noise)
    assert torch.equal(changed.latent, output.latent)
    assert torch.equal(changed.prediction, output.prediction)


@pytest.mark.parametrize("decoder", [FullDecoder(), SampledDecoder(num_sampled=5), CrossDecoder(num_sampled=5)])
def test_every_trainable_parameter_learns_and_positions_do_not(decoder: Decoder):
    model = MaskedAutoencoder(replace(TINY, decoder=decoder))
    model.loss(tiny_images(), tiny_noise()).backward()
    for name, parameter in model.named_parameters():
        if name in ("pos_embed", "decoder_pos_embed"):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_unpatchify_inverts_patchify():
    model, images = MaskedAutoencoder(TINY), tiny_images()
    assert torch.equal(model.unpatchify(model.patchify(images)), images)


def test_encoder_is_a_copy_that_sees_every_patch():
    model, images = MaskedAutoencoder(TINY).eval(), tiny_images()
    encoder = model.encoder()
    before = pooled(encoder, images, Pooling.CLASS_TOKEN)
    everything = model.norm(
        model.blocks(torch.cat([model.cls_token.expand(3, -1, -1), model.patch_embed(images)], 1) + model.pos_embed)
    )
    torch.testing.assert_close(before, everything[:, 0])
    torch.testing.assert_close(encoder(images), before)
    with torch.no_grad():
        model.cls_token.add_(1)
    assert torch.equal(pooled(encoder, images, Pooling.CLASS_TOKEN), before)
    assert patch_tokens(encoder, images).shape == (3, 16, 24)


def test_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (MaskedAutoencoder(TINY, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["mask_token"], other["mask_token"])


def test_wrong_shapes_are_refused():
    model = MaskedAutoencoder(TINY)
    with pytest.raises(ModelError, match="images"):
        model(torch.zeros(2, 3, 40, 32))
    with pytest.raises(ModelError, match="noise"):
        model(tiny_images(), tiny_noise(2))
    with pytest.raises(ModelError, match="multiple of patch_size"):
        MAEConfig(img_size=225)
    with pytest.raises(ModelError, match="decoder_num_heads"):
        MAEConfig(decoder_num_heads=5)


def test_training_halves_the_loss_on_one_batch():
    model, images = MaskedAutoencoder(TINY), torch.linspace(-1, 1, 32).expand(3, 3, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        output = model(images, tiny_noise())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < losses[0] / 2


def test_bfloat16_autocast_keeps_the_loss_in_float32():
    model, images, noise = MaskedAutoencoder(TINY), tiny_images(), tiny_noise()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(images, noise).loss
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, model(images, noise).loss, rtol=0.02, atol=0)
