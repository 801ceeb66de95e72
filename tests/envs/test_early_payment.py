"""Deliveries in the environments: rows equal single ones, returns equal rewards, failures leave no trace."""

import dataclasses
import functools
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET, IdSum
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from textgym import scorers as s
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import TaskError
from textgym.scorers.base import Scorer
from textgym.testing import check_env
from textgym.testing.envs import compare_vector_envs
from textgym.types import Scores

EOS = 2


@dataclasses.dataclass(frozen=True)
class ReadAgain(IdSum):
    """A scorer without a stream that scores prefixes all the same."""

    prefix_scorable = True


REWARD = s.parse("fluency + informativeness*0.5 - repetition(n=1) + clip(length - 2, 0, 2)") + ReadAgain()


def single(limit, **settings):
    env = TextGenEnv(**settings)
    return env if limit is None else TimeLimit(env, limit)


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("delivery", ["per_token", "shaped"])
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_vector_row_equals_single_env_under_every_delivery(task, mode, delivery, limit):
    given = {"task": task, "reward": REWARD, "delivery": delivery, "gamma": 0.9}
    vector = TextGenVectorEnv(4, autoreset_mode=mode, max_episode_steps=limit, **given)
    yardstick = SyncVectorEnv([functools.partial(single, limit, **given)] * 4, autoreset_mode=mode)
    actions = np.random.default_rng(1).integers(2, 12, (60, 4))
    compare_vector_envs(vector, yardstick, actions, seed=3)


def test_the_return_of_an_episode_is_its_terminal_reward(task):
    returns = {}
    for delivery in ("terminal", "per_token", "shaped"):
        env = TextGenEnv(task=task, reward=REWARD, delivery=delivery)
        rng, totals = np.random.default_rng(0), []
        for seed in range(5):
            env.reset(seed=seed)
            paid, over = [], False
            while not over:
                _, reward, over, _, info = env.step(int(rng.integers(2, 12)))
                paid.append(reward)
            totals.append(sum(paid))
            assert len(paid) == info["length"] <= BUDGET
        returns[delivery] = totals
        check_env(env)
    np.testing.assert_allclose(returns["per_token"], returns["terminal"], atol=1e-12)
    np.testing.assert_allclose(returns["shaped"], returns["terminal"], atol=1e-12)


@dataclasses.dataclass(frozen=True)
class Stumbling(Scorer):
    """The length; its stream stumbles once, at the second token of row 0."""

    name: ClassVar[str] = "stumbling"
    causal = True

    def score(self, batch):
        return Scores(np.array([float(len(ids)) for ids in batch.completions]))

    def stream(self, rows, context):
        return StumblingStream(rows)


class StumblingStream:
    def __init__(self, rows):
        self.lengths, self.stumbled = np.zeros(rows), False

    def begin(self, rows, prompts):
        self.lengths[rows] = 0.0
        return self.lengths[rows].copy()

    def advance(self, rows, tokens):
        self.lengths[rows] += 1
        if self.lengths[0] == 2 and not self.stumbled:
            self.stumbled = True
            raise ZeroDivisionError("once")
        return self.lengths[rows].copy()


def test_a_stream_that_fails_leaves_the_step_untaken(task):
    envs = TextGenVectorEnv(2, task=task, reward=Stumbling() * 2, delivery="per_token", autoreset_mode="SameStep")
    envs.reset(seed=0)
    assert envs.step([4, 4])[1].tolist() == [2, 2]
    with pytest.raises(ZeroDivisionError):
        envs.step([4, EOS])
    _, rewards, terminated, _, infos = envs.step([5, EOS])
    assert rewards.tolist() == [2, 2] and terminated.tolist() == [False, True]
    assert infos["final_info"]["length"].tolist() == [0, 2]
    env = TextGenEnv(task=task, reward=Stumbling(), delivery="shaped")
    env.reset(seed=0)
    env.step(4)
    with pytest.raises(ZeroDivisionError):
        env.step(4)
    assert env.step(4)[1] == 1.0


def test_the_delivery_is_an_argument_of_make_and_of_make_vec(task):
    env = gym.make("TextGen-v0", task="docstrings", delivery="shaped", gamma=0.99)
    assert env.unwrapped.episodes.delivery.kind == "shaped" and env.spec.to_json()
    with pytest.raises(TaskError, match=r"delivery='dense': allowed are 'terminal', 'per_token', 'shaped'"):
        gym.make_vec("TextGen-v0", num_envs=2, task=task, reward="length", delivery="dense")
