"""The example that learns with nothing of TextGym's but the environment."""

import functools
import importlib.util
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

FILE = Path(__file__).parents[2] / "examples/cleanrl_style_ppo.py"


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("cleanrl_style_ppo", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(example, tiny_corpus):
    """The settings of three updates of 128 steps; more may be given."""

    def settings(*more):
        given = ["--corpus", str(tiny_corpus), "--vocab-size", "60", "--num-envs", "8", "--num-steps", "16"]
        return example.parse([*given, "--total-timesteps", "384", *more])

    return settings


def test_it_runs_and_prints_the_return(example, small, capsys):
    returns = example.train(small())
    printed = capsys.readouterr().out
    assert len(returns) == 3 and np.isfinite(returns).all()
    assert printed.count("return") == 3


def test_the_same_seed_gives_the_same_run_on_a_twin_too(example, small):
    first = example.train(small())
    assert example.train(small("--env-id", "textgym:TextGenFloat-v0")) == first
    assert example.train(small("--seed", "2")) != first


def test_the_network_sees_the_last_tokens(example):
    agent = example.Agent(vocab_size=9, window=3)
    seen = agent.last_tokens(torch.tensor([[1, 2, 3, 4, -1, -1], [5, -1, -1, -1, -1, -1]]))
    assert seen.tolist() == [[2, 3, 4], [9, 9, 5]]


def test_advantages_at_lambda_one_are_returns_less_values(example):
    rewards, values = torch.tensor([[1.0], [2.0], [4.0], [8.0]]), torch.tensor([[0.5], [0.25], [0.0], [1.0]])
    ends = torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    advantages = example.gae(rewards, values, ends, torch.tensor([16.0]), 0.5, 1.0)
    assert advantages.flatten().tolist() == [1 + 0.5 * 2 - 0.5, 2 - 0.25, 4 + 0.5 * 8 + 0.25 * 16, 8 + 0.5 * 16 - 1]


def test_a_text_that_was_cut_off_is_worth_the_value_of_its_last_prefix(example, small, monkeypatch):
    monkeypatch.setattr(gym, "make_vec", functools.partial(gym.make_vec, max_episode_steps=3))
    batches = []
    gae = example.gae

    def spy(rewards, values, ends, *rest):
        batches.append((rewards.clone(), ends.clone()))
        return gae(rewards, values, ends, *rest)

    monkeypatch.setattr(example, "gae", spy)
    example.train(small("--reward", "0*length"))  # pays nothing: what is there comes from values
    rewards, ends = batches[0]
    assert (rewards[ends == 0] == 0).all()
    assert (rewards[ends == 1] != 0).float().mean() > 0.8, "all but those that EOS has ended"


@pytest.mark.slow
@pytest.mark.parametrize(("reward", "steps", "rise"), [("-length", 40_000, 5.0), (None, 100_000, 1.0)])
def test_it_learns(example, reward, steps, rise):
    arguments = ["--total-timesteps", str(steps)] + ([] if reward is None else [f"--reward={reward}"])
    returns = example.train(example.parse(arguments))
    assert np.mean(returns[-3:]) - returns[0] > rise
