"""A small decoder on frozen patch tokens (the paper's Table 1)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import SegmentationConfig

if TYPE_CHECKING:
    from pacx.models.segmenter import SegmentationDecoder


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings:
    """Train a small decoder on frozen patch tokens and score it by IoU and Dice, with patient-level intervals."""

    decoder: SegmentationConfig = field(default_factory=SegmentationConfig)
    """How the decoder is trained; the defaults are the paper's."""

    save: bool = False
    """Keep each encoder folder's decoder in its sub-folder segmenter, for whoever uses the encoder."""


class Segmentation(Protocol[SegmentationSettings]):
    """``evaluation.masks.segmentation`` of every mask of a pack."""

    name, summary, headline = "segmentation", "decoder on frozen patch tokens: IoU and Dice (Table 1)", "iou"
    settings = SegmentationSettings
    needs = (Need.SPLITS, Need.MASKS)
    runs_encoders = True

    def run(self, films: EncodedPack, settings: SegmentationSettings, comparison: Comparison) -> Outcome:
        """Rows of every mask."""
        from pacx.evaluation.masks.segmentation import segmentation
        from pacx.models.segmenter import Segmenter, save_segmenter

        remarks = films.not_kept("segmenters") if settings.save else []

        def keep(name: str, decoder: "SegmentationDecoder") -> None:
            if settings.save and name in films.folders:
                out = save_segmenter(films.folders[name], Segmenter(decoder, films.pack.mask_names))
                remarks.append(f"segmenter of {name} for {', '.join(films.pack.mask_names)} written to {out}")

        rows = segmentation(films.pack, films.encoders, comparison, config=settings.decoder, keep=keep)
        return Outcome(rows=rows, remarks=remarks)


PROTOCOL = Segmentation()
