"""Whole completions as actions: one step an episode, the return of the text."""

import gymnasium as gym
import numpy as np
import pytest

import textgym  # noqa: F401 - registers the ids
from textgym.envs.sequence_action import SequenceActionWrapper
from textgym.errors import EpisodeError, SpaceError, TaskError

REWARD = "fluency + 0.1*length"


@pytest.fixture(scope="module", params=["terminal", "per_token"])
def env(request, tiny_corpus):
    return SequenceActionWrapper(
        gym.make("TextGen-v0", corpus=str(tiny_corpus), reward=REWARD, max_new_tokens=12, delivery=request.param)
    )


def stepped(env, ids, index):
    """The return of the same tokens, one by one."""
    env.env.reset(options={"prompt_index": index})
    total = 0.0
    for token in ids:
        _, reward, terminated, _, info = env.env.step(np.int64(token))
        total += float(reward)
        if terminated:
            return total, info
    raise AssertionError("the text did not end")


@pytest.mark.parametrize("text", [" saw the river at night.", "", " found a castle in the morning and then " * 3])
def test_a_completion_is_paid_what_its_tokens_are_paid(env, text):
    prompt, _ = env.reset(options={"prompt_index": 3})
    observation, reward, terminated, truncated, info = env.step(text)
    ids = [*env.tokenizer.encode(text)[:12].tolist(), env.tokenizer.eos_id]
    expected, ending = stepped(env, ids, 3)
    assert reward == pytest.approx(expected, abs=1e-12)
    assert (terminated, truncated) == (True, False)
    assert info["completion"] == ending["completion"]
    assert observation == prompt + info["text"]
    assert info["finish_reason"] == ("length" if len(ids) > 12 else "stop")


def test_spaces_hold_what_is_observed_and_sampled(env):
    prompt, _ = env.reset(seed=1)
    assert prompt in env.observation_space
    env.action_space.seed(0)
    assert " saw the river." in env.action_space
    observation, *_ = env.step(env.action_space.sample())
    assert observation.startswith(prompt)
    assert observation in env.observation_space


def test_the_same_seed_draws_the_same_prompt(env):
    assert env.reset(seed=7)[0] == env.reset(seed=7)[0]


def test_an_episode_is_one_step(env):
    env.reset()
    env.step("a")
    with pytest.raises(EpisodeError, match="one step"):
        env.step("a")


def test_only_text_is_an_action(env):
    env.reset()
    with pytest.raises(SpaceError, match="not int"):
        env.step(3)


def test_an_environment_without_a_task_is_refused():
    with pytest.raises(TaskError, match="has no task"):
        SequenceActionWrapper(gym.make("CartPole-v1"))
