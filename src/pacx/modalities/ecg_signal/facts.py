"""What somebody says of ECG files that do not say it themselves: rate, unit, leads. Imports nothing."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class EcgUnit(Enum):
    """What one step of the stored numbers is; RELATIVE = scaled record by record, the voltage is lost."""

    MILLIVOLT = "mV"
    MICROVOLT = "uV"
    RELATIVE = "relative"

    @property
    def millivolts(self) -> float:
        """How many millivolts a step is; 1 where nobody knows."""
        return 1e-3 if self is EcgUnit.MICROVOLT else 1.0


class UnusableError(Exception):
    """One recording cannot be used; the message goes on after its name: "is constant"."""


@dataclass(frozen=True, kw_only=True)
class EcgFacts:
    """What is true of recordings whose files do not say it themselves; what a file says counts before it."""

    rate_hz: float | None = None
    """Samples per second."""

    unit: EcgUnit | None = None
    """What one step of the stored numbers is."""

    leads: tuple[str, ...] = ()
    """The leads in the order in which they are stored."""

    moment_column: str | None = None
    """The column of a list with the moment (ISO 8601) around which to read a recording that is longer than wanted; by
    default its beginning is read."""

    def behind(
        self, rate_hz: float | None = None, unit: EcgUnit | None = None, leads: tuple[str, ...] = ()
    ) -> "KnownFacts":
        """What a file says, and what it leaves out as it stands here.

        Raises:
            UnusableError: neither says it; the message has the options that do.
        """
        rate_hz, unit, leads = rate_hz or self.rate_hz, unit or self.unit, leads or self.leads
        if rate_hz and unit and leads:
            return KnownFacts(rate_hz, unit, leads)
        absent = [name for name, said in (("rate", rate_hz), ("unit", unit), ("leads", leads)) if not said]
        options = {"rate": "--rate-hz", "unit": "--unit", "leads": "--leads"}
        raise UnusableError(
            f"does not say its {' and its '.join(absent)}; give {' and '.join(map(options.__getitem__, absent))}"
        )


class KnownFacts(NamedTuple):
    """Rate, unit and leads of a recording, all of them known."""

    rate_hz: float
    unit: EcgUnit
    leads: tuple[str, ...]


NO_FACTS = EcgFacts()
