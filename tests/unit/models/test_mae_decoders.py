"""What a decoded patch may depend on, how many are decoded, and what the arithmetic of a step is."""

from dataclasses import replace

import pytest
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
        _, tokens = model._decode(model._encode(masked), masked.kept, masked.hidden[:, :num_asked])
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
    """The oracle is torch's counter over a forward pass; it does not know our oneDNN operator, so that is set aside."""
    monkeypatch.setattr("pacx.models.onednn.is_suitable", lambda *_: False)
    config = replace(TINY, decoder=decoder)
    model = MaskedAutoencoder(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.loss(tiny_images(2), tiny_noise(2))
    assert training_flops(config) == 3 * counter.get_total_flops() / 2
