"""Finished runs side by side: what they ended at, and in what their configurations differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json
from pacx.reporting.tables import Cell, Table

_SUMMARY, _CONFIG = "summary.json", "config.json"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """What a run folder says of itself."""

    name: str
    stage: str
    seed: int
    commit: str
    steps: int
    settings: Mapping[str, str]
    validation: Mapping[str, float]


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a finished run."""
    return (folder / _SUMMARY).is_file() and (folder / _CONFIG).is_file()


def read_run(folder: Path) -> FinishedRun:
    """Read a finished run's folder.

    Raises:
        DataError: its files are damaged.
    """
    summary, config = read_json(folder / _SUMMARY), read_json(folder / _CONFIG)
    return FinishedRun(
        name=folder.name,
        stage=summary["stage"],
        seed=config["provenance"]["seed"],
        commit=config["provenance"]["commit"],
        steps=summary["steps"],
        settings=dict(_flat({"training": config["training"], "task": config["task"].get("config", {})})),
        validation=summary["validation"],
    )


def run_tables(runs: Sequence[FinishedRun]) -> tuple[Table, ...]:
    """Per stage a table of the last validation metrics, and one of the settings in which the runs differ."""
    stages = list(dict.fromkeys(run.stage for run in runs))
    return tuple(
        table
        for stage in stages
        for table in _of_stage(stage, [run for run in runs if run.stage == stage])
        if table.rows
    )


def _of_stage(stage: str, runs: Sequence[FinishedRun]) -> tuple[Table, Table]:
    names = tuple(run.name for run in runs)
    metrics = dict.fromkeys(metric for run in runs for metric in run.validation)
    made: list[tuple[Cell, ...]] = [
        (Cell(text=what), *(Cell(text=str(getattr(run, what))) for run in runs)) for what in ("steps", "seed", "commit")
    ]
    ended = [(Cell(text=metric.replace("_", " ")), *(_number(run, metric) for run in runs)) for metric in metrics]
    settings = dict.fromkeys(setting for run in runs for setting in run.settings)
    differing = [
        (Cell(text=setting), *(Cell(text=run.settings.get(setting, "not there")) for run in runs))
        for setting in settings
        if len({run.settings.get(setting) for run in runs}) > 1
    ]
    return (
        Table(
            caption="Held-out metrics when the run ended, of one run each. Compare encoders with pacx evaluate.",
            header=(stage, *names),
            rows=tuple(made + ended),
        ),
        Table(caption="Settings that differ.", header=(f"{stage}: setting", *names), rows=tuple(differing)),
    )


def _number(run: FinishedRun, metric: str) -> Cell:
    value = run.validation.get(metric)
    return Cell(text="", is_quiet=True) if value is None else Cell(text=f"{value:.4g}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", str(value)))
    return found
