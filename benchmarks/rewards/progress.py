"""How far the jobs are: a bar, what each worker is at, and the time left; plain lines where stderr is no terminal."""

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from textgym.benchmarks.rewards.fan_out import State
from textgym.benchmarks.rewards.outcome import Job, label

SECONDS_BETWEEN_LINES = 20.0
"""Where there is no terminal: often enough to see life in a log, seldom enough to read it."""


@contextmanager
def shown(console: Console | None = None) -> Iterator[Callable[[State], None]]:
    """Shows what `run_jobs` tells.

    Args:
        console: where; None is stderr.
    """
    console = Console(stderr=True, highlight=False) if console is None else console
    if not console.is_terminal:
        yield _Lines(console)
        return
    progress = Progress(
        TextColumn("jobs"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        console=console,
    )
    with Live(progress, console=console) as live:
        yield _Bars(live, progress, progress.add_task("", total=None, note=""))


def seconds_left(state: State) -> float | None:
    """How long it will still take, judged by the jobs that have ended; None while those say nothing.

    Jobs that train are judged by their tokens, all others by their number; each by its like, kind and agent, as soon as
    one of those has ended.
    """
    pace = _Pace(state.finished)
    waiting = [pace.seconds(job) for job in state.waiting]
    running = [(pace.seconds(job), seconds) for job, seconds in state.running.values()]
    if None in waiting or any(expected is None for expected, _ in running):
        return None
    left = [expected or 0.0 for expected in waiting]
    left += [max((expected or 0.0) - seconds, 0.0) for expected, seconds in running]
    return max(sum(left) / state.slots, max(left, default=0.0))


def tokens_per_second(state: State) -> float | None:
    """What the workers write together; None until a job that trains has ended."""
    trained = [(int(job["tokens"]), seconds) for job, seconds in state.finished if job.get("tokens")]
    seconds = sum(seconds for _, seconds in trained)
    return sum(tokens for tokens, _ in trained) / seconds * max(len(state.running), 1) if seconds else None


def duration(seconds: float) -> str:
    """In words, of two units at most, e.g. "2 h 10 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class _Pace:
    """Seconds a token, or a job where it trains on none."""

    def __init__(self, finished: Sequence[tuple[Job, float]]) -> None:
        self._seconds: defaultdict[Hashable, float] = defaultdict(float)
        self._amount: defaultdict[Hashable, float] = defaultdict(float)
        for job, seconds in finished:
            for like in self._alike(job):
                self._seconds[like] += seconds
                self._amount[like] += job.get("tokens") or 1

    def seconds(self, job: Job) -> float | None:
        """Expected of a job; 0 where no job like it has ended but it trains on nothing, which is short."""
        for like in self._alike(job):
            if like in self._amount:
                return self._seconds[like] / self._amount[like] * (job.get("tokens") or 1)
        return None if job.get("tokens") else 0.0

    @staticmethod
    def _alike(job: Job) -> tuple[Hashable, ...]:
        """From the nearest to the farthest."""
        trains = bool(job.get("tokens"))
        return (job.get("kind"), job.get("agent"), trains), trains


class _Bars:
    def __init__(self, live: Live, progress: Progress, task: TaskID) -> None:
        self._live, self._progress, self._task = live, progress, task

    def __call__(self, state: State) -> None:
        ended = state.before + len(state.finished) + state.failed
        self._progress.update(self._task, completed=ended, total=state.total, note=_note(state))
        self._live.update(Group(self._progress, _running(state)))


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._last, self._said = console, float("-inf"), -1

    def __call__(self, state: State) -> None:
        now, ended = time.monotonic(), state.before + len(state.finished) + state.failed
        over = not state.running and ended != self._said
        if not over and now - self._last < SECONDS_BETWEEN_LINES:
            return
        at = "; ".join(label(job) for job, _ in state.running.values())
        line = f"jobs {ended:,}/{state.total:,}{_note(state)}" + (f" · now {at}" if at else "")
        self._console.print(Text(line), soft_wrap=True)
        self._last, self._said = now, ended


def _note(state: State) -> str:
    rate, left = tokens_per_second(state), seconds_left(state)
    parts = [
        f"{state.failed} failed" if state.failed else "",
        f"{rate:,.0f} tok/s" if rate is not None and state.running else "",
        f"about {duration(left)} left" if left and state.finished else "",
    ]
    return "".join(f" · {part}" for part in parts if part)


def _running(state: State) -> Table:
    """A line for each worker that is at something."""
    table = Table.grid(padding=(0, 2))
    for slot, (job, seconds) in sorted(state.running.items()):
        table.add_row(Text(f"{slot + 1:>4}"), Text(label(job), overflow="ellipsis", no_wrap=True), duration(seconds))
    return table
