"""A report's tables for other documents: Markdown, CSV and LaTeX, cell by cell as the page shows them."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from pacx.core.artifacts import write_text
from pacx.reporting.tables import Cell, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "²": r"\textsuperscript{2}",
}


def _plain(cell: Cell) -> str:
    return " ".join(part for part in (cell.text, cell.small) if part)


def _whole(table: Table) -> list[list[Cell]]:
    """Rows as wide as the header; a heading between rows is followed by empty cells."""
    return [[*row, *[Cell(text="")] * (len(table.header) - len(row))] for row in table.rows]


def to_csv(table: Table) -> str:
    """Comma-separated values, the interval in its cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([_plain(cell) for cell in row] for row in _whole(table))
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A Markdown table with its caption below; the best of a row in bold, what is not distinguishable in italics."""

    def cell_text(cell: Cell) -> str:
        text = _plain(cell).replace("|", r"\|")
        mark = "**" if cell.is_best else "*" if cell.is_quiet else ""
        return f"{mark}{text}{mark}" if text else ""

    lines = [list(table.header), ["---"] * len(table.header)]
    lines += [[cell_text(cell) for cell in row] for row in _whole(table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{table.caption}\n"


def to_latex(table: Table) -> str:
    """A LaTeX table for the package booktabs; the best of a row in bold, what is not distinguishable in grey."""

    def escaped(text: str) -> str:
        return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found.group()], text)

    def cell_text(cell: Cell) -> str:
        small = rf" {{\scriptsize {escaped(cell.small)}}}" if cell.small else ""
        text = rf"\textbf{{{escaped(cell.text)}}}" if cell.is_best else escaped(cell.text)
        return rf"\textcolor{{gray}}{{{text}{small}}}" if cell.is_quiet and cell.text else f"{text}{small}"

    columns = "l" + "r" * (len(table.header) - 1)
    head = " & ".join(map(escaped, table.header))
    body = "".join(" & ".join(cell_text(cell) for cell in row) + " \\\\\n" for row in _whole(table))
    return (
        "% needs \\usepackage{booktabs,xcolor}\n\\begin{table}\n\\centering\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
        f"\\caption{{{escaped(table.caption)}}}\n\\end{{table}}\n"
    )


def write_tables(tables: Sequence[tuple[str, Table]], folder: Path) -> None:
    """Write every table that has rows as NAME.csv, NAME.tex, and all of them into tables.md.

    Args:
        tables: names (for files and headings) and tables.
        folder: where to write.
    """
    shown = [(name, table) for name, table in tables if table.rows]
    for name, table in shown:
        write_text(folder / f"{name}.csv", to_csv(table))
        write_text(folder / f"{name}.tex", to_latex(table))
    text = "\n".join(f"## {name.replace('-', ' ')}\n\n{to_markdown(table)}" for name, table in shown)
    write_text(folder / "tables.md", text)
