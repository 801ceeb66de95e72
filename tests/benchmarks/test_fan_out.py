import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgym.benchmarks.rewards import fan_out, fan_out_speed
from textgym.benchmarks.rewards.fan_out import MOST_TRIES, Schedule, run_jobs
from textgym.benchmarks.rewards.outcome import Ended, label
from textgym.benchmarks.rewards.processes import LOG_FILE, Processes

from textgym.errors import TaskError
from textgym.reports.results import AFTER, ROWS_FILE, Results, job_key, read_rows

VERSIONS = {"textgym": "1"}
WORK = "fake_work:found"
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals: POSIX only")


def job(seed, **more):
    return {"kind": "training", "design": "a", "seed": seed, **more}


def key(job):
    return job_key(job, VERSIONS)


def run(jobs, folder, work=WORK, workers=2, **more):
    return run_jobs(jobs, Results(folder), work, workers=workers, versions=VERSIONS, **more)


def rows_by_seed(folder):
    return {row["job"]["seed"]: row for row in read_rows(folder)}


def alive(pid):
    """Whether a process runs; one that has ended may still wait to be collected."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def workers_of(folder):
    file = folder / "pids"
    return {int(line) for line in file.read_text().split()} if file.exists() else set()


def gone(pids, seconds=5.0):
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(map(alive, pids))


# The order


def test_jobs_come_in_the_order_given_but_not_before_what_they_wait_for():
    last = job(9)
    first, second = job(0, after=[key(last)]), job(1)
    schedule = Schedule([first, second, last], set(), VERSIONS)
    order = []
    while taken := schedule.take():
        order.append(schedule.jobs[taken]["seed"])
        schedule.finish(taken)
    assert order == [1, 9, 0]


@given(st.lists(st.sets(st.integers(0, 8)), max_size=9), st.randoms(use_true_random=False), st.integers(1, 3))
def test_every_job_runs_once_and_after_all_that_it_waits_for(needed, rng, slots):
    jobs = []
    for seed, others in enumerate(needed):
        jobs.append(job(seed, after=[key(job(other)) for other in others if other < seed]))
    rng.shuffle(jobs)
    schedule, running, ended = Schedule(jobs, set(), VERSIONS), [], []
    while True:
        while len(running) < slots and (taken := schedule.take()):
            assert set(schedule.jobs[taken][AFTER]) <= set(ended)
            running.append(taken)
        if not running:
            break
        ended.append(running.pop(rng.randrange(len(running))))
        schedule.finish(ended[-1])
    assert sorted(ended) == sorted(map(key, jobs))


def test_jobs_that_are_done_are_left_away_and_not_waited_for():
    schedule = Schedule([job(0), job(1, after=[key(job(0))])], {key(job(0))}, VERSIONS)
    assert (schedule.before, schedule.take()) == (1, key(job(1)))


def test_equal_jobs_run_once():
    schedule = Schedule([job(0), job(0, after=[]), job(1)], set(), VERSIONS)
    assert len(schedule.jobs) == 2


def test_a_job_that_waits_for_one_that_there_is_not_is_refused():
    with pytest.raises(TaskError, match=r"a, seed 1 waits for job 0123456789abcdef, which is neither done nor to do"):
        Schedule([job(1, after=["0123456789abcdef"])], set(), VERSIONS)


def test_jobs_that_wait_for_each_other_are_refused():
    one, two = job(1, after=[key(job(2))]), job(2, after=[key(job(1))])
    with pytest.raises(TaskError, match=r"never begin: a, seed . waits for a, seed . waits for a, seed ."):
        Schedule([one, two], set(), VERSIONS)


def test_labels_name_the_design_and_what_is_varied():
    found = {"kind": "best_of_n", "design": "gold", "variant": {"n": 16}, "checkpoint": 1, "seed": 2}
    assert label(found) == "gold, best of n, n 16, checkpoint 1, seed 2"
    assert label({"kind": "reference", "design": "reference", "checkpoint": 0}) == "reference, checkpoint 0"


# What comes of jobs, with workers that are none


class Played:
    """Answers at once, as a script says: by seed, a list of what comes of it."""

    def __init__(self, script, slots=1):
        self.slots, self.script, self.begun, self._running = slots, script, [], {}
        self.stopped = False

    def start(self, slot, job):
        self.begun.append(job["seed"])
        self._running[slot] = job["seed"]

    def wait(self, seconds):
        ended = [Ended(slot, **self.script.get(seed, [{"found": {}}]).pop(0)) for slot, seed in self._running.items()]
        self._running = {}
        return ended

    def stop(self):
        self.stopped = True


@pytest.fixture
def played(monkeypatch):
    def use(script=None, slots=1):
        workers = Played({} if script is None else script, slots)
        monkeypatch.setattr(fan_out, "_workers", lambda *_: workers)
        return workers

    return use


def test_a_job_whose_worker_dies_runs_again_and_no_more_than_three_times(played, tmp_path, caplog):
    lost = {"lost": "struck by lightning"}
    workers = played({0: [lost, lost, {"found": {"facts": 1}}], 1: [lost, lost, lost]})
    summary = run([job(0), job(1), job(2)], tmp_path)
    assert workers.begun == [0] * 3 + [1] * 3 + [2]
    assert summary.finished == 2
    assert summary.failures == {key(job(1)): "its worker died 3 times; the last time struck by lightning"}
    assert "a, seed 0: its worker died (struck by lightning); it runs again" in caplog.text


def test_what_waits_for_a_failed_job_fails_with_its_name(played, tmp_path):
    needs = [job(1, after=[key(job(0))]), job(2, after=[key(job(1))])]
    workers = played({0: [{"failure": "no"}]})
    summary = run([job(0), *needs, job(3)], tmp_path)
    assert workers.begun == [0, 3]
    assert list(summary.failures.values()) == [
        "no",
        "it needs a, seed 0, which failed",
        "it needs a, seed 1, which failed",
    ]


def test_failed_jobs_are_tried_again_by_the_next_call_and_finished_ones_are_not(played, tmp_path):
    played({0: [{"failure": "no"}]})
    run([job(0), job(1)], tmp_path)
    workers = played()
    assert run([job(0), job(1)], tmp_path).finished == 1
    assert workers.begun == [0]
    assert ["failure" in row for row in read_rows(tmp_path)] == [False, False]


def test_nothing_starts_where_all_is_done(played, tmp_path):
    played()
    run([job(0)], tmp_path)
    assert (run([job(0)], tmp_path).before, played().begun) == (1, [])


def test_no_job_begins_when_time_is_up_and_none_fails_for_it(played, tmp_path, caplog):
    workers = played()
    summary = run([job(0), job(1, after=[key(job(0))])], tmp_path, minutes=0)
    assert (workers.begun, summary.left, summary.failures) == ([], 2, {})
    assert "time is up, 2 jobs to go" in caplog.text
    assert run([job(0), job(1, after=[key(job(0))])], tmp_path, minutes=1).left == 0


def test_a_row_says_its_job_without_what_it_waited_for(played, tmp_path):
    played({1: [{"found": {"job": "its own", "key": "its own", "facts": 7}}]})
    run([job(0), job(1, after=[key(job(0))])], tmp_path)
    expected = {"format": 1, "key": key(job(1)), "job": job(1), "versions": VERSIONS, "facts": 7}
    assert rows_by_seed(tmp_path)[1] == expected


def test_progress_hears_of_every_state_and_last_of_the_end(played, tmp_path):
    played({1: [{"failure": "no"}]}, slots=2)
    run([job(9)], tmp_path)
    states = []
    run([job(seed) for seed in (9, 0, 1, 2)], tmp_path, progress=lambda state: states.append(state))
    assert [sorted(seen["seed"] for seen, _ in state.running.values()) for state in states] == [[0, 1], [2], [], []]
    assert [seen["seed"] for seen in states[0].waiting] == [2]
    last = states[-1]
    assert (last.total, last.before, len(last.finished), last.failed) == (4, 1, 2, 1)


def test_a_row_that_cannot_be_written_stops_the_workers(played, tmp_path, monkeypatch):
    workers = played()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TaskError, match=r"row 1 cannot be written to .*rows\.jsonl: No space left on device"):
        run([job(0)], tmp_path)
    assert workers.stopped


def test_a_second_call_on_the_same_folder_is_refused_while_the_first_runs(played, tmp_path):
    played()

    def again(state):
        with pytest.raises(TaskError, match=r"jobs are being run in .* already"):
            run([job(1)], tmp_path)

    assert run([job(0)], tmp_path, progress=again).finished == 1
    assert run([job(1)], tmp_path).finished == 1


@pytest.mark.parametrize("work", ["nothing", "a:b.c", ":f", "a b:f", "a:"])
def test_work_is_named_as_module_and_function(work, tmp_path):
    with pytest.raises(TaskError, match="as module:function"):
        run([job(0)], tmp_path, work)


def test_no_workers_are_too_few(tmp_path):
    with pytest.raises(TaskError, match="workers=0 must be at least 1"):
        run([job(0)], tmp_path, workers=0)


# Processes


def test_jobs_run_in_as_many_processes_as_asked_each_for_many_jobs(tmp_path):
    summary = run([job(seed, sleep=0.02) for seed in range(12)], tmp_path)
    assert (summary.finished, summary.failures) == (12, {})
    rows = rows_by_seed(tmp_path)
    assert [rows[seed]["facts"]["square"] for seed in range(12)] == [seed**2 for seed in range(12)]
    assert all(0.02 <= row["seconds"] < 5 for row in rows.values())
    pids = {row["facts"]["pid"] for row in rows.values()}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert gone(pids)


def test_a_failure_is_a_row_with_its_message_and_the_others_go_on(tmp_path):
    summary = run([job(0, raises="the reward is upside down"), job(1), job(2, nans=1)], tmp_path)
    assert summary.finished == 1
    failures = [row["failure"] for row in read_rows(tmp_path) if "failure" in row]
    assert sorted(failures)[0] == "ValueError: the reward is upside down"
    assert "is not JSON" in sorted(failures)[1]
    assert "a, seed 0:\nTraceback" in (tmp_path / LOG_FILE).read_text()


def test_work_that_cannot_be_imported_is_a_failure(tmp_path):
    assert "No module named 'no_such_module'" in run([job(0)], tmp_path, "no_such_module:f").failures[key(job(0))]


@POSIX
def test_a_worker_that_is_killed_takes_nothing_with_it_but_its_job_which_runs_again(tmp_path, caplog):
    summary = run([job(0, dies="once"), *(job(seed, sleep=0.01) for seed in range(1, 8))], tmp_path)
    assert (summary.finished, summary.failures) == (8, {})
    assert "ended by SIGKILL, perhaps for want of memory" in caplog.text
    assert Counter(row["job"]["seed"] for row in read_rows(tmp_path)) == Counter(range(8))


@POSIX
def test_a_job_that_kills_every_worker_fails_after_three(tmp_path):
    fatal = job(0, dies="always")
    summary = run([fatal, job(1)], tmp_path)
    assert "its worker died 3 times" in summary.failures[key(fatal)]
    assert len(workers_of(tmp_path)) >= MOST_TRIES
    assert summary.finished == 1


@POSIX
def test_an_answer_that_is_cut_off_is_not_taken_for_one(tmp_path):
    assert run([job(0)], tmp_path, "fake_work:partial_row", workers=1).finished == 1
    assert len(rows_by_seed(tmp_path)[0]["facts"]["text"]) == 300_000


@POSIX
def test_a_worker_that_was_killed_between_two_jobs_is_replaced(tmp_path):
    workers = Processes(WORK, tmp_path, 1)
    try:
        pids = []
        for seed in range(2):
            workers.start(0, job(seed))
            [ended] = workers.wait(20)
            pids.append(ended.found["facts"]["pid"])
            os.kill(pids[-1], signal.SIGKILL)
            assert gone(pids)
        assert pids[0] != pids[1]
    finally:
        workers.stop()


def test_libraries_of_a_worker_take_one_thread_and_this_process_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    run([job(0)], tmp_path, "fake_work:threads", workers=1)
    facts = rows_by_seed(tmp_path)[0]["facts"]
    assert facts["torch"] == 1
    assert set(facts["pools"]) == {1}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_what_workers_print_goes_to_a_file(tmp_path, capfd):
    run([job(0)], tmp_path, "fake_work:chatty")
    assert capfd.readouterr() == ("", "")
    log = (tmp_path / LOG_FILE).read_text()
    for said in ("printed by", "warned by a worker", "said by a program"):
        assert said in log


def test_ctrl_c_does_not_reach_workers_themselves(tmp_path):
    assert run([job(0)], tmp_path, "fake_work:interrupted", workers=1).finished == 1


# What ends the process that runs the jobs

SCRIPT = """
import logging, signal, sys
from pathlib import Path
from textgym.benchmarks.rewards.fan_out import run_jobs
from textgym.reports.results import Results

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs tests in the background ignores it
    logging.basicConfig(format="%(message)s")
    jobs = [{"kind": "training", "design": "a", "seed": seed, "sleep": float(sys.argv[2])} for seed in range(20)]
    run_jobs(jobs, Results(Path(sys.argv[1])), "fake_work:found", workers=2, versions={"textgym": "1"})
"""


@pytest.fixture
def begin(tmp_path):
    """Starts a process that runs 20 jobs in `tmp_path / "results"`, by itself in its group."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    started = []

    def start(sleep):
        path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "results"), str(sleep)],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def whole_lines(folder):
    path = folder / ROWS_FILE
    return (
        [json.loads(line) for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]
        if path.exists()
        else []
    )


def check_all_there_once(folder):
    lines = whole_lines(folder)
    assert Counter(line["job"]["seed"] for line in lines) == Counter(range(20))
    assert all(line["facts"]["square"] == line["job"]["seed"] ** 2 for line in lines)
    assert len({line["key"] for line in lines}) == 20


def killed_and_resumed(begin, folder, rng, kills):
    """Kills the parent so often: soon after a new row, or at any moment from its first instruction on; then goes on."""
    for _ in range(kills):
        before = len(whole_lines(folder))
        process = begin(0.02)
        if rng.random() < 0.7:
            until(
                lambda before=before, process=process: len(whole_lines(folder)) > before or process.poll() is not None
            )
            time.sleep(rng.uniform(0, 0.06))
        else:
            time.sleep(rng.uniform(0, 1))
        process.kill()  # unless it has ended by itself
        process.wait()
        assert gone(workers_of(folder)), "workers outlived the process that started them"
        assert len(whole_lines(folder)) >= before
    assert begin(0.02).wait(60) == 0
    check_all_there_once(folder)


@POSIX
def test_a_run_that_is_killed_goes_on_loses_nothing_and_repeats_nothing(begin, tmp_path):
    killed_and_resumed(begin, tmp_path / "results", random.Random(0), 3)


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_runs_that_are_killed_at_many_moments_lose_and_repeat_nothing(begin, tmp_path, seed):
    killed_and_resumed(begin, tmp_path / "results", random.Random(seed), 5)


@POSIX
def test_no_worker_outlives_a_killed_parent_though_it_is_in_the_midst_of_a_long_job(begin, tmp_path):
    folder = tmp_path / "results"
    process = begin(60)
    until(lambda: len(workers_of(folder)) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert gone(workers_of(folder))


def test_what_ends_while_ctrl_c_is_being_answered_has_its_row(tmp_path, played, monkeypatch):
    workers = played()
    wait = workers.wait

    def late(seconds):
        if seconds:
            signal.raise_signal(signal.SIGINT)
        return [] if seconds else wait(seconds)

    monkeypatch.setattr(workers, "wait", late)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run([job(0), job(1)], tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert list(rows_by_seed(tmp_path)) == [0]
    assert workers.stopped


@POSIX
def test_ctrl_c_stops_the_workers_keeps_the_rows_and_says_how_to_go_on(begin, tmp_path):
    folder = tmp_path / "results"
    process = begin(0.15)
    until(lambda: len(whole_lines(folder)) >= 2)
    asked = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and to all workers
    said = process.communicate(timeout=20)[1]
    assert time.monotonic() - asked < 10
    assert process.returncode == -signal.SIGINT
    assert gone(workers_of(folder))
    kept = len(whole_lines(folder))
    assert f"stopped, {20 - kept} jobs to go; every finished row is in {folder / ROWS_FILE}" in said
    assert "the same command goes on from there" in said
    assert said.count("Traceback") == 1  # of the KeyboardInterrupt that the command line turns into an exit code
    assert begin(0.15).wait(60) == 0
    check_all_there_once(folder)


@POSIX
def test_a_full_disk_ends_the_run_with_the_number_of_the_row_and_a_later_one_goes_on(tmp_path):
    resource = pytest.importorskip("resource", reason="limits of a process: POSIX only")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    jobs = [job(seed, length=3000) for seed in range(6)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (14_000, before[1]))
    try:
        with pytest.raises(TaskError, match=r"row 5 cannot be written to .*File too large.* goes on from there"):
            run(jobs, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert gone(workers_of(tmp_path))
    assert len(whole_lines(tmp_path)) == 4
    summary = run(jobs, tmp_path)
    assert (summary.before, summary.finished) == (4, 2)


def test_messages_of_the_library_reach_its_logger(caplog, played, tmp_path):
    played({0: [{"failure": "no"}]})
    with caplog.at_level(logging.WARNING, logger="textgym"):
        run([job(0)], tmp_path)
    assert caplog.record_tuples == [("textgym", logging.WARNING, "a, seed 0 failed: no")]


def test_the_speed_of_the_fan_out_is_measured_into_a_row(tmp_path):
    out = tmp_path / "speed.jsonl"
    for _ in range(2):
        fan_out_speed.main(out, jobs=2, products=1, workers=2, repeats=1)
    first, second = map(json.loads, out.read_text().splitlines())
    assert (first["jobs"], first["workers"], len(first["one_s"]), len(second["several_s"])) == (2, 2, 1, 1)
    assert first["times"] == pytest.approx(first["one_s"][0] / first["several_s"][0], abs=0.1)
