"""Jobs side by side until each has its row: which is next, which runs again, what is written, and how it stops."""

import heapq
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from textgym.benchmarks.rewards.outcome import Ended, Job, Workers, check_name, label
from textgym.benchmarks.rewards.processes import Processes

from textgym.errors import TaskError
from textgym.reports.results import AFTER, FORMAT, Results, Row, job_key
from textgym.runs.config import versions as versions_here

MOST_TRIES = 3
"""Of a job whose worker dies: it may be the job that kills it."""

LOCK_FILE = ".jobs.lock"
"""Held while jobs run in a folder."""

SECONDS_A_TURN = 0.2
"""At most so long until Ctrl-C is answered and the time left is shown anew."""

_log = logging.getLogger("textgym")


@dataclass(frozen=True)
class State:
    """How far it is.

    Attributes:
        total: jobs, those included that had their rows before.
        before: jobs that had them.
        finished: jobs that have ended since, with the seconds each took.
        failed: jobs that failed, or that need one which did.
        running: by slot, the job and the seconds it has run.
        waiting: jobs that have not begun.
        slots: how many may run at once.
    """

    total: int
    before: int
    finished: Sequence[tuple[Job, float]]
    failed: int
    running: Mapping[int, tuple[Job, float]]
    waiting: Sequence[Job]
    slots: int


@dataclass(frozen=True)
class Summary:
    """What came of the jobs.

    Attributes:
        before: how many had their rows already.
        finished: how many were finished.
        failures: messages by key.
        left: how many are still to do, for want of time.
    """

    before: int
    finished: int
    failures: Mapping[str, str]
    left: int = 0


def run_jobs(
    jobs: Sequence[Job],
    results: Results,
    work: str,
    *,
    workers: int | None = None,
    ray: str | None = None,
    minutes: float = float("inf"),
    progress: Callable[[State], None] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Summary:
    """Runs the jobs that have no row yet, each in a process with one thread, and writes each row as soon as it can.

    A job that raises has a row with its failure; one whose worker dies runs again elsewhere, at most three times. Those
    rows do not count as done: the next call tries again. Whatever ends this process, finished rows stay, and no
    worker outlives it.

    Args:
        jobs: JSON-able; "after" holds keys of those that must be finished before. Equal ones run once.
        results: where rows are kept.
        work: "module:function", which workers import; called with a job and the folder, it returns what the row holds.
        workers: at most so many at once; None is as many as there are cores, or in the cluster.
        ray: runs them on Ray: address of a cluster, or "local" for one that is started here. All its machines must see
            the folder.
        minutes: begins no job after so long; the next call goes on.
        progress: called several times a second.
        versions: that results depend on; None takes those of `textgym.runs.config.versions`.

    Raises:
        TaskError: a job that waits for one that there is not, or for itself; or a row that cannot be written.
        MissingExtraError: `ray` without the package.
        KeyboardInterrupt: Ctrl-C; workers are stopped, and what had ended has its row.
    """
    check_name(work)
    if workers is not None and workers < 1:
        raise TaskError(f"workers={workers} must be at least 1")
    versions = versions_here() if versions is None else versions
    with _alone(results.folder):
        run = _Run(Schedule(jobs, results.done, versions), results, versions, minutes)
        if run.left:
            _carry_out(run, _workers(ray, work, results.folder, workers, run.left), progress)
    return Summary(run.schedule.before, len(run.finished), run.failures, run.left)


def _carry_out(run: "_Run", workers: Workers, progress: Callable[[State], None] | None) -> None:
    with _deferred_interrupt() as asked:
        try:
            run.until_done(workers, asked, progress)
        finally:
            workers.stop()
    if run.left:
        why = "stopped" if asked else "time is up"
        _log.warning("%s, %d jobs to go; every finished row is in %s", why, run.left, run.results.path)
        _log.warning("the same command goes on from there")
    if asked:
        raise KeyboardInterrupt


def _workers(ray: str | None, work: str, folder: Path, count: int | None, jobs: int) -> Workers:
    if ray is not None:
        from textgym.benchmarks.rewards.on_ray import RayWorkers

        return RayWorkers(work, folder, ray, count)
    from joblib import cpu_count  # of this process: fewer than the machine has, in a container or under taskset

    return Processes(work, folder, min(count or cpu_count(), jobs))


class _Run:
    """What runs, and what has come of the rest."""

    def __init__(
        self, schedule: "Schedule", results: Results, versions: Mapping[str, str], minutes: float = float("inf")
    ) -> None:
        self.schedule, self.results, self._versions = schedule, results, versions
        self.finished: list[tuple[Job, float]] = []
        self.failures: dict[str, str] = {}
        self._running: dict[int, tuple[str, float]] = {}
        self._until = time.monotonic() + 60 * minutes

    @property
    def left(self) -> int:
        """Jobs without a row of this call."""
        return len(self.schedule.jobs) - len(self.finished) - len(self.failures)

    def until_done(self, workers: Workers, asked: Sequence[int], progress: Callable[[State], None] | None) -> None:
        """Runs jobs until none can begin, time is up, or it is `asked` to stop."""
        while not asked:
            self._start(workers)
            if progress is not None:
                progress(self._state(workers.slots))
            if not self._running:
                break
            self._note(workers.wait(SECONDS_A_TURN))
        self._note(workers.wait(0))  # those that ended while it was being asked
        if not asked and time.monotonic() < self._until:
            self._give_up_on_the_rest()
        if progress is not None:
            progress(self._state(workers.slots))

    def _start(self, workers: Workers) -> None:
        if time.monotonic() >= self._until:
            return
        for slot in range(workers.slots):
            if slot not in self._running and (key := self.schedule.take()) is not None:
                self._running[slot] = key, time.monotonic()
                workers.start(slot, self.schedule.jobs[key])

    def _note(self, ended: Sequence[Ended]) -> None:
        for each in ended:
            key, begun = self._running.pop(each.slot)
            job = self.schedule.jobs[key]
            if each.found is not None:
                self._write(key, each.found)
                self.schedule.finish(key)
                self.finished.append((job, time.monotonic() - begun))
            elif not each.lost:
                self._fail(key, each.failure)
            elif self.schedule.again(key):
                _log.warning("%s: its worker died (%s); it runs again", label(job), each.lost)
            else:
                self._fail(key, f"its worker died {MOST_TRIES} times; the last time {each.lost}")

    def _give_up_on_the_rest(self) -> None:
        """What is left waits for a job that failed, or for one that does."""
        unfinished = {*self.failures, *self.schedule.waiting}
        for key in self.schedule.waiting:
            other = next(other for other in self.schedule.needs[key] if other in unfinished)
            self._fail(key, f"it needs {label(self.schedule.jobs[other])}, which failed")

    def _fail(self, key: str, message: str) -> None:
        self._write(key, {"failure": message})
        self.failures[key] = message
        _log.warning("%s failed: %s", label(self.schedule.jobs[key]), message)

    def _write(self, key: str, found: Mapping[str, Any]) -> None:
        job = {name: value for name, value in self.schedule.jobs[key].items() if name != AFTER}
        about: Row = {"format": FORMAT, "key": key, "job": job, "versions": dict(self._versions)}
        self.results.append({**about, **found, **about})

    def _state(self, slots: int) -> State:
        jobs, now = self.schedule.jobs, time.monotonic()
        return State(
            total=len(jobs) + self.schedule.before,
            before=self.schedule.before,
            finished=self.finished,
            failed=len(self.failures),
            running={slot: (jobs[key], now - begun) for slot, (key, begun) in self._running.items()},
            waiting=[jobs[key] for key in self.schedule.waiting if key not in self.failures],
            slots=slots,
        )


class Schedule:
    """The order of jobs: as given, but none before those that it waits for.

    Args:
        jobs: all of them.
        done: keys of those that are finished.
        versions: that keys depend on.

    Attributes:
        jobs: by key, those to do.
        before: how many were finished already.
        needs: by key, those of the jobs to do that a job waits for.

    Raises:
        TaskError: a job that waits for one that there is not, or for itself.
    """

    def __init__(self, jobs: Sequence[Job], done: set[str], versions: Mapping[str, str]) -> None:
        keyed: dict[str, Job] = {}
        for job in jobs:
            keyed.setdefault(job_key(job, versions), job)
        self.jobs = {key: job for key, job in keyed.items() if key not in done}
        self.before = len(keyed) - len(self.jobs)
        self.needs = {key: self._needs(job, done) for key, job in self.jobs.items()}
        self._order = {key: place for place, key in enumerate(self.jobs)}
        self._ready: list[tuple[int, str]] = []
        self._begun: Counter[str] = Counter()
        self._sorter = TopologicalSorter(self.needs)
        try:
            self._sorter.prepare()
        except CycleError as error:
            circle = " waits for ".join(label(self.jobs[key]) for key in reversed(error.args[1]))
            raise TaskError(f"jobs that wait for each other never begin: {circle}") from None
        self._free()

    def take(self) -> str | None:
        """Key of the next job that can begin; None while there is none."""
        if not self._ready:
            return None
        key = heapq.heappop(self._ready)[1]
        self._begun[key] += 1
        return key

    def finish(self, key: str) -> None:
        """Lets those begin that waited for a job."""
        self._sorter.done(key)
        self._free()

    def again(self, key: str) -> bool:
        """Whether a job whose worker died is tried again; then it is the next."""
        if self._begun[key] >= MOST_TRIES:
            return False
        heapq.heappush(self._ready, (self._order[key], key))
        return True

    @property
    def waiting(self) -> list[str]:
        """Keys of jobs that have never begun."""
        return [key for key in self.jobs if key not in self._begun]

    def _needs(self, job: Job, done: set[str]) -> list[str]:
        needed = [key for key in job.get(AFTER, ()) if key not in done]
        for key in needed:
            if key not in self.jobs:
                raise TaskError(f"{label(job)} waits for job {key}, which is neither done nor to do")
        return needed

    def _free(self) -> None:
        for key in self._sorter.get_ready():
            heapq.heappush(self._ready, (self._order[key], key))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two calls on one folder would do each job twice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout:
        raise TaskError(
            f"jobs are being run in {folder} already. Wait until they have ended, or give another folder: "
            "results of several are merged"
        ) from None
    except OSError as error:
        raise TaskError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _deferred_interrupt() -> Iterator[list[int]]:
    """What is yielded is empty until the first Ctrl-C, so that a row is never cut short by it; a second one raises."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield asked
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
