import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from textgym.benchmarks.rewards.fan_out import run_jobs
from textgym.benchmarks.rewards.on_ray import RayWorkers
from textgym.benchmarks.rewards.outcome import ONE_THREAD

from textgym.errors import MissingExtraError, TaskError
from textgym.reports.results import Results, job_key, read_rows

VERSIONS = {"textgym": "1"}
WORK = "fake_work:found"


def job(seed, **more):
    return {"kind": "training", "design": "a", "seed": seed, **more}


def test_without_ray_the_install_line_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingExtraError, match=r"--ray needs ray, which is not installed: pip install 'textgym\[ray\]'"
    ):
        run_jobs([job(0)], Results(tmp_path), WORK, ray="local", versions=VERSIONS)


# A module that stands for Ray: what is asked of it, and what its errors become


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Ray:
    """Runs a task where it is asked for; `troubles` are raised first, one a task."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cores=2.0, troubles=(), running=False):
        self.cores, self.troubles, self.running = cores, list(troubles), running
        self.asked, self.options, self.cancelled = [], {}, []

    def is_initialized(self):
        return self.running

    def init(self, address, **options):
        if address == "nowhere":
            raise ConnectionError("nobody there.\nAt all")
        self.asked.append(address)
        self.running = True

    def shutdown(self):
        self.running = False

    def cluster_resources(self):
        return {"CPU": self.cores} if self.cores else {}

    def remote(self, **options):
        self.options = options
        return lambda function: SimpleNamespace(remote=lambda *given: Task(self, function, given))

    def wait(self, tasks, num_returns, timeout):
        return tasks[:num_returns], tasks[num_returns:]

    def get(self, task):
        if self.troubles and (trouble := self.troubles.pop(0)):
            raise trouble
        return task.function(*task.given)

    def cancel(self, task, force):
        self.cancelled.append(task)


class Task:
    def __init__(self, ray, function, given):
        self.function, self.given = function, given


@pytest.fixture
def use(monkeypatch):
    def set_up(ray):
        monkeypatch.setitem(sys.modules, "ray", ray)
        return ray

    return set_up


def run(jobs, folder, **more):
    return run_jobs(jobs, Results(folder), WORK, versions=VERSIONS, **{"ray": "auto", **more})


def test_jobs_become_tasks_of_one_core_and_one_thread_that_ray_does_not_repeat(tmp_path, use):
    ray = use(Ray())
    assert run([job(0), job(1), job(2)], tmp_path).finished == 3
    assert ray.options == {"num_cpus": 1, "max_retries": 0, "runtime_env": {"env_vars": ONE_THREAD}}
    assert (ray.asked, ray.running) == (["auto"], False)


def test_a_connection_that_was_there_before_is_used_and_stays(tmp_path, use):
    ray = use(Ray(running=True))
    assert run([job(0)], tmp_path).finished == 1
    assert (ray.asked, ray.running) == ([], True)


def test_a_lost_task_runs_again_and_one_that_cannot_be_called_fails(tmp_path, use, caplog):
    use(Ray(1.0, [RayError("the machine burned. See there"), None, RayTaskError(ImportError("no textgym\nat all"))]))
    summary = run([job(0), job(1)], tmp_path)
    assert summary.finished == 1
    assert summary.failures == {job_key(job(1), VERSIONS): "a machine of the cluster cannot do it: no textgym"}
    assert "a, seed 0: its worker died (RayError: the machine burned); it runs again" in caplog.text


def test_as_many_jobs_run_as_the_cluster_has_cores_at_the_time_and_no_more_than_asked(tmp_path, use):
    ray = use(Ray(3.0))
    workers, few = (RayWorkers(WORK, tmp_path, "auto", count) for count in (None, 2))
    assert (workers.slots, few.slots) == (3, 2)
    ray.cores = 1.0
    assert (workers.slots, few.slots) == (1, 1)
    ray.cores = 0.0  # all machines are gone for now: tasks wait for the next one
    assert workers.slots == 1


def test_stopping_cancels_what_runs(tmp_path, use):
    ray = use(Ray())
    workers = RayWorkers(WORK, tmp_path, "auto", None)
    workers.start(0, job(0))
    workers.stop()
    assert len(ray.cancelled) == 1
    assert workers.wait(0) == []


def test_an_address_where_nobody_answers_is_told(tmp_path, use):
    use(Ray())
    with pytest.raises(TaskError, match=r"--ray nowhere: nobody there\. Give the address"):
        run([job(0)], tmp_path, ray="nowhere")


def test_nobody_is_waited_for_who_does_not_listen(tmp_path, use):
    ray = use(Ray())
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # without listening
        with pytest.raises(TaskError, match=r"refused\. Give the address of a Ray cluster"):
            run([job(0)], tmp_path, ray=f"127.0.0.1:{bound.getsockname()[1]}")
    assert ray.asked == []


# A cluster of two machines with a core each

SCRIPT = """
import logging, signal, sys
from pathlib import Path
from ray.cluster_utils import Cluster
from textgym.benchmarks.rewards.fan_out import run_jobs
from textgym.reports.results import Results

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(format="%(message)s")
    results = Results(Path(sys.argv[1]))
    results.folder.mkdir(exist_ok=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    job = {"kind": "training", "design": "a", "sleep": float(sys.argv[3])}
    jobs = [{**job, "seed": seed} for seed in range(8)]

    def kill_one(state):
        both = [seconds for _, seconds in state.running.values() if seconds > 1]
        if state.finished and len(both) == len(nodes) == 2:  # in the midst of its second job
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    progress = kill_one if sys.argv[2] == "kill" else None
    print(run_jobs(jobs, results, "fake_work:on_a_node", ray=cluster.address, progress=progress, versions={}))
    cluster.shutdown()
"""


@pytest.fixture
def cluster(tmp_path):
    """Starts a process with a cluster that runs eight jobs."""
    pytest.importorskip("ray", reason="a cluster: pip install 'textgym[ray]'")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    started = []

    def start(what, sleep=0.5):
        here = [str(Path(__file__).parent), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "results"), what, str(sleep)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, here)), "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def begun(folder):
    """Seed and machine of every job that began."""
    path = folder / "begun"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_jobs_of_a_machine_that_dies_run_again_on_another(cluster, tmp_path):
    said = cluster("kill", sleep=3).communicate(timeout=180)[0]
    assert "before=0, finished=8, failures={}, left=0" in said
    rows = list(read_rows(tmp_path / "results"))
    assert Counter(row["job"]["seed"] for row in rows) == Counter(range(8))
    assert {row["threads"] for row in rows} == {"1"}
    tries = Counter(seed for seed, _ in begun(tmp_path / "results"))
    assert len({node for _, node in begun(tmp_path / "results")}) == 2
    assert len({row["node"] for row in rows[-3:]}) == 1
    assert sum(tries.values()) > 8
    assert "NodeDiedError" in said
    assert "it runs again" in said


@pytest.mark.slow
def test_a_run_on_a_cluster_that_is_killed_goes_on_where_it_was(cluster, tmp_path):
    folder = tmp_path / "results"
    process = cluster("run")
    path, until = folder / "rows.jsonl", time.monotonic() + 120
    while time.monotonic() < until and not (path.exists() and path.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = [row["key"] for row in read_rows(folder)]
    assert len(kept) >= 3
    said = cluster("run").communicate(timeout=180)[0]
    assert f"before={len(kept)}, finished={8 - len(kept)}, failures={{}}" in said
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert Counter(line["job"]["seed"] for line in lines) == Counter(range(8))


@pytest.mark.slow
def test_ctrl_c_ends_the_tasks_of_a_cluster(cluster, tmp_path):
    folder = tmp_path / "results"
    process = cluster("run")
    until = time.monotonic() + 120
    while time.monotonic() < until and len(begun(folder)) < 4:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == -signal.SIGINT
    kept = len(list(read_rows(folder)))
    assert f"stopped, {8 - kept} jobs to go" in said
