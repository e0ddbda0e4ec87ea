"""What a decoded patch may depend on, how many are decoded, and what the arithmetic of a step is."""

from dataclasses import replace

import pytest
import timm
import torch
from test_mae import TINY, tiny_images, tiny_noise
from torch.utils.flop_counter import FlopCounterMode

from pacx.core.errors import ModelError
from pacx.models.mae.config import CrossDecoder, Decoder, FullDecoder, MAEConfig, SampledDecoder
from pacx.models.mae.flops import training_flops
from pacx.models.mae.model import MaskedAutoencoder

SAMPLED, CROSS = SampledDecoder(num_sampled=5), CrossDecoder(num_sampled=5)


def decoded(decoder: Decoder, num_asked: int) -> torch.Tensor:
    """Predictions of the first ``num_asked`` hidden patches when no others are asked for: (B, K, P)."""
    model = MaskedAutoencoder(replace(TINY, decoder=decoder)).eval()
    masked = model._mask(tiny_images(), tiny_noise())
    with torch.no_grad():
        tokens = model._decode(model._encode(masked), masked.kept, masked.hidden[:, :num_asked])
        return model._paint(tokens)


def test_cross_decoding_knows_only_the_visible_patches():
    alone, together = decoded(CROSS, 2), decoded(CROSS, 9)
    torch.testing.assert_close(alone, together[:, :2])


def test_self_attention_lets_decoded_patches_see_each_other():
    alone, together = decoded(SAMPLED, 2), decoded(SAMPLED, 9)
    assert (alone - together[:, :2]).abs().max() > 1e-4


def test_cross_attention_is_a_weighted_mean_of_visible_values():
    """One head, by hand, from the layers' own weights."""
    config = replace(TINY, decoder=CROSS, decoder_num_heads=1)
    block = MaskedAutoencoder(config).decoder_blocks[0].eval()
    visible, queries = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    with torch.no_grad():
        keys, values = block.kv(visible).split(16, dim=-1)
        weights = (block.q(block.norm1(queries)) @ keys.transpose(1, 2) / 16**0.5).softmax(-1)
        attended = queries + block.proj(weights @ values)
        expected = attended + block.mlp(block.norm2(attended))
        torch.testing.assert_close(block(visible, queries), expected)


def test_encoder_and_its_weights_are_the_same_under_any_decoder():
    models = [MaskedAutoencoder(replace(TINY, decoder=decoder)) for decoder in (FullDecoder(), SAMPLED, CROSS)]
    outputs = [model(tiny_images(), tiny_noise()) for model in models]
    for output in outputs[1:]:
        assert torch.equal(output.latent, outputs[0].latent)
        assert torch.equal(output.mask, outputs[0].mask)
    assert models[0].state_dict().keys() == models[1].state_dict().keys()


@pytest.mark.parametrize("num_sampled", [0, 13])
def test_a_sample_that_is_none_or_too_large_is_refused(num_sampled: int):
    for decoder in (SampledDecoder(num_sampled=num_sampled), CrossDecoder(num_sampled=num_sampled)):
        with pytest.raises(ModelError, match=rf"num_sampled is {num_sampled} but the mask hides 12"):
            replace(TINY, decoder=decoder)


@pytest.mark.parametrize(
    ("decoder", "gflop"),
    # the encoder and decoder columns of the published formula, x 6: 1.71 + 5.36, 1.71 + 1.79 and 1.71 + 1.11 G
    [(FullDecoder(), 42.4), (SampledDecoder(), 21.1), (CrossDecoder(), 17.2)],
)
def test_arithmetic_at_the_papers_size(decoder: Decoder, gflop: float):
    assert training_flops(MAEConfig(decoder=decoder)) / 1e9 == pytest.approx(gflop, abs=0.1)


@pytest.mark.parametrize("decoder", [FullDecoder(), SAMPLED, CROSS])
def test_arithmetic_is_what_torch_counts(decoder: Decoder, monkeypatch: pytest.MonkeyPatch):
    """The oracle is torch's counter over a forward pass, and by hand what the formula counts and nobody computes.

    It does not know our oneDNN operator, so that is set aside.
    """
    monkeypatch.setattr("pacx.models.onednn.is_suitable", lambda *_: False)
    config, batch = replace(TINY, decoder=decoder), 2
    model = MaskedAutoencoder(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.loss(tiny_images(batch), tiny_noise(batch))
    square = 2 * config.decoder_embed_dim**2  # a token through a square matrix
    num_projected = 1 if isinstance(decoder, CrossDecoder) else 3  # queries; and keys and values
    # the first block projects each of 16 places once; the last one's perceptron and projection spare what is visible
    saved = (batch * model.num_decoded - 16) * num_projected * square
    saved += 0 if isinstance(decoder, CrossDecoder) else batch * (1 + model.num_visible) * 9 * square
    assert counter.get_total_flops() + saved == batch * training_flops(config) / 3


@pytest.mark.parametrize("decoder", [FullDecoder(), SAMPLED, CROSS])
@pytest.mark.parametrize("depth", [1, 3])
def test_what_is_left_out_changes_neither_loss_nor_gradients(decoder: Decoder, depth: int):
    """Begun alike, all tokens through all blocks, each film by itself: loss and gradients are those of the step."""
    model = MaskedAutoencoder(replace(TINY, decoder=decoder, decoder_depth=depth)).double()
    images, noise = tiny_images().double(), tiny_noise()
    loss = model.loss(images, noise)
    loss.backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    masked = model._mask(images, noise)
    asked = masked.hidden[:, : model.num_decoded]
    positions = model.decoder_pos_embed[0]
    visible = model.decoder_embed(model._encode(masked)) + torch.cat(
        [positions[:1].expand(3, -1, -1), positions[1:][masked.kept]], dim=1
    )
    queries = model.mask_token + positions[1:][asked]
    if isinstance(decoder, CrossDecoder):
        for block in model.decoder_blocks:
            queries = block(visible, queries)
    else:
        tokens = torch.cat([visible, queries], dim=1)
        for block in model.decoder_blocks:
            tokens = timm.models.vision_transformer.Block.forward(block, tokens)
        queries = tokens[:, visible.shape[1] :]
    expected = model._error(masked, asked, model._paint(queries))
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(ours[name], parameter.grad, msg=name)
