"""The input contract of the ECG encoders: what a recording must have gone through before an encoder sees it.

The counterpart of ``pacx.core.preprocessing`` for the ECG. Every ECG encoder carries one of these objects and
``pacx.modalities.ecg`` carries it out, so that an encoder is never fed another one's signals.
"""

from dataclasses import dataclass, replace
from enum import Enum

from pacx.core.errors import ModelError
from pacx.core.typed_json import TypedJson
from pacx.core.vocabulary import ECG_LEADS


class EcgScale(Enum):
    """What the amplitudes of a prepared record mean.

    RECORD_Z_SCORE: one mean and one standard deviation over the whole record (all leads together), as ECGFounder was
    trained. The height of a wave relative to another lead survives, its voltage does not: no encoder behind this
    ending can see hypertrophy or low voltage as such.

    AS_RECORDED: the unit of the recordings, untouched: what a pack of recordings keeps, from which the others follow.

    MILLIVOLT: voltage divided by a constant. A tall R wave stays tall; recordings must come in physical units.
    """

    RECORD_Z_SCORE = "record-z-score"
    AS_RECORDED = "as-recorded"
    MILLIVOLT = "millivolt"


@dataclass(frozen=True, kw_only=True)
class EcgPreprocessing(TypedJson, what="ECG input contract", error=ModelError):
    """The filter chain between a recording and an ECG encoder; the defaults are ECGFounder's.

    In order: NaN to 0, leads to the order of ``leads`` by name, resampling to ``sample_rate_hz``, ``duration_s``
    seconds, notch, band-pass, baseline, scale. Both filters run forwards and backwards (no phase).

    Args:
        leads: leads of the prepared record, in order; each is one of ``ECG_LEADS``.
        sample_rate_hz: rate of the prepared record.
        duration_s: its length; longer records lose their end, shorter ones hold their last value.
        notch_hz: mains frequency taken out (50 in Europe and China).
        notch_quality: centre frequency over bandwidth of the notch.
        band_hz: edges of the Butterworth band-pass.
        band_order: its design order.
        baseline_window_s: the running median over this window is subtracted; None leaves the band-pass to remove the
            baseline. 0.4 s is short enough to follow ST segments and T waves, and so flattens them.
        scale: what the amplitudes mean at the end.
        millivolts_per_unit: with ``EcgScale.MILLIVOLT``, the voltage that becomes 1; 0.25 mV is about the standard
            deviation of a resting 12-lead record, so that signals arrive near unit variance.

    Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
    """

    leads: tuple[str, ...] = ECG_LEADS
    sample_rate_hz: int = 500
    duration_s: float = 10.0
    notch_hz: float = 50.0
    notch_quality: float = 30.0
    band_hz: tuple[float, float] = (0.67, 40.0)
    band_order: int = 4
    baseline_window_s: float | None = 0.4
    scale: EcgScale = EcgScale.RECORD_Z_SCORE
    millivolts_per_unit: float = 0.25

    @property
    def num_samples(self) -> int:
        """Length of a prepared record in samples."""
        return round(self.duration_s * self.sample_rate_hz)


ECG_FOUNDER_INPUT = EcgPreprocessing()
"""ECGFounder's chain, ending in the z-score over the record."""

ECG_FOUNDER_ONE_LEAD_INPUT = replace(ECG_FOUNDER_INPUT, leads=("I",))
"""The same for its one-lead network: lead I alone, and so the z-score over lead I alone."""

ECG_MAE_INPUT = EcgPreprocessing(baseline_window_s=None, scale=EcgScale.MILLIVOLT)
"""For a masked autoencoder of one's own: no median (ST and T stay as they are), and voltage stays visible."""
