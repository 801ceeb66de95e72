"""Bars on stderr for the stages of a run; plain lines now and then where stderr is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from textgym.cli.terminal import stderr

Tell = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, note); see `textgym.runs.train.Progress`."""

SECONDS_BETWEEN_LINES = 20.0
"""Where there is no terminal: often enough to see life in a log, seldom enough to read it."""

WIDE = 110
"""Columns of a terminal in which a bar has room for the counts beside rate and note."""


@contextmanager
def bars(quiet: bool = False, unit: str = "tokens") -> Iterator[Tell | None]:
    """Shows progress: stage, tokens, tokens a second, and what the stage notes (loss, or KL and reward).

    Args:
        quiet: shows nothing; what is yielded is None.
        unit: what is counted.
    """
    if quiet:
        yield None
    elif not stderr().is_terminal:
        yield _Lines(unit)
    else:
        wide = stderr().width >= WIDE
        amount = f"{{task.completed:,.0f}}/{{task.total:,.0f}} {unit}" if wide else "{task.percentage:>3.0f}%"
        columns = (
            TextColumn("{task.description:<8}"),
            BarColumn(bar_width=24 if wide else 8),
            TextColumn(f"{amount} · {{task.fields[note]}}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=stderr()) as progress:
            yield _Bars(progress, wide, unit)


class _Clock:
    """When each stage began, and what it last noted; a stage that says nothing new keeps its note."""

    def __init__(self, unit: str) -> None:
        self._per_second = "tok/s" if unit == "tokens" else f"{unit}/s"
        self._begun: dict[str, tuple[float, int]] = {}
        self._notes: dict[str, str] = {}

    def note(self, stage: str, done: int, note: str) -> str:
        now = time.perf_counter()
        begun, first = self._begun.setdefault(stage, (now, done))
        self._notes[stage] = note or self._notes.get(stage, "")
        rate = f"{(done - first) / (now - begun):,.0f} {self._per_second}" if now > begun and done > first else ""
        return " · ".join(filter(None, (rate, self._notes[stage])))


class _Bars:
    def __init__(self, progress: Progress, wide: bool, unit: str) -> None:
        self._progress, self._wide, self._clock = progress, wide, _Clock(unit)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        shown = self._clock.note(stage, done, note if self._wide else note.replace("held-out ", ""))
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, note=shown)
        self._progress.update(self._tasks[stage], completed=done, total=total, note=shown)


class _Lines:
    def __init__(self, unit: str) -> None:
        self._unit, self._clock = unit, _Clock(unit)
        self._last: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        shown, now = self._clock.note(stage, done, note), time.perf_counter()
        waited = now - self._last.setdefault(stage, now)
        if stage in self._finished or (done < total and waited < SECONDS_BETWEEN_LINES):
            return
        stderr().print(Text(f"{stage:<8} {done:,}/{total:,} {self._unit} · {shown}"), soft_wrap=True)
        self._last[stage] = now
        if done >= total:
            self._finished.add(stage)
