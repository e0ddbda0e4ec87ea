"""European Data Format: an ASCII header, then records of one second with every lead in turn; 1 uV a step."""

from pathlib import Path

import numpy as np

from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing

_LOWEST, _HIGHEST = -32768, 32767


class EdfWriter(EcgWriter):
    """Writes EDF files; a recording that is no whole number of seconds ends with the last whole one."""

    suffix = ".edf"
    step_mv = 1e-3

    def save(self, path: Path, tracing: Tracing) -> None:
        """One file."""
        counts = tracing.counts(self.step_mv)
        rate, num_leads = tracing.rate_hz, len(counts)
        num_seconds = tracing.num_samples // rate
        when = tracing.started
        recording = f"Startdate {when:%d-%b-%Y}".upper().replace("STARTDATE", "Startdate")
        head: list[tuple[object, int]] = [
            ("0", 8),
            (f"{tracing.patient_id} X X X", 80),
            (f"{recording} X X X", 80),
            (f"{when:%d.%m.%y}", 8),
            (f"{when:%H.%M.%S}", 8),
            (256 * (1 + num_leads), 8),
            ("", 44),
            (num_seconds, 8),
            (1, 8),
            (num_leads, 4),
        ]
        of_lead: list[tuple[object, int]] = [
            ("AgAgCl electrode", 80), ("uV", 8), (_LOWEST, 8), (_HIGHEST, 8), (_LOWEST, 8), (_HIGHEST, 8), ("", 80),
            (rate, 8), ("", 32),
        ]  # fmt: skip
        head += [(f"ECG {lead}", 16) for lead in counts]
        head += [field for field in of_lead for _ in counts]
        samples = np.stack(list(counts.values()))[:, : num_seconds * rate]
        seconds = samples.reshape(num_leads, num_seconds, rate).swapaxes(0, 1)
        header = "".join(str(text)[:width].ljust(width) for text, width in head)
        path.write_bytes(header.encode("ascii") + seconds.astype("<i2").tobytes())


WRITER = EdfWriter()
