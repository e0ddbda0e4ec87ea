"""How much arithmetic one training step of a masked autoencoder needs per image, from its sizes alone.

What a speed is held against: images per second times this is the arithmetic done, whatever the implementation.
"""

from pacx.models.mae.config import CrossDecoder, MAEConfig

_FORWARD_AND_BACKWARD = 3  # backward multiplies twice: for the gradient of the input and for that of the weight
_PER_MULTIPLY_ADD = 2


def training_flops(config: MAEConfig) -> int:
    """Floating-point operations per image, forward and backward (three times forward), of the matrix products.

    A block over n tokens of width d multiplies 12 n d^2 + 2 n^2 d times (at an MLP ratio of 4); a cross-attention block
    of k queries over v tokens (2 + 2 * 4) k d^2 + 2 v d^2 + 2 k v d. Norms, activations and the softmax are left out.
    """
    width, depth = config.decoder_embed_dim, config.decoder_depth
    patch = config.patch_size**2 * config.in_chans
    num_seen = config.num_visible + 1  # the class token
    num_decoded = config.decoder.num_decoded(config.num_patches - config.num_visible)
    encoder = config.depth * _block(num_seen, config.embed_dim, config.mlp_ratio)
    encoder += config.num_visible * patch * config.embed_dim
    if isinstance(config.decoder, CrossDecoder):
        decoder = depth * _cross_block(num_decoded, num_seen, width, config.mlp_ratio)
    else:
        decoder = depth * _block(num_seen + num_decoded, width, config.mlp_ratio)
    decoder += num_seen * config.embed_dim * width + num_decoded * width * patch
    return round(_FORWARD_AND_BACKWARD * _PER_MULTIPLY_ADD * (encoder + decoder))


def _block(num_tokens: int, width: int, mlp_ratio: float) -> float:
    return (4 + 2 * mlp_ratio) * num_tokens * width**2 + 2 * num_tokens**2 * width


def _cross_block(num_queries: int, num_keys: int, width: int, mlp_ratio: float) -> float:
    products = (2 + 2 * mlp_ratio) * num_queries + 2 * num_keys
    return products * width**2 + 2 * num_queries * num_keys * width
