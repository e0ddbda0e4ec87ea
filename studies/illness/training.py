"""Stage 2 itself: train it, probe what it releases, and read closed forms off that."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_pack
from pacx.models.device import chosen_device
from pacx.models.encoders.folder import load_encoder
from studies.illness.design import TAUGHT, TOWARDS, WORLD
from studies.illness.names import CLOSED_FORM, OWN
from studies.illness.steps import READERS, ClosedFormStep, FilmsStep, ProbedStep

MODALITIES = TOWARDS[CLOSED_FORM]
"""What Stage 2 is trained towards."""


@dataclass(frozen=True, kw_only=True)
class TrainedStep(ProbedStep):
    """Train Stage 2 and probe what it releases.

    Args:
        epochs: of training; None = the recipe's.
    """

    readers: tuple[str, ...] = tuple(READERS)
    epochs: int | None = None

    @property
    def encoder(self) -> Path:
        """The folder of the encoder that training releases."""
        return self.study.folders.run(self.name) / "encoder"

    @property
    def is_outlined(self) -> bool:
        """Whether its patch tokens are asked for outlines."""
        return self.world == WORLD and self.taught == OWN and self.num_pairs == self.study.sizes.num_outlined_pairs

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Embeddings of the labelled films, class token."""
        folders = self.study.folders
        run = self.study.sizes.distill(self.method, self.epochs)
        run = replace(
            run,
            encoder=folders.stage_1(self.stage_1) / "encoder",
            pack=folders.pairs(self.num_pairs, self.world),
            targets=tuple(map(folders.targets, MODALITIES)),
            out=folders.run(self.name),
            training=replace(run.training, seed=self.seed),
            resume=True,
        )
        TAUGHT[self.taught](run).run()
        encoder = load_encoder(self.encoder)
        return {"": embed_pack(encoder, Pack.open(folders.downstream(self.world)), device=chosen_device())}


@dataclass(frozen=True, kw_only=True)
class AfterTrainingStep(ClosedFormStep):
    """The closed form of what Stage 2 has trained by the same pairs, taught alike.

    The same films taught the encoder, so that a film left out of the fit is not left out of the encoder, and penalties
    may be chosen too small; labelled films are of other patients.

    Args:
        after: the training, which is done before.
    """

    readers: tuple[str, ...] = tuple(READERS)
    after: TrainedStep

    @property
    def read(self) -> FilmsStep:
        """The films of that training's pairs, and those with labels, embedded by what it released."""
        return FilmsStep(
            name=f"films {self.after.name}",
            study=self.study,
            encoder=self.after.encoder,
            num_pairs=self.num_pairs,
            world=self.world,
        )

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Predicted targets of the labelled films, which are embedded unless they are already."""
        self.read.run()
        return super().features()
