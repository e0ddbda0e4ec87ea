"""One self-contained page from result rows, journals and kept pictures.

Everything shown is read from files; nothing is remembered from a run. What is missing is said, not left out.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pacx.core.artifacts import read_json, write_text
from pacx.evaluation.evidence.attention import PROTOCOL as ATTENTION
from pacx.evaluation.evidence.attention import UNIFORM
from pacx.evaluation.evidence.deletion import PROTOCOL as DELETION
from pacx.evaluation.probes.alignment import CHANCE, CONSTANT
from pacx.evaluation.results import read_rows, results_file
from pacx.linking.flow import Flow
from pacx.linking.links import is_links, read_flow
from pacx.models.encoders.names import ABLATIONS, IMAGENET, MAE, PACX, RANDOM
from pacx.reporting import scrutiny, tables
from pacx.reporting.curves import draw_label_efficiency, draw_training
from pacx.reporting.exports import write_tables
from pacx.reporting.figures import read_figures
from pacx.reporting.flow_diagram import draw_flow
from pacx.reporting.headlines import headlines
from pacx.reporting.result_rows import Rows, read_all
from pacx.reporting.runs import is_run, read_run, run_tables
from pacx.reporting.tables import Cell, Table
from pacx.training.monitoring.journal import read_journal

NOTICE = (
    "Research software, not a medical device. Simulated patients show that software and method work as described; "
    "they say nothing about real ones."
)
_ENCODER_ORDER = (RANDOM, IMAGENET, MAE, f"{MAE}#mean", PACX, f"{PACX}#mean")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture inside the page."""

    title: str
    caption: str
    base64: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what stands below it."""

    anchor: str
    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    details_title: str = ""
    details: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.pictures or self.details or any(table.rows for table in self.tables))


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Which metrics of a run's journal belong into one picture."""

    run: str
    section: str
    title: str
    y_label: str
    metrics: tuple[tuple[str, str], ...]


_CURVES = (
    Curves(
        run="mae",
        section="reconstruction",
        title="Stage 1: masked error",
        y_label="mean squared error, normalised pixels",
        metrics=(("loss", "MAE"), ("masked_mse", "MAE"), ("mean_image_mse", "mean training film")),
    ),
    Curves(
        run="pacx",
        section="alignment",
        title="Stage 2: loss",
        y_label="0.5 contrastive + 1.0 regression",
        metrics=(("loss", "total"),),
    ),
    Curves(
        run="pacx",
        section="alignment",
        title="Stage 2: retrieval of the patient's own record",
        y_label="recall at 5, held-out patients",
        metrics=(("recall_at_5_ecg", "ECG"), ("recall_at_5_labs", "labs"), ("chance_recall_at_5", "chance")),
    ),
)


def _picture(title: str, caption: str, png: bytes) -> Picture:
    return Picture(title=title, caption=caption, base64=base64.b64encode(png).decode())


def _kept_pictures(folder: Path | None, section: str) -> tuple[Picture, ...]:
    if folder is None:
        return ()
    entries = [entry for entry in read_figures(folder / "figures") if entry.section == section]
    return tuple(
        _picture(entry.title, entry.caption, (folder / "figures" / entry.file).read_bytes()) for entry in entries
    )


def _training_pictures(folder: Path | None, section: str) -> tuple[Picture, ...]:
    if folder is None:
        return ()
    found = []
    for curves in _CURVES:
        journal = read_journal(folder / "runs" / curves.run / "journal.jsonl")
        if journal and curves.section == section:
            png = draw_training(journal, dict(curves.metrics), curves.title, curves.y_label)
            found.append(_picture(curves.title, "From the run's journal.", png))
    return tuple(found)


def _present(order: Sequence[str], names: Sequence[str]) -> list[str]:
    """Names in the paper's order, then whatever else was measured; baselines are not encoders."""
    plain = [name for name in names if name not in (CHANCE, CONSTANT, UNIFORM)]
    return [name for name in order if name in plain] + [name for name in plain if name not in order]


def _ablations(rows: Rows) -> tuple[str, list[str]]:
    """The protocol that measured Table 3's encoders, and those encoders: a demo keeps them apart, a suite does not."""
    for protocol in ("ablation", "low-data"):
        names = rows.values_of("subject", contrast="", protocol=protocol)
        if set(names) & set(ABLATIONS):
            return protocol, [name for name in (MAE, *ABLATIONS, "full", PACX) if name in names]
    return "ablation", []


def _sections(rows: Rows, folder: Path | None, *, as_released: bool) -> list[Section]:
    encoders = _present(_ENCODER_ORDER, rows.values_of("subject", contrast="", protocol="linear-probe"))
    aligned = _present(_ENCODER_ORDER, rows.values_of("subject", contrast="", protocol="alignment"))
    ablation_protocol, ablations = _ablations(rows)
    looked = _present(_ENCODER_ORDER, rows.values_of("subject", contrast="", protocol=ATTENTION))
    looked_closer = _present(_ENCODER_ORDER, rows.values_of("subject", contrast="", protocol=DELETION))
    low_data = rows.values_of("dataset", protocol="low-data")
    low_data_encoders = _present(_ENCODER_ORDER, rows.values_of("subject", contrast="", protocol="low-data"))
    efficiency: tuple[Picture, ...] = ()
    if low_data:
        png = draw_label_efficiency(rows, low_data, low_data_encoders)
        efficiency = (_picture("Label efficiency", "Macro AUROC, mean over probe seeds, 95 % band.", png),)
    return [
        Section(anchor="inputs", title="What went in", pictures=_kept_pictures(folder, "inputs")),
        Section(
            anchor="reconstruction",
            title="Stage 1: masked autoencoding",
            text="The encoder sees a tenth of each film's patches; the decoder has to draw the rest.",
            pictures=(*_kept_pictures(folder, "reconstruction"), *_training_pictures(folder, "reconstruction")),
        ),
        Section(
            anchor="benchmarks",
            title="Benchmarks (Table 1)",
            tables=(tables.benchmark_table(rows, encoders, as_released=as_released),),
        ),
        Section(
            anchor="labels",
            title="Label by label",
            tables=(tables.label_table(rows, encoders), scrutiny.significance_table(rows)),
        ),
        Section(
            anchor="label-efficiency",
            title="Label efficiency (Figure 3)",
            tables=(tables.low_data_table(rows, low_data_encoders),),
            pictures=efficiency,
        ),
        Section(
            anchor="alignment",
            title="Alignment with ECG and labs (Table 2)",
            tables=(tables.alignment_table(rows, aligned),),
            pictures=_training_pictures(folder, "alignment"),
        ),
        *_doubts(rows, encoders, folder),
        Section(anchor="others", title="Other protocols", tables=scrutiny.other_tables(rows)),
        Section(anchor="audit", title="Audits", tables=(scrutiny.audit_table(rows),)),
        Section(
            anchor="ablation",
            title="Ablations (Table 3)",
            tables=(tables.ablation_table(rows, ablations, ablation_protocol),),
        ),
        Section(
            anchor="attention",
            title="Where the encoder looks (Figure 4)",
            text="Attention rollout of the class token. Pictures suggest, they do not prove; the shares are measured.",
            tables=(tables.attention_table(rows, looked), scrutiny.deletion_table(rows, looked_closer)),
            pictures=_kept_pictures(folder, "attention"),
        ),
    ]


def _doubts(rows: Rows, encoders: Sequence[str], folder: Path | None) -> list[Section]:
    """What asks whether to believe the benchmarks."""
    return [
        Section(
            anchor="scrutiny",
            title="Does it depend on the classifier, the threshold, the patient, a shortcut?",
            tables=(
                scrutiny.classifier_table(rows, encoders),
                scrutiny.calibration_table(rows, encoders),
                scrutiny.subgroup_table(rows, encoders),
                scrutiny.shortcut_table(rows, encoders),
            ),
        ),
        Section(
            anchor="shared",
            title="Patients and films on both sides of a test",
            tables=() if folder is None else (scrutiny.shared_table(folder / "certificate.json"),),
        ),
    ]


def _what_was_run(folder: Path | None, sources: Sequence[Path]) -> Section:
    about = folder / "demo.json" if folder is not None else None
    if about is None or not about.exists():
        listed = "\n".join(str(source) for source in sources)
        return Section(anchor="run", title="What was run", details_title="Result files", details=listed)
    text = json.dumps(read_json(about), indent=2)
    return Section(
        anchor="run",
        title="What was run",
        text="Configuration, seed, versions and the time each step took.",
        details_title="Everything needed to make this page again",
        details=text,
    )


def _flow_table(name: str, flow: Flow) -> Table:
    """A way from rows to pairs as a table: a line per step, with what it left out and why.

    Args:
        name: of the pairs, for the caption.
        flow: from rows to pairs.
    """
    body = [
        (
            Cell(text=step.of),
            Cell(text=step.what),
            Cell(text=f"{step.count:,}"),
            Cell(text=f"{step.patients:,}" if step.patients else ""),
            Cell(text="; ".join(f"{loss.count:,} {loss.reason}" for loss in step.losses)),
        )
        for step in flow.steps
    ]
    return Table(
        caption=f"{name}: what each step left, of how many patients, and what it left out.",
        header=("of", "what", "left", "patients", "left out"),
        rows=tuple(body),
    )


def _pairs_made(folders: Sequence[Path]) -> Section:
    """From rows to pairs, for each folder that linking wrote."""
    flows = {str(folder): read_flow(folder) for folder in folders}
    return Section(
        anchor="pairs",
        title="From rows to pairs",
        text="What is left of the hospital's tables at every step, and what is lost and why.",
        tables=tuple(_flow_table(name, flow) for name, flow in flows.items()),
        pictures=tuple(_picture(name, "Left and lost.", draw_flow(flow)["flow.png"]) for name, flow in flows.items()),
    )


def _counted(num_rows: int, num_files: int, num_runs: int, num_links: int) -> str:
    parts = {
        f"{num_rows:,} result rows from {num_files} file(s)": num_files,
        f"{num_runs} run(s)": num_runs,
        f"{num_links} folder(s) of pairs": num_links,
    }
    return ", ".join(part for part, number in parts.items() if number)


def write_report(
    results: Sequence[Path],
    out: Path,
    *,
    title: str = "PaCX report",
    subtitle: str = "",
    tables_folder: Path | None = None,
    as_released: bool = False,
) -> None:
    """Write the page.

    Args:
        results: ``results.json`` files, folders that hold one, folders of finished runs, and folders of pairs that
            linking wrote; journals and pictures of the first folder with results are shown.
        out: the HTML file.
        tables_folder: where to write the page's tables as Markdown, CSV and LaTeX as well.
        title: heading of the page.
        subtitle: one line below it.
        as_released: show below each score of Table 1 how the released code counts what is absent.

    Raises:
        UsageError: a path holds no results.
        DataError: a results file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from pacx.reporting import write_report
        >>> write_report([Path("results.json")], Path("report.html"), title="Films", tables_folder=Path("tables"))
        >>> "<title>Films</title>" in Path("report.html").read_text()
        True
    """
    run_folders = [path for path in results if is_run(path)]
    linked = [path for path in results if is_links(path)]
    measured = [path for path in results if path not in (*run_folders, *linked)]
    files = [results_file(path) for path in measured]
    folder = next((path for path in measured if path.is_dir()), None)
    rows = read_all(read_rows(file) for file in files)
    runs = Section(anchor="runs", title="Runs", tables=run_tables([read_run(path) for path in run_folders]))
    asked = (_pairs_made(linked), *_sections(rows, folder, as_released=as_released), runs)
    sections = [section for section in asked if not section.is_empty]
    environment = Environment(
        loader=PackageLoader("pacx.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle or _counted(len(rows.rows), len(files), len(run_folders), len(linked)),
        notice=NOTICE,
        patients_unknown=tables.patients_unknown(rows),
        headlines=headlines(rows),
        sections=[*sections, _what_was_run(folder, [*files, *run_folders, *linked])],
    )
    write_text(out, page)
    if tables_folder is not None:
        write_tables(
            [
                (section.anchor if number == 0 else f"{section.anchor}-{number + 1}", table)
                for section in sections
                for number, table in enumerate(section.tables)
            ],
            tables_folder,
        )
