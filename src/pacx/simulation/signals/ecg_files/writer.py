"""How an ECG leaves the simulated hospital: whole numbers of a device's step, in the file of a maker or a standard.

A format is one file here that carries a ``WRITER``; ``ecg_writers()`` finds it. None shares code with the reader of
its format: each is written from the format's description alone, so that the two check each other.
"""

import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.discovery import Plugins, discover
from pacx.core.vocabulary import ECG_LEADS

RECORDED_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""What the electrodes give; devices compute the other four."""

_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracing:
    """One recording on its way into a file.

    Args:
        patient_id: whose it is.
        millivolts: (12, T) in the order of ``ECG_LEADS``.
        rate_hz: samples per second.
        started: when the first sample was taken, to the second.
    """

    patient_id: str
    millivolts: NDArray[np.float32]
    rate_hz: int
    started: datetime

    @property
    def num_samples(self) -> int:
        """T."""
        return self.millivolts.shape[1]

    def counts(self, step_mv: float) -> dict[str, NDArray[np.int16]]:
        """Each lead in whole steps of the device; what 16 bits cannot hold is clipped as a converter clips it."""
        whole = np.rint(self.millivolts.astype(np.float64) / step_mv).clip(_INT16.min, _INT16.max).astype(np.int16)
        return dict(zip(ECG_LEADS, whole, strict=True))


class EcgWriter(ABC):
    """One format of ECG files."""

    suffix: str
    """Of the file, with its dot."""
    step_mv: float
    """One unit in the last place."""

    @abstractmethod
    def save(self, path: Path, tracing: Tracing) -> None:
        """Write one recording as a file of its own, and what belongs to it beside it."""

    def write(self, folder: Path, tracings: Iterable[tuple[str, Tracing]]) -> dict[str, str]:
        """Write recordings by name, each below ``folder``; a name may have folders in it.

        Returns:
            by name, the path to open, relative to ``folder``; behind a ``#`` the key in a file that holds several.
        """
        paths = {}
        for name, tracing in tracings:
            paths[name] = f"{name}{self.suffix}"
            path = folder / paths[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            self.save(path, tracing)
        return paths


def ecg_writers() -> Plugins[EcgWriter]:
    """Every format there is, by name."""
    return discover("pacx.simulation.signals.ecg_files", "WRITER", EcgWriter)  # type: ignore[type-abstract]  # plug-ins derive from it


def child(parent: ET.Element, tag: str, text: object = "", /, **attributes: object) -> ET.Element:
    """A new element in another one."""
    element = ET.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
    element.text = str(text)
    return element


def save_xml(path: Path, root: ET.Element, prolog: str, encoding: str) -> None:
    """Write a document whose first lines are ``prolog``, indented as exports are."""
    ET.indent(root)
    path.write_text(f"{prolog}\n{ET.tostring(root, encoding='unicode')}\n", encoding=encoding, newline="\n")
