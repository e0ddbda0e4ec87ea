"""One numpy array of all recordings in whole microvolts, with a JSON file that says what it holds: our own layout."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pacx.core.artifacts import write_json
from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing


class NpyWriter(EcgWriter):
    """Writes ``ecg.npy`` and ``ecg.json``; recordings have one rate and length."""

    suffix = ".npy"
    step_mv = 1e-3

    def write(self, folder: Path, tracings: Iterable[tuple[str, Tracing]]) -> dict[str, str]:
        """All recordings in one array, each by its name."""
        named = dict(tracings)
        self._save_all(folder / "ecg.npy", named)
        return {name: f"ecg.npy#{name}" for name in named}

    def save(self, path: Path, tracing: Tracing) -> None:
        """An array of one recording, which has the file's name."""
        self._save_all(path, {path.stem: tracing})

    def _save_all(self, path: Path, named: dict[str, Tracing]) -> None:
        signals = [np.stack(list(tracing.counts(self.step_mv).values())) for tracing in named.values()]
        np.save(path, np.stack(signals))
        about = {
            "sample_ids": list(named),
            "patient_ids": [tracing.patient_id for tracing in named.values()],
            "leads": list(ECG_LEADS),
            "sample_rate_hz": next(iter(named.values())).rate_hz,
            "unit": "uV",
        }
        write_json(path.with_suffix(".json"), about)


WRITER = NpyWriter()
