"""The few sentences a report opens with: each is one number with its interval and what it means, from result rows."""

from dataclasses import dataclass

from pacx.evaluation.probes.alignment import CHANCE
from pacx.evaluation.results import ResultRow, difference_metric
from pacx.models.encoders.names import MAE, PACX
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import format_interval, is_distinguishable, shown_target

MEAN_IMAGE = "training mean image"


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A number, its interval, and one sentence."""

    value: str
    interval: str
    meaning: str


def _difference(row: ResultRow, meaning: str) -> Headline:
    verdict = "" if is_distinguishable(row) else " Not distinguishable from no difference."
    return Headline(
        value=f"{100 * row.value:+.1f} points",
        interval=f"95 % interval {format_interval(row, digits=1, scale=100)}",
        meaning=meaning + verdict,
    )


def headlines(rows: Rows) -> list[Headline]:
    """What the rows at hand allow to be said; nothing is said that was not measured."""
    found: list[Headline] = []
    for dataset in rows.values_of("dataset", protocol="low-data"):
        query = {"protocol": "low-data", "dataset": dataset, "label": "macro", "encoder": PACX, "contrast": MAE}
        row = rows.find(**query, metric=difference_metric("auroc"), fraction=0.01)
        if row is not None:
            found.append(_difference(row, f"AUROC of PaCX over the MAE on {dataset} labels with 1 % of them."))
    model = rows.find(protocol="reconstruction", encoder=MAE, metric="masked_mse")
    mean_image = rows.find(protocol="reconstruction", encoder=MEAN_IMAGE, metric="masked_mse")
    if model is not None and mean_image is not None:
        found.append(
            Headline(
                value=f"{model.value / mean_image.value:.0%}",
                interval=f"{model.value:.3f} against {mean_image.value:.3f}, n = {model.n}",
                meaning="Held-out reconstruction error of the MAE, relative to predicting the mean training film.",
            )
        )
    for target in rows.values_of("label", protocol="alignment"):
        row = rows.find(protocol="alignment", label=target, encoder=PACX, metric="recall_at_5")
        chance = rows.find(protocol="alignment", label=target, encoder=CHANCE, metric="recall_at_5")
        if row is not None and chance is not None:
            verdict = "" if row.ci_low > chance.value else " Not distinguishable from chance."
            found.append(
                Headline(
                    value=f"{row.value / chance.value:.1f} x chance",
                    interval=f"R@5 {row.value:.3f} {format_interval(row)}, chance {chance.value:.3f}",
                    meaning=f"How often a film alone finds its own patient's {shown_target(target)} among the best "
                    f"five.{verdict}",
                )
            )
    return found
