"""Jobs on a Ray cluster: tasks of one core each, on whatever machines there are at the time."""

import json
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from textgym.benchmarks.rewards.outcome import ONE_THREAD, Ended, Job, perform

from textgym.errors import MissingExtraError, TaskError

LOCAL = "local"

SECONDS_TO_ANSWER = 10.0


class RayWorkers:
    """The cores of a cluster; machines may join and leave it meanwhile.

    Args:
        work: "module:function" that does a job; every machine must have it installed.
        folder: of the results; given to it, and seen by every machine where jobs leave files for others.
        address: of a cluster, e.g. "auto" or "head:6379"; "local" starts one on this machine.
        count: at most so many at once; None is one a core.

    Raises:
        MissingExtraError: Ray is not installed.
        TaskError: no cluster answers at the address.
    """

    def __init__(self, work: str, folder: Path, address: str, count: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", "ray", "--ray") from error
        self._ray: Any = ray
        self._mine = not ray.is_initialized()
        if self._mine:
            _connect(ray, address, count)
        # Tried again by whoever asked for it, who counts how often.
        task = {"num_cpus": 1, "max_retries": 0, "runtime_env": {"env_vars": dict(ONE_THREAD)}}
        self._perform = ray.remote(**task)(perform)
        self._work, self._folder, self._count = work, Path(folder).absolute(), count
        self._running: dict[Any, int] = {}

    @property
    def slots(self) -> int:
        """How many may run at once: a cluster grows and shrinks."""
        cores = max(int(self._ray.cluster_resources().get("CPU", 0)), 1)
        return min(cores, self._count or cores)

    def start(self, slot: int, job: Job) -> None:
        """Begins a job in a slot that is free."""
        self._running[self._perform.remote(self._work, dict(job), self._folder)] = slot

    def wait(self, seconds: float) -> list[Ended]:
        """Those that have ended, as soon as there is one, or none after so long."""
        if not self._running:
            return []
        self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._ended(task) for task in ready]

    def stop(self) -> None:
        """Ends whatever runs, at once; leaves a cluster that was there before as it was."""
        for task in self._running:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
        self._running.clear()
        if self._mine:
            self._ray.shutdown()

    def _ended(self, task: Any) -> Ended:
        slot = self._running.pop(task)
        try:
            return Ended(slot, **json.loads(self._ray.get(task)))
        except self._ray.exceptions.RayTaskError as error:  # `perform` raises nothing: it could not be called
            return Ended(slot, failure=f"a machine of the cluster cannot do it: {_first_line(error.cause)}")
        except self._ray.exceptions.RayError as error:
            return Ended(slot, lost=f"{type(error).__name__}: {_first_line(error).partition('. ')[0]}")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _connect(ray: Any, address: str, count: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    try:
        if address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
            ray.init("local", num_cpus=count, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, ValueError) as error:
        reason = _first_line(error).rstrip(".")
        raise TaskError(
            f"--ray {address}: {reason}. Give the address of a Ray cluster, or none for one on this machine"
        ) from error


def _knock(address: str) -> None:
    """Ray itself tries for two minutes, and then ends the process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
