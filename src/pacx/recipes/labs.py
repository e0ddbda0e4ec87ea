"""Stage 1b: the laboratory autoencoder, and its frozen targets."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from pacx.modalities.labs import read_labs_of
from pacx.modalities.panel.panels import Missing, PanelPercentiles, PanelTable
from pacx.modalities.panel.reading import TableReading
from pacx.recipes.panel_run import PanelRun
from pacx.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class LabsRun(PanelRun):
    """Train the laboratory autoencoder, then embed every patient's values as a frozen target for distillation.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import LabsRun, recipe
        >>> run = replace(recipe("labs-tiny"), table=(Path("hospital/triplets/labs.csv"),), pack=Path("packs/triplets"))
        >>> isinstance(run, LabsRun), run.read().values.shape
        (True, (60, 50))
        >>> run.run()  # doctest: +SKIP
    """

    table: tuple[Path, ...] = ()
    """A csv with sample_id and one column per MIMIC item id, raw values, blank = not measured; a long csv as MIMIC's
    labevents or eICU's lab; or Symile-MIMIC's labs_percentiles_SPLIT.npy, of as many splits as there are: the pack
    says which samples train."""

    links: Path | None = None
    """In the place of tables: the values of linked films, from the folder that pacx data link made."""

    reading: TableReading = field(default_factory=TableReading)
    """Which samples of a long table, and how many values may be bad."""

    out: Path = Path("runs/labs")
    """The run folder; the encoder ends up in OUT/labs, the targets in OUT/targets."""

    def read(self) -> PanelTable | PanelPercentiles:
        """The tables as one, whatever their kind, or the values of linked films."""
        return read_labs_of(self.table, self.links, self.reading, self.patients)


def labs() -> LabsRun:
    """The paper's: 50 epochs, batch 256, AdamW 3e-4, 200 warm-up steps."""
    training = TrainingConfig(
        epochs=50, batch_size=256, learning_rate=3e-4, warmup_steps=200, weight_decay=0.01, betas=(0.9, 0.999)
    )
    return LabsRun(training=training)


def labs_released_code() -> LabsRun:
    """The same training; missing values are imputed with the training mean at encoding, as the released code does."""
    return replace(labs(), out=Path("runs/labs-released-code"), missing=Missing.TRAINING_MEAN)


def labs_tiny() -> LabsRun:
    """For some hundred patients: smaller batches, so that 50 epochs are enough steps."""
    paper = labs()
    training = replace(paper.training, batch_size=64, learning_rate=1e-3, warmup_steps=None, warmup_epochs=2)
    return replace(paper, out=Path("runs/labs-tiny"), training=training)


RECIPES = (labs, labs_released_code, labs_tiny)
