"""Measured values read from the film, with conformal intervals."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from pacx.core.errors import PacxError, UsageError
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Outcome, Protocol
from pacx.evaluation.settings import ReadoutConfig


@dataclass(frozen=True, kw_only=True)
class ReadoutSettings:
    """Read measured values (labs, ECG measures) from the film, with intervals that cover as often as they say.

    Fitted on the training patients, calibrated on the validation patients, judged on the test patients.
    """

    values: Path | None = None
    """A csv with sample_id and one column of numbers per quantity (labs.csv is one); a blank was not measured."""

    elsewhere: tuple[Path, ...] = ()
    """Pack and csv of another hospital, where the intervals promise nothing and their coverage is measured."""

    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    """How read-outs are fitted."""

    save: bool = False
    """Keep each encoder folder's read-outs in its sub-folder readouts, for whoever uses the encoder."""


class Readout(Protocol[ReadoutSettings]):
    """``evaluation.probes.readouts`` of measured values in a table."""

    name, summary, headline = "readout", "labs and ECG measures from the film, with conformal intervals", "coverage"
    settings = ReadoutSettings
    inputs = ("values",)
    example = "--values labs.csv"

    def run(self, films: EncodedPack, settings: ReadoutSettings, comparison: Comparison) -> Outcome:
        """Rows of every quantity, at home and elsewhere."""
        import numpy as np

        from pacx.data.packs.pack import Pack
        from pacx.evaluation.probes.readouts import fit_readouts, read_measured_values, readout_rows
        from pacx.models.heads.readouts import save_readouts

        if settings.values is None or len(settings.elsewhere) not in (0, 2):
            raise UsageError("give --values, and with --elsewhere both a pack and a csv of the same patients")
        pack, config = films.pack, settings.readout
        features, measured = films.features(comparison.device), read_measured_values(settings.values, pack)
        splits = {"training": pack.rows("train"), "calibration": pack.rows("val")}
        fitted = {name: fit_readouts(array, measured, config=config, **splits) for name, array in features.items()}
        rows = readout_rows(fitted, features, measured, pack.rows("test"), comparison, config=config)
        if settings.elsewhere:
            other = Pack.open(settings.elsewhere[0])
            away = replace(films, pack=other, kept=None).features(comparison.device)
            values = read_measured_values(settings.elsewhere[1], other)
            there = replace(comparison, dataset=other.path.name)
            rows += readout_rows(fitted, away, values, np.arange(len(other)), there, config=config)
        remarks = [*measured.notes, *(films.not_kept("read-outs") if settings.save else [])]
        for name, folder in films.folders.items() if settings.save else ():
            out = save_readouts(folder, {quantity: each.head for quantity, each in fitted[name].items()})
            remarks.append(f"{len(fitted[name])} read-outs of {name} written to {out}")
        return Outcome(rows=rows, remarks=remarks)

    def lacks(self, films: EncodedPack, settings: ReadoutSettings) -> str:
        """A table of values of these very films."""
        from pacx.evaluation.probes.readouts import read_measured_values

        missing = super().lacks(films, settings)
        if missing or settings.values is None:
            return missing
        try:
            read_measured_values(settings.values, films.pack)
        except PacxError as error:
            return f"--values that can be read ({error})"
        return ""

    def fingerprints(self, settings: ReadoutSettings, /) -> list[str]:
        """Of the tables and of the other hospital's pack."""
        from pacx.core.artifacts import sha256_of
        from pacx.data.packs.pack import Pack

        tables = [settings.values, *settings.elsewhere[1:]]
        return [sha256_of(table) for table in tables if table] + [
            Pack.open(path).fingerprint for path in settings.elsewhere[:1]
        ]


PROTOCOL = Readout()
