"""Sizes of the ECG masked autoencoder: what divides what, how many tokens, how many of them are seen."""

from dataclasses import dataclass, field

from pacx.core.errors import ModelError
from pacx.core.typed_json import TypedJson
from pacx.models.ecg.input import ECG_MAE_INPUT, EcgPreprocessing


@dataclass(frozen=True, kw_only=True)
class EcgMAEConfig(TypedJson, what="ECG autoencoder config", error=ModelError):
    """Size of the model and of its patches.

    Args:
        num_leads: leads of a record, in the order of ``ECG_LEADS``.
        sample_rate_hz: rate the model works at; the input's rate must be a whole multiple of it.
        patch_leads: neighbouring leads in one patch (I-III, aVR-aVF, V1-V3, V4-V6 with 3).
        patch_samples: samples in one patch at ``sample_rate_hz``.
        embed_dim: width of the encoder and of the embedding; a multiple of 4.
        depth: encoder blocks.
        num_heads: attention heads of the encoder.
        decoder_embed_dim: width of the decoder; a multiple of 4.
        decoder_depth: decoder blocks.
        decoder_num_heads: attention heads of the decoder.
        mlp_ratio: hidden width of the MLPs over the token width.
        mask_ratio: share of patches hidden from the encoder.
        preprocessing: what records went through; its rate and length are the model's input.

    Raises:
        ModelError: the numbers do not divide each other as they must.
    """

    num_leads: int = 12
    sample_rate_hz: int = 100
    patch_leads: int = 3
    patch_samples: int = 50
    embed_dim: int = 384
    depth: int = 12
    num_heads: int = 6
    decoder_embed_dim: int = 192
    decoder_depth: int = 4
    decoder_num_heads: int = 6
    mlp_ratio: float = 4.0
    mask_ratio: float = 0.75
    preprocessing: EcgPreprocessing = field(default=ECG_MAE_INPUT)

    def __post_init__(self) -> None:
        num_samples = self.preprocessing.num_samples
        divisions = (
            ("preprocessing.sample_rate_hz", self.preprocessing.sample_rate_hz, "sample_rate_hz", self.sample_rate_hz),
            ("samples of a record", num_samples, "samples of a patch before decimation", self.patch_input_samples),
            ("num_leads", self.num_leads, "patch_leads", self.patch_leads),
            ("embed_dim", self.embed_dim, "4 (position code)", 4),
            ("decoder_embed_dim", self.decoder_embed_dim, "4 (position code)", 4),
            ("embed_dim", self.embed_dim, "num_heads", self.num_heads),
            ("decoder_embed_dim", self.decoder_embed_dim, "decoder_num_heads", self.decoder_num_heads),
        )
        for name, value, divisor_name, divisor in divisions:
            if value <= 0 or divisor <= 0 or value % divisor:
                raise ModelError(
                    f"ECG autoencoder: {name} = {value} is not a whole multiple of {divisor_name} = {divisor}; "
                    "choose numbers that divide"
                )
        if self.num_leads != len(self.preprocessing.leads):
            raise ModelError(
                f"ECG autoencoder: num_leads = {self.num_leads}, but preprocessing.leads names "
                f"{len(self.preprocessing.leads)}; give as many"
            )
        if not 1 <= self.num_visible < self.num_patches:
            raise ModelError(
                f"ECG autoencoder: mask_ratio = {self.mask_ratio} leaves {self.num_visible} of {self.num_patches} "
                "patches visible; choose a ratio that leaves some and hides some"
            )

    @property
    def decimation(self) -> int:
        """Input samples per sample the model works on."""
        return self.preprocessing.sample_rate_hz // max(1, self.sample_rate_hz)

    @property
    def patch_input_samples(self) -> int:
        """Samples of the input under one patch."""
        return self.patch_samples * self.decimation

    @property
    def num_lead_groups(self) -> int:
        """Patches on top of each other."""
        return self.num_leads // self.patch_leads

    @property
    def num_times(self) -> int:
        """Patches one after the other."""
        return self.preprocessing.num_samples // self.patch_input_samples

    @property
    def num_patches(self) -> int:
        """Tokens of a record."""
        return self.num_lead_groups * self.num_times

    @property
    def num_visible(self) -> int:
        """Tokens the encoder sees in training."""
        return int(self.num_patches * (1 - self.mask_ratio))


TINY_ECG_MAE = EcgMAEConfig(
    embed_dim=96, depth=4, num_heads=4, decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4, mlp_ratio=2.0
)
"""Trains on some thousand records within a minute on a laptop processor; for demonstrations and tests."""
