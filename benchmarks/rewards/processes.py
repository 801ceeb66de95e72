"""Jobs in processes of this machine: a worker that dies takes none but its own job with it.

An executor of the standard library breaks as a whole when a worker dies, and a pool waits for it for ever; here each
worker has a pipe of its own, whose end says that it is gone.
"""

import faulthandler
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from textgym.benchmarks.rewards.outcome import ONE_THREAD, Ended, Job, perform

from textgym.reports.results import to_json

LOG_FILE = "workers.log"
"""What workers print: warnings of libraries, and the tracebacks of failures."""


class Processes:
    """Workers that are started as they are needed, each for many jobs, and again where one has died.

    Args:
        work: "module:function" that does a job.
        folder: of the results; given to it.
        count: how many.
    """

    def __init__(self, work: str, folder: Path, count: int) -> None:
        self.slots = count
        self._work, self._folder = work, folder
        self._workers: dict[int, _Worker] = {}
        self._busy: set[int] = set()

    def start(self, slot: int, job: Job) -> None:
        """Begins a job in a slot that is free."""
        message = to_json(dict(job), "a job")
        worker = self._workers.get(slot)
        if worker is None or not worker.sent(message):
            worker = self._workers[slot] = _Worker(self._work, self._folder)
            worker.sent(message)  # a worker that dies this early is told by `wait`
        self._busy.add(slot)

    def wait(self, seconds: float) -> list[Ended]:
        """Those that have ended, as soon as there is one, or none after so long."""
        busy = {slot: self._workers[slot] for slot in sorted(self._busy)}
        ready = set(wait([thing for worker in busy.values() for thing in worker.signs], seconds))
        return [self._ended(slot, worker) for slot, worker in busy.items() if ready.intersection(worker.signs)]

    def stop(self) -> None:
        """Ends whatever runs, at once."""
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()
        self._busy.clear()

    def _ended(self, slot: int, worker: "_Worker") -> Ended:
        self._busy.discard(slot)
        told = worker.told()
        if told is None:
            del self._workers[slot]
            return Ended(slot, lost=worker.end())
        return Ended(slot, **json.loads(told))


class _Worker:
    """A process, and this end of its pipe."""

    def __init__(self, work: str, folder: Path) -> None:
        # Not forked: a fork of a process with threads (torch, tqdm, rich) may never come to life.
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other, work, str(folder)))
        with _environment(ONE_THREAD), _no_interrupts():
            self._process.start()
        other.close()
        self.signs = (self._pipe, self._process.sentinel)

    def sent(self, message: bytes) -> bool:
        """Gives it a job; false where it is gone."""
        try:
            self._pipe.send_bytes(message)
        except OSError:
            self.kill()
            return False
        return True

    def told(self) -> bytes | None:
        """Its answer; None where it died before it had given the whole of it."""
        try:
            return self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """How it died."""
        self._process.join(timeout=5)
        code = self._process.exitcode
        self.kill()
        if code is None or code >= 0:
            return f"it ended with exit code {code}"
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}" + (", perhaps for want of memory" * (code == -9))
        return f"it was ended by signal {-code}"

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, work: str, folder: str) -> None:
    """The life of a worker: jobs come in, and what they found out goes out."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent answers it
    _print_to(Path(folder) / LOG_FILE)
    with suppress(EOFError):
        while True:
            pipe.send_bytes(perform(work, json.loads(pipe.recv_bytes()), Path(folder)))


def _end_with_parent() -> None:
    """The parent holds the other end of a pipe, which the system closes however the parent ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _print_to(path: Path) -> None:
    """Leaves the terminal to the progress bars."""
    with suppress(OSError):  # where no log can be written, the terminal shows it after all
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for standard in (1, 2):
            os.dup2(file, standard)
        os.close(file)
        faulthandler.enable()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """What a process inherits that is started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """A process that is started meanwhile never sees Ctrl-C, not even while it loads; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
