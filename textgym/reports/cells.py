"""Cells of a table as a page shows them: numbers with their digits, intervals below, colours where they are scaled."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from textgym.errors import ReportError
from textgym.reports.blocks import Cell, Column, Interval, Table
from textgym.reports.heat import full_colour, step
from textgym.reports.templates import MINUS, number, shown


@dataclass(frozen=True)
class Shown:
    """A cell.

    Attributes:
        text: what stands in it.
        interval: below that, or "".
        value: what it sorts by; None where it sorts by its text.
        classes: "n" of numbers, their colour, "sure" where the interval of a scaled one excludes 0.
        mark: a word beside it, or "".
    """

    text: str
    interval: str
    value: float | None
    classes: str
    mark: str


def shown_rows(table: Table) -> list[list[Shown]]:
    """The cells of a table.

    Raises:
        ReportError: a row of more or fewer cells than there are columns.
    """
    for place, row in enumerate(table.rows):
        if len(row) != len(table.columns):
            raise ReportError(f"{table.caption!r}: {len(table.columns)} columns, {len(row)} cells in row {place}")
    scaled = [place for place, column in enumerate(table.columns) if column.scaled]
    full = full_colour(_value(row[place]) for row in table.rows for place in scaled if _sure(row[place]))
    return [
        [
            _shown(cell, column, full, table.marks.get((place, across), ""))
            for across, (cell, column) in enumerate(zip(row, table.columns, strict=True))
        ]
        for place, row in enumerate(table.rows)
    ]


def _shown(cell: Cell | Interval, column: Column, full: float, mark: str) -> Shown:
    value, interval = _value(cell), ""
    if isinstance(cell, Interval):
        interval = f"[{_said(float(cell.low), column)}, {_said(float(cell.high), column)}]"
    classes = " ".join(_classes(cell, column, full))
    number = float(cell.value) if isinstance(cell, Interval) else cell
    return Shown(_said(number, column), interval, value, classes, shown(mark))


def _classes(cell: Cell | Interval, column: Column, full: float) -> Iterator[str]:
    """A cell whose interval holds 0 has the faintest colour at most, however far from 0 its value is."""
    value = _value(cell)
    if value is not None:
        yield "n"
    if column.scaled and (colour := step(value, full)):
        yield colour if _sure(cell) else f"{colour[0]}1"
    if column.scaled and isinstance(cell, Interval) and cell.sign:
        yield "sure"


def _sure(cell: Cell | Interval) -> bool:
    return not isinstance(cell, Interval) or cell.sign != 0


def _value(cell: Cell | Interval) -> float | None:
    if isinstance(cell, Interval):
        return _value(cell.value)
    return float(cell) if isinstance(cell, (int, float)) and math.isfinite(cell) else None


def _said(cell: Cell, column: Column) -> str:
    if isinstance(cell, str):
        return shown(cell)
    if cell is None or math.isnan(cell):
        return ""
    if math.isinf(cell):
        return "∞" if cell > 0 else f"{MINUS}∞"
    text = f"{cell:,}" if isinstance(cell, int) else number(cell, column.digits)
    signed = column.scaled and cell > 0 and text.strip("0.")
    return f"+{text}" if signed else text.replace("-", MINUS)
