import subprocess

import numpy as np
import pytest
from textgym.benchmarks.speed import gpu, measure, memory, peer
from textgym.benchmarks.speed.agents import LEARNERS, FirstToken, learner, textgym_agent

from textgym.errors import MissingExtraError, TextGymError
from textgym.models import likelihood
from textgym.types import TextBatch


def test_every_text_of_ours_has_the_whole_length(tiny):
    agent = textgym_agent(tiny)
    agent.learn(tiny.tokens)
    assert agent.rollout_buffer.n_segments == tiny.rows
    assert (agent.rollout_buffer.actions >= 3).all()


def test_ours_and_the_obvious_way_make_the_stated_tokens(tiny):
    ours, obvious = measure.textgym_ppo(tiny, 2), measure.obvious_ppo(tiny, 3)
    assert (ours["tokens"], obvious["tokens"]) == (2 * 8 * 8, 3 * 8)
    for side in (ours, obvious):
        assert side["tokens_per_second"] == side["tokens"] / side["seconds"]
        rollout, training = side["rollout_tokens_per_second"], side["training_tokens_per_second"]
        assert 1 / side["tokens_per_second"] == pytest.approx(1 / rollout + 1 / training)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_makes_the_stated_tokens_and_uses_them_as_often_as_the_setting_says(tiny, name):
    assert measure.agent(tiny, name, 2)["tokens"] == 2 * tiny.tokens
    agent = learner(tiny, name)
    once = name in ("REINFORCE", "RLOO", "GRPO, one epoch", "A2C", "TRPO")
    assert getattr(agent, "n_epochs", 1) == (1 if once else tiny.epochs)
    assert getattr(agent, "batch_size", tiny.batch_size) in (tiny.batch_size, None, 128)


def test_the_reward_of_the_race_differs_between_texts(tiny):
    task = tiny.task()
    batch = TextBatch(
        [task.train.prompt(0)] * 2, [np.array([16, 3], np.int32), np.array([32, 3], np.int32)], task.tokenizer
    )
    assert FirstToken(64).score(batch).values.tolist() == [0.25, 0.5]


@pytest.mark.skipif(peer.missing_peer() is not None, reason=str(peer.missing_peer()))
@pytest.mark.parametrize(("whole", "exact"), [(False, False), (True, False), (False, True)])
def test_trl_makes_as_many_tokens_and_steps_as_ours(tiny, whole, exact, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    found = peer.trl_grpo(tiny, 2, whole=whole, exact=exact)
    assert found["tokens"] == 2 * tiny.tokens
    assert found["optimizer_steps"] == 2 * tiny.epochs * (1 if whole else 2)
    assert found["rollout_tokens_per_second"] > found["tokens_per_second"]
    assert "HF_HUB_OFFLINE" not in peer.os.environ


def test_without_trl_the_extra_is_named(tiny, monkeypatch):
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None if name == "trl" else object())
    assert "pip install 'textgym[peers]'" in peer.missing_peer()
    with pytest.raises(MissingExtraError):
        peer.trl_grpo(tiny, 1)


def test_environments_take_the_stated_transitions(tiny):
    vector = measure.vector_environment(tiny, 256 * 18)
    assert vector["transitions"] == 256 * 16  # two of 18 steps only reset
    assert measure.single_environment(tiny, 100)["transitions"] == 100


@pytest.mark.parametrize("chunked", [False, True])
def test_the_path_of_the_gpu_runs_in_bfloat16(tiny, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr(likelihood, "WHOLE", 0)
    found = gpu.bfloat16_ppo(tiny, 1, "cpu")
    assert found["tokens"] == tiny.tokens


def test_memory_is_measured_in_a_process_of_its_own(tiny):
    found = memory.in_a_process(tiny, True)
    assert found["tokens"] == tiny.tokens
    assert 0 < found["rollout_mib"] <= found["update_mib"] < 500
    assert found["buffer_mib"] < found["default_buffer_mib"]
    assert found["prefix_cache_mib"] == 2 * 4 * 8 * 12 * 2 * 16 / 2**20


def test_a_process_that_fails_says_why(tiny, monkeypatch):
    done = subprocess.CompletedProcess([], 137, "", "Traceback ...\nMemoryError: 823 MB\n")
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(TextGymError, match="ended with 137: MemoryError: 823 MB"):
        memory.in_a_process(tiny, False)


@pytest.mark.skipif(not memory.Path("/proc/self/clear_refs").exists(), reason="the high-water mark is Linux's")
def test_the_peak_sees_what_was_given_back_until_it_is_forgotten():
    memory.forget_peak()
    before = memory.resident()
    block = np.ones(2**23)
    assert memory.resident() - before > 60 * memory.MIB
    del block
    assert memory.peak() - before > 60 * memory.MIB
    memory.forget_peak()
    assert memory.peak() - before < 30 * memory.MIB
