"""group_size: neighbouring rows meet the same prompts in the same order, whenever their episodes end."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET, IdSum
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import TaskError
from textgym.sb3 import make_sb3_env
from textgym.testing.envs import compare_vector_envs

EOS = 2


class SeededByGroup(SyncVectorEnv):
    """Single environments of which each is reset with the seed of the first row of its group."""

    group_size = 1

    def reset(self, *, seed=None, options=None):
        seeds = None if seed is None else [seed + i - i % self.group_size for i in range(self.num_envs)]
        return super().reset(seed=seeds, options=options)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@given(
    group_size=st.integers(1, 3),
    groups=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    actions=st.lists(st.lists(st.sampled_from([EOS, 3, 4, 5]), min_size=9, max_size=9), min_size=1, max_size=25),
)
@settings(max_examples=20, deadline=None)
def test_row_equals_a_single_env_with_the_seed_of_its_groups_first_row(task, mode, group_size, groups, seed, actions):
    rows = group_size * groups
    vector = TextGenVectorEnv(rows, task=task, reward=IdSum(), autoreset_mode=mode, group_size=group_size)
    yardstick = SeededByGroup([functools.partial(TextGenEnv, task=task, reward=IdSum())] * rows, autoreset_mode=mode)
    yardstick.group_size = group_size
    compare_vector_envs(vector, yardstick, np.array(actions)[:, :rows], seed=seed)


def prompts_met(envs: TextGenVectorEnv, episodes: int, rng: np.random.Generator) -> list[list[tuple[int, ...]]]:
    """The first prompts that each row meets while episodes end at random moments."""
    met: list[list[tuple[int, ...]]] = [[] for _ in range(envs.num_envs)]
    for _ in range(1000):
        for row, length in enumerate(envs._lengths - envs._starts):
            if length == 0:
                met[row].append(tuple(envs._tokens[row, : envs._starts[row]].tolist()))
        if min(map(len, met)) >= episodes:
            return [row[:episodes] for row in met]
        envs.step(rng.choice([EOS, 3, 4], envs.num_envs))
    raise AssertionError("rows do not go on")


@pytest.mark.parametrize("seed", [0, 7, None, [5, 99, 99, 1, 2, 3]])
def test_rows_of_a_group_meet_the_same_prompts_and_groups_meet_others(task, seed):
    envs = TextGenVectorEnv(6, task=task, reward=IdSum(), autoreset_mode="SameStep", group_size=3)
    envs.reset(seed=seed)
    met = prompts_met(envs, 12, np.random.default_rng(0))
    assert met[0] == met[1] == met[2] and met[3] == met[4] == met[5]
    assert met[0] != met[3], "one group must not repeat the other's prompts"


def test_without_groups_rows_meet_prompts_of_their_own(task):
    envs = TextGenVectorEnv(6, task=task, reward=IdSum(), autoreset_mode="SameStep")
    envs.reset(seed=0)
    met = prompts_met(envs, 12, np.random.default_rng(0))
    assert len({tuple(row) for row in met}) == 6


def test_a_seed_for_each_row_counts_by_the_first_of_the_group(task):
    by_number, by_list = (TextGenVectorEnv(4, task=task, reward=IdSum(), group_size=2) for _ in range(2))
    assert np.array_equal(by_number.reset(seed=7)[0], by_list.reset(seed=[7, 8, 9, 10])[0])
    assert by_number.np_random_seed == by_list.np_random_seed == (7, 7, 9, 9)


def test_a_reset_of_some_rows_leaves_the_order_of_prompts_to_each_row(task):
    envs = TextGenVectorEnv(2, task=task, reward=IdSum(), autoreset_mode="Disabled", group_size=2)
    first, _ = envs.reset(seed=3)
    second, _ = envs.reset(options={"reset_mask": np.array([True, False])})
    both, _ = envs.reset(options={"reset_mask": np.array([False, True])})
    assert np.array_equal(first[0], first[1]) and np.array_equal(both[0], both[1])
    assert np.array_equal(second[1], first[1])


@pytest.mark.parametrize("group_size", [0, -1, 4, True])
def test_groups_of_unequal_size_are_refused(task, group_size):
    with pytest.raises(TaskError, match="group_size"):
        TextGenVectorEnv(6, task=task, reward=IdSum(), group_size=group_size if group_size is not True else 4)


def test_a_single_env_is_no_group(task):
    with pytest.raises(TaskError, match=r"make_vec\(\.\.\., group_size=4\)"):
        gym.make("TextGen-v0", task=task, reward=IdSum(), group_size=4)
    assert gym.make("TextGen-v0", task=task, reward=IdSum(), group_size=1)


def test_sb3_meets_the_same_groups(task):
    venv = make_sb3_env(n_envs=4, task=task, reward=IdSum(), group_size=2, seed=5)
    observations = venv.reset()
    expected, _ = TextGenVectorEnv(4, task=task, reward=IdSum(), group_size=2).reset(seed=5)
    assert np.array_equal(observations, expected)
    for _ in range(3 * BUDGET):
        observations, *_ = venv.step(np.array([EOS, EOS, 4, 4]))
        assert np.array_equal(observations[0], observations[1]) and np.array_equal(observations[2], observations[3])
