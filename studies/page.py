"""Result rows to a Markdown page: for each file of rows the text that lies beside it, its numbers filled in.

``FILE.json`` holds rows, ``FILE.md.j2`` what is to be said of them. A text names numbers and never writes them: what it
asks for and the rows do not hold is an error, so that page and rows cannot drift apart. A file without a text gets a
table of where its rows come from.

    python -m studies.page docs/results/simulated-hospital.json docs/results/real-films.json --out docs/results.md
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from jinja2 import Environment, StrictUndefined, TemplateError

from pacx.cli.terminal import explained, say
from pacx.core.artifacts import staged_file, write_text
from pacx.core.errors import DataError, UsageError
from pacx.evaluation.results import ResultRow, Subject, difference_metric, read_rows
from pacx.models.encoders.names import MAE
from pacx.reporting.exports import to_markdown
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import Table, is_distinguishable
from studies.gain_figure import draw_gains
from studies.illness import bars as illness_bars
from studies.illness import names as illness_names
from studies.illness import tables as illness_tables
from studies.illness.figure import draw_beyond
from studies.simulated import bars as study_bars
from studies.simulated import tables as study_tables
from studies.simulated.names import STUDY
from studies.stepwise.cells import origin_table

_HEADER = """# Results

<!-- Made by `python -m studies.page {names} --out {out}`; change the rows or the texts, never this page. -->

Research software, not a medical device. Every number stands with a 95 % interval (patient-level bootstrap;
differences are paired on the same draws); *n. d.* = not distinguishable: the paired interval includes 0.
"""


class Numbers:
    """What a text may ask of its rows.

    Args:
        rows: of one file.
        path: that file, for messages.

    Raises:
        DataError: a row that is asked for is not there.
    """

    def __init__(self, rows: Sequence[ResultRow], path: Path) -> None:
        self.rows, self._path = Rows(rows=tuple(rows)), path

    def row(self, **fields: object) -> ResultRow:
        """The row whose fields equal those given."""
        found = self.rows.find(**fields)
        if found is None:
            raise DataError(
                f"{self._path} has no row {fields}, for which its text asks; correct the text or add the row"
            )
        return found

    def score(self, digits: int = 3, **fields: object) -> str:
        """A value with its interval, without leading zeros: .640 [.581, .693]."""
        return _with_interval(self.row(**fields), digits)

    def difference(self, encoder: str, baseline: str, metric: str, digits: int = 3, **fields: object) -> str:
        """A paired difference; bold where its interval excludes 0."""
        row = self.row(encoder=encoder, contrast=baseline, metric=difference_metric(metric), **fields)
        text = _with_interval(row, digits, sign="+")
        return f"**{text}**" if is_distinguishable(row) else f"{text} *n. d.*"

    def points(self, encoder: str, baseline: str, fraction: float, condition: str = "") -> str:
        """A gain of the study in points, both under one condition."""
        contrast = str(Subject(baseline, condition=condition))
        row = self.row(
            protocol=STUDY,
            dataset=study_tables.DENSE,
            encoder=encoder,
            condition=condition,
            contrast=contrast,
            fraction=fraction,
            label="macro",
        )
        low, high = (f"{100 * end:.1f}" for end in (row.ci_low, row.ci_high))
        return f"{100 * row.value:+.1f} [{low}, {high}]"

    def n(self, **fields: object) -> int:
        """Films or patients behind a row."""
        return self.row(**fields).n

    def has(self, **fields: object) -> bool:
        """Whether there is such a row."""
        return self.rows.find(**fields) is not None

    def bars(self) -> str:
        """What the study had to show."""
        return to_markdown(study_bars.bar_table(self.rows))

    def gains(self, kind: str, suffix: str = "", pooling: str = "") -> str:
        """Gains by what is taught ("taught") or by what films show ("worlds"), over the MAE in one of its poolings."""
        names = {"taught": study_tables.TAUGHT, "worlds": study_tables.IN_WORLDS}[kind]
        return to_markdown(study_tables.gain_table(self.rows, names, suffix=suffix, pooling=pooling))

    def scores(self, lines: Sequence[Mapping[str, str]], suffix: str = "") -> str:
        """Macro AUROC of some encoders of the study: fields of ``Subject``, and ``called`` for people."""
        names = {
            Subject(**{field: text for field, text in line.items() if field != "called"}): line["called"]
            for line in lines
        }
        return to_markdown(study_tables.score_table(self.rows, names, suffix))

    def shares(self) -> str:
        """What controls and ablations keep of the gain."""
        return to_markdown(study_tables.share_table(self.rows))

    def standardized(self) -> str:
        """Gains with standardized features."""
        return to_markdown(study_tables.standardized_table(self.rows))

    def labels(self) -> str:
        """Gains of single labels."""
        return to_markdown(study_tables.label_table(self.rows))

    def masks(self) -> str:
        """Segmentation of the study."""
        return to_markdown(study_tables.mask_table(self.rows))

    def illness(self, kind: str, measure: str = illness_names.AREA, *, papers: bool = False) -> str:
        """A table of the study of illness: "scores", "gains", "beyond" or "reached"."""
        makers: Mapping[str, Callable[..., Table]] = {
            "scores": illness_tables.score_table,
            "gains": illness_tables.gain_table,
            "beyond": illness_tables.beyond_table,
            "reached": illness_tables.reached_table,
        }
        return to_markdown(makers[kind](self.rows, measure, by_papers_probe=papers))

    def illness_by_stage_1(self, measure: str) -> str:
        """Own minus equally ill of each Stage 1."""
        return to_markdown(illness_tables.each_table(self.rows, measure))

    def illness_against(self, measure: str) -> str:
        """One way of teaching less another."""
        return to_markdown(illness_tables.against_table(self.rows, measure))

    def illness_bars(self) -> str:
        """What the study of illness had to show."""
        return to_markdown(illness_bars.bar_table(self.rows))

    def illness_masks(self) -> str:
        """Outlines on what Stage 2 left, against the MAE's."""
        return to_markdown(illness_tables.mask_table(self.rows))

    def illness_labels(self) -> str:
        """Own minus equally ill of single labels."""
        return to_markdown(illness_tables.label_table(self.rows))

    def knowledge(self) -> str:
        """What films, ECG and labs know beyond acuity."""
        return to_markdown(illness_tables.knowledge_table(self.rows))

    def beyond(
        self, method: str, pairs: int, fraction: float, measure: str = illness_names.AREA, minus: str = "equally ill"
    ) -> str:
        """Own pairs minus something in points: a control's name, "mae", or another method with as many own pairs."""
        other = (
            illness_names.baseline()
            if minus == MAE
            else illness_names.subject(method, pairs, minus)
            if minus in (illness_names.EQUALLY_ILL, illness_names.RANDOM_VECTORS)
            else illness_names.subject(minus, pairs, illness_names.OWN)
        )
        own = illness_names.subject(method, pairs, illness_names.OWN)
        row = self.row(
            protocol=illness_names.ILLNESS,
            dataset=illness_names.dataset_of(illness_tables.GROUPS[0]),
            subject=str(own),
            contrast=str(other),
            metric=difference_metric(measure),
            fraction=fraction,
            label="macro",
        )
        low, high = (f"{100 * end:.1f}" for end in (row.ci_low, row.ci_high))
        return f"{100 * row.value:+.1f} [{low}, {high}]"

    def origins(self) -> str:
        """Where all rows come from."""
        return to_markdown(origin_table(self.rows.rows))


def _with_interval(row: ResultRow, digits: int, sign: str = "") -> str:
    def short(value: float, sign: str = "") -> str:
        return f"{value:{sign}.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.{digits}f}"

    if math.isnan(row.ci_low):
        return short(row.value, sign)
    return f"{short(row.value, sign)} [{short(row.ci_low)}, {short(row.ci_high)}]"


def results_page(files: Sequence[Path], out: Path) -> str:
    """The page as text.

    Args:
        files: of rows.
        out: the page, only named in it.

    Raises:
        UsageError: a file is not there.
        DataError: a file's text is no template, or asks for a row that is not there.
    """
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file} does not exist; give files of result rows")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    parts = [_HEADER.format(names=" ".join(map(str, files)), out=out)]
    for file in files:
        numbers, text = Numbers(read_rows(file), file), file.with_name(f"{file.stem}.md.j2")
        source = text.read_text(encoding="utf-8") if text.is_file() else f"## {file.stem}\n\n{{{{ origins() }}}}"
        offered: dict[str, Callable[..., object]] = {
            name: getattr(numbers, name) for name in vars(Numbers) if not name.startswith("_")
        }
        try:
            parts.append(environment.from_string(source).render(offered))
        except TemplateError as error:
            raise DataError(f"{text} cannot be filled in: {error}; correct the text") from error
    return "\n".join(part.strip("\n") + "\n" for part in parts)


@dataclass(frozen=True, kw_only=True)
class PageCall:
    """Turn files of rows and the texts beside them (FILE.json and FILE.md.j2) into a Markdown page."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files of result rows."""

    out: Path = Path("docs/results.md")
    """The page to write."""

    picture: Path | None = None
    """A PNG of the gains of the study among the rows."""

    illness_picture: Path | None = None
    """A PNG of what own pairs add to those of equally ill patients."""


def main(words: Sequence[str] | None = None) -> None:
    """Write the page and, if asked for, its picture."""
    call = tyro.cli(PageCall, args=words)
    with explained():
        write_text(call.out, results_page(call.results, call.out))
        every = Rows(rows=tuple(row for file in call.results for row in read_rows(file)))
        for path, draw in ((call.picture, draw_gains), (call.illness_picture, draw_beyond)):
            if path is not None:
                with staged_file(path) as staged:
                    staged.write_bytes(draw(every))
                say(f"picture written to {path}")
    say(f"page written to {call.out}")


if __name__ == "__main__":
    main()
