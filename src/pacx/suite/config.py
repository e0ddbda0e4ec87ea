"""What ``pacx evaluate all`` is told; imports no heavy library, so that its help is shown at once."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pacx.evaluation.protocol import Protocol
from pacx.evaluation.settings import NUM_DRAWS, AlignmentConfig, DeletionConfig, ProbeConfig, SegmentationConfig
from pacx.models.device import AUTOMATIC


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """Run every protocol whose needs the packs meet, and certify the result; what is left out is named with the reason.

    Killed, the same call goes on where it was. OUT holds results.json, certificate.json and report.html.

    Example:
        >>> from pathlib import Path
        >>> from pacx.suite import SuiteConfig
        >>> encoders = ("mae=runs/mae/encoder", "pacx=runs/pacx/encoder")
        >>> config = SuiteConfig(packs=(Path("packs/films"),), encoders=encoders, out=Path("runs/mine"), baseline="mae")
        >>> config.probe.num_seeds, config.num_draws
        (5, 2000)
    """

    packs: tuple[Path, ...]
    """The packs to evaluate on; the same dataset may be given at several image sizes."""

    encoders: tuple[str, ...]
    """NAME=FOLDER for each encoder, and the baselines random and imagenet by name."""

    out: Path
    """The folder to write; a later call may add packs or encoders."""

    baseline: str | None = None
    """The encoder that paired differences are taken from."""

    targets: tuple[Path, ...] = ()
    """Frozen target folders (ECG, labs ...) of the patients of one of the packs."""

    values: Path | None = None
    """A csv of measured values (labs, ECG measures) of the patients of one of the packs, for read-outs."""

    trained_on: tuple[Path, ...] = ()
    """The packs that the encoders learnt from; the certificate says what they share with every test set."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How probes are trained; the defaults are the paper's."""

    decoder: SegmentationConfig = field(default_factory=SegmentationConfig)
    """How segmentation decoders are trained; the defaults are the paper's."""

    align: AlignmentConfig = field(default_factory=AlignmentConfig)
    """The ridge probe; the defaults are the paper's."""

    deletion: DeletionConfig = field(default_factory=lambda: DeletionConfig(num_films=200))
    """How patches are removed. 200 test films are enough by default, because each goes through the encoder 30 times."""

    without: tuple[str, ...] = ()
    """Protocols to leave out, by the words of ``pacx evaluate``: shortcut, deletion, knn ..."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients."""

    device: str = AUTOMATIC
    """Where encoders and heads run (cpu, cuda, cuda:1); by default a GPU if there is one."""

    @property
    def seed(self) -> int:
        """Of protocols that are not told theirs, and of the random encoder."""
        return self.probe.seed

    def settings_of(self, protocol: Protocol[Any]) -> Any:  # noqa: ANN401 - the protocol's own
        """A protocol's settings: this call's where it has them under the same name, else the protocol's defaults."""
        told = [each.name for each in fields(protocol.settings) if hasattr(self, each.name)]
        return protocol.settings(**{name: getattr(self, name) for name in told})
