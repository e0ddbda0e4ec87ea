"""What was lost on the way from rows to pairs: at every step how many are left, and why the others are not."""

from dataclasses import dataclass

from pacx.core.typed_json import TypedJson


@dataclass(frozen=True)
class Loss:
    """What a step left out for one reason.

    Args:
        reason: in a few words, of the things left out.
        count: how many.
        rows: numbers of the first rows of the table, where a row was at fault.
    """

    reason: str
    count: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step and what it left.

    Args:
        of: what is counted: admissions, films, recordings, measurements, pairs. Of each of them but pairs, what a step
            left and what the next one lost are what the next one left.
        what: what those are that are left.
        count: of them.
        patients: they belong to.
        losses: what this step left out.
    """

    of: str
    what: str
    count: int
    patients: int
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True)
class Flow(TypedJson, what="flow from rows to pairs"):
    """All steps in their order."""

    steps: tuple[Step, ...]

    def lines(self) -> tuple[str, ...]:
        """One line a step, for a terminal."""
        lines = []
        for step in self.steps:
            lost = "; ".join(f"{loss.count:,} {loss.reason}{_rows(loss)}" for loss in step.losses)
            lines.append(
                f"{step.of:<12} {step.count:>12,}{_whose(step)}  {step.what}" + (f" (out: {lost})" if lost else "")
            )
        return tuple(lines)


def _whose(step: Step) -> str:
    return f" of {step.patients:,} patients" if step.patients else ""  # a table of labels names studies alone


def _rows(loss: Loss) -> str:
    if not loss.rows:
        return ""
    return f", row {', '.join(map(str, loss.rows))}" + (" ..." if loss.count > len(loss.rows) else "")
