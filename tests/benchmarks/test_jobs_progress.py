import io

import pytest
from rich.console import Console
from textgym.benchmarks.rewards import progress
from textgym.benchmarks.rewards.fan_out import State
from textgym.benchmarks.rewards.progress import duration, seconds_left, shown, tokens_per_second


def job(seed=0, tokens=1000, kind="training", agent="grpo", design="a"):
    return {"kind": kind, "design": design, "agent": agent, "tokens": tokens, "seed": seed}


def state(finished=(), running=(), waiting=(), slots=2, before=0, failed=0):
    total = before + failed + len(finished) + len(running) + len(waiting)
    return State(total, before, list(finished), failed, dict(enumerate(running)), list(waiting), slots)


def test_the_time_left_is_that_of_the_tokens_to_write_shared_by_the_workers():
    # 0.1 s a token: 2 x 500 tokens wait, 100 s; two run, of which 100 - 40 and 100 - 100 s are left: 160 s for two.
    seen = state([(job(), 100.0)], [(job(), 40.0), (job(), 130.0)], [job(tokens=500), job(tokens=500)])
    assert seconds_left(seen) == pytest.approx(80)


def test_the_last_long_job_keeps_the_others_waiting():
    seen = state([(job(), 100.0)], [(job(tokens=4000), 50.0), (job(), 90.0)])
    assert seconds_left(seen) == pytest.approx(350)


def test_the_time_left_is_not_known_until_a_job_that_trains_has_ended():
    assert seconds_left(state([(job(tokens=0, kind="reference"), 5.0)], waiting=[job()])) is None
    assert seconds_left(state(running=[(job(), 5.0)])) is None
    assert seconds_left(state([(job(agent="ppo"), 5.0)], waiting=[job()], slots=1)) == pytest.approx(5)


def test_jobs_are_judged_by_their_like_kind_and_agent_first():
    finished = [(job(agent="ppo"), 10.0), (job(agent="grpo"), 30.0), (job(tokens=0, kind="best_of_n"), 2.0)]
    assert seconds_left(state(finished, waiting=[job(agent="ppo")], slots=1)) == pytest.approx(10)
    assert seconds_left(state(finished, waiting=[job(agent="rloo")], slots=1)) == pytest.approx(20)
    assert seconds_left(state(finished, waiting=[job(tokens=0, kind="best_of_n")], slots=1)) == pytest.approx(2)


def test_a_kind_that_trains_on_nothing_counts_as_short_until_one_has_ended():
    assert seconds_left(state([(job(), 10.0)], waiting=[job(tokens=0, kind="corpus")])) == 0


def test_tokens_a_second_are_those_of_all_workers():
    seen = state([(job(), 10.0), (job(tokens=3000), 10.0), (job(tokens=0), 99.0)], [(job(), 1.0)] * 2)
    assert tokens_per_second(seen) == pytest.approx(400)
    assert tokens_per_second(state(running=[(job(), 1.0)])) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (29, "29 s"), (31, "1 min"), (3570, "1 h 0 min"), (7800, "2 h 10 min")]
)
def test_durations_are_said_in_two_units_at_most(seconds, words):
    assert duration(seconds) == words


def said(states, terminal=False, width=100):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, color_system=None)
    with shown(console) as tell:
        for each in states:
            tell(each)
    return file.getvalue()


def test_without_a_terminal_there_is_a_line_first_last_and_now_and_then(monkeypatch):
    clock = iter([0, 5, 19, 21, 30, 31])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    running = [(job(1), 1.0), (job(2, design="[b]"), 1.0)]
    steps = [state(running=running, waiting=[job(0)], before=4)] * 3
    steps += [state([(job(0), 100.0)], running, [job(3, tokens=60_000)], before=4, failed=1)]
    end = state([(job(0), 100.0)], before=7, failed=1)
    lines = said([*steps, end, end]).splitlines()
    assert lines[0] == "jobs 4/7 · now a, seed 1; [b], seed 2"
    assert lines[1] == "jobs 6/9 · 1 failed · 20 tok/s · about 1 h 40 min left · now a, seed 1; [b], seed 2"
    assert lines[2:] == ["jobs 9/9 · 1 failed"]


def test_on_a_terminal_there_is_a_bar_and_a_line_for_each_worker():
    running = [(job(1), 1.0), (job(2, design="[red]b" + "x" * 200), 125.0)]
    text = said([state([(job(0), 100.0)], running, [job(0)], failed=2)], terminal=True, width=80)
    assert "3/6 · 2 failed · 20 tok/s · about " in text
    assert "1  a, seed 1" in text
    assert "2  [red]bxxx" in text
    assert "2 min" in text


def test_a_narrow_terminal_breaks_nothing():
    assert "3/5" in said([state([(job(0), 1.0)] * 3, [(job(1), 1.0)], [job(0)])], terminal=True, width=30)
