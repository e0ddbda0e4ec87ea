"""The rules by which a film, an ECG and laboratory values belong together; typed, and saved with the pairs."""

from dataclasses import dataclass
from enum import Enum

from pacx.core.errors import UsageError


class RuleName(Enum):
    """As typed on the command line."""

    SYMILE = "symile"
    FILM = "film"


class LabChoice(Enum):
    """Which measurement of a test counts, of those within the window."""

    NEAREST = "nearest"
    LAST = "last"


@dataclass(frozen=True, kw_only=True)
class SymileRule:
    """One pair per admission, as the makers of Symile-MIMIC cut their triplets.

    The film is the earliest of view AP or PA whose file is there, taken more than 24 and at most 72 hours after
    admission; its study has to have labels. The ECG is the earliest without an invalid sample that is not all zeros,
    within 24 hours before or after admission, both ends included. Of each test the earliest number counts, within 24
    hours before or after, both ends included, by the patient's rows whether or not they name an admission. Of equal
    times the row that stands first counts. An admission that lacks one of the three gives no pair.

    Source: rajesh-lab/symile, experiments, process_mimic_data.py.
    """

    film_after_h: float = 24.0
    film_until_h: float = 72.0
    ecg_window_h: float = 24.0
    lab_window_h: float = 24.0


@dataclass(frozen=True, kw_only=True)
class FilmRule:
    """One pair per film: the ECG and the measurements nearest to it in time.

    A film without an ECG, or without a measurement, keeps what it has; one without either gives no pair.

    Args:
        ecg_window_h: hours before and after the film within which an ECG counts, both ends included.
        lab_window_h: hours before and after the film within which a measurement counts, both ends included.
        lab_choice: the nearest measurement of each test (of two equally near the earlier), or the last before the film.
        no_future: nothing from after the film counts.
        frontal_only: only films of view AP or PA count.

    Raises:
        UsageError: a window is not positive.
    """

    ecg_window_h: float = 24.0
    lab_window_h: float = 24.0
    lab_choice: LabChoice = LabChoice.NEAREST
    no_future: bool = False
    frontal_only: bool = True

    def __post_init__(self) -> None:
        if min(self.ecg_window_h, self.lab_window_h) <= 0:
            raise UsageError("a window is not positive; give the hours around a film within which something counts")
