import pytest
import torch
from textgym.benchmarks.speed import breakdown
from textgym.benchmarks.speed.agents import textgym_agent
from textgym.benchmarks.speed.breakdown import PARTS, REST, Stopwatch, targets, timed, where_time_goes

from textgym.scorers.reward import Reward


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to."""
    now = [0.0]
    monkeypatch.setattr(breakdown, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_part_within_a_part_is_counted_once(clock):
    watch = Stopwatch()
    inner = watch.around("scoring", lambda: clock(3))

    def step():
        clock(1)
        inner()
        clock(2)

    watch.start()
    clock(10)
    watch.around("environment", step)()
    found = watch.stop()
    assert (found["environment"], found["scoring"], found[REST]) == (3, 3, 10)
    assert sum(found.values()) == 16 and watch.calls == 2


def test_a_function_that_raises_is_counted_too(clock):
    watch = Stopwatch()

    def fail():
        clock(4)
        raise ValueError

    watch.start()
    with pytest.raises(ValueError):
        watch.around("backward", fail)()
    clock(1)
    assert watch.stop() == {**dict.fromkeys(PARTS, 0.0), "backward": 4, REST: 1}


def test_timers_are_taken_off_again(tiny):
    agent = textgym_agent(tiny)
    before = Reward.score, torch.Tensor.backward, torch.nn.utils.clip_grad_norm_, breakdown.policies.draw
    with timed(Stopwatch(), targets(agent)):
        assert Reward.score is not before[0] and "forward" in vars(agent.policy)
    assert (Reward.score, torch.Tensor.backward, torch.nn.utils.clip_grad_norm_, breakdown.policies.draw) == before
    assert "forward" not in vars(agent.policy) and "step" not in vars(agent.env)
    agent.learn(tiny.tokens)


def test_parts_add_up_to_the_wall_time_and_timers_cost_nearly_nothing(tiny):
    found = where_time_goes(textgym_agent(tiny), 2)
    assert sum(found[part] for part in PARTS) == pytest.approx(found["wall_seconds"], rel=0.01)
    assert all(found[part] > 0 for part in PARTS)
    assert found["tokens"] == 2 * tiny.tokens and found["overhead"] < 0.03
