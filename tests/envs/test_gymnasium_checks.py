"""Gymnasium's own checks, for every id that TextGym registers; TextGenMicro-v0's are among the micro worlds' tests."""

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode

import textgym  # noqa: F401 (registers the ids)

IDS = sorted(id for id in gym.registry if id.startswith("TextGen") and "Micro" not in id)
ROWS = 3

every_id = pytest.mark.parametrize("id", IDS)


class Row(gym.Env):
    """One row of a vector environment as a single environment; the others act at random where rows restart alone."""

    def __init__(self, envs, row):
        self.envs, self.row, self.spec, self.render_mode = envs, row, envs.spec, envs.render_mode
        self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space
        self.alone = envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        self.others = np.random.default_rng(row)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        observations, infos = self.envs.reset(seed=None if seed is None else seed - self.row)
        return self.mine(observations), self.mine(infos)

    def step(self, action):
        actions = self.others.integers(self.action_space.n, size=ROWS) if self.alone else np.full(ROWS, action)
        actions[self.row] = action
        observations, rewards, terminated, truncated, infos = self.envs.step(actions)
        flags = bool(terminated[self.row]), bool(truncated[self.row])
        if any(flags) and self.alone:
            return infos["final_obs"][self.row], float(rewards[self.row]), *flags, self.mine(infos["final_info"])
        observation, info = self.mine(observations), self.mine(infos)
        return observation, float(rewards[self.row]), *flags, info

    def mine(self, told):
        if not isinstance(told, dict):
            return told[self.row]
        if "tokens" in told:
            return {key: values[self.row] for key, values in told.items()}
        own = [key for key in told if f"_{key}" in told and told[f"_{key}"][self.row] and not key.startswith("final")]
        values = {key: told[key][self.row] for key in own}
        # Numbers of Python's have become numpy's in a column; which they were, is another test's affair.
        plain = ("length", "illegal_actions")
        return {key: int(value) if key in plain else value for key, value in values.items()}

    def render(self):
        return self.envs.render()[self.row]


@pytest.fixture
def on_file(letters_folder, task):
    return {
        "corpus": str(letters_folder / "letters.txt"),
        "tokenizer": "char",
        "max_new_tokens": BUDGET,
        "reward": "length + distinct(n=1)",
        "mask_in_info": True,
        "cache_dir": str(letters_folder / "cache"),
    }


def test_there_are_three_ids_that_take_any_text():
    assert IDS == ["TextGen-v0", "TextGenDict-v0", "TextGenFloat-v0"]


@every_id
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_check_passes_without_a_warning(id, render_mode, on_file, capsys):
    check_env(gym.make(id, render_mode=render_mode, **on_file).unwrapped)


@every_id
@pytest.mark.parametrize("row", [0, 2])
def test_a_row_matches_a_single_environment(id, row, on_file):
    envs = gym.make_vec(id, num_envs=ROWS, autoreset_mode="SameStep", **on_file)
    check_environments_match(gym.make(id, **on_file), Row(envs, row), num_steps=100, seed=11)


@every_id
def test_a_row_looks_like_a_single_environment(id, on_file):
    envs = gym.make_vec(id, num_envs=ROWS, autoreset_mode="Disabled", render_mode="rgb_array", **on_file)
    check_environments_match(gym.make(id, render_mode="rgb_array", **on_file), Row(envs, 1), num_steps=20, seed=11)


@every_id
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])  # before 1.3 the check cannot compare texts
def test_an_environment_that_was_used_matches_a_fresh_one(id, render_mode, on_file):
    used, fresh = (gym.make(id, render_mode=render_mode, **on_file) for _ in range(2))
    used.reset(seed=99)
    for action in (4, 5, 2):
        used.step(action)
    used.reset()
    used.step(4)
    check_environments_match(used, fresh, num_steps=60 if render_mode is None else 15, seed=7)


def test_the_match_is_a_test(on_file):
    """Gymnasium's check sees a difference in reward alone."""
    one, other = gym.make("TextGen-v0", **on_file), gym.make("TextGen-v0", **{**on_file, "reward": "length"})
    with pytest.raises(AssertionError, match="reward is not equivalent"):
        check_environments_match(one, other, num_steps=30, info_comparison="skip")
