import json

import numpy as np
import pytest
from envs_samples import BUDGET, IdSum, small_task
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import EpisodeError, TaskError

MODES = list(AutoresetMode)


def make(folder, mode=AutoresetMode.SAME_STEP, rows=4, **changes):
    return TextGenVectorEnv(rows, task=small_task(folder), autoreset_mode=mode, **{"reward": IdSum(), **changes})


def saved(env):
    """The state as a file would give it: arrays, and JSON that has been text."""
    state = env.state_dict()
    arrays = {name: value.copy() for name, value in state.items() if isinstance(value, np.ndarray)}
    rest = {name: value for name, value in state.items() if name not in arrays}
    return arrays | json.loads(json.dumps(rest))


def walk(env, actions):
    """What the outside gets to see of these steps."""
    seen = []
    for row in actions:
        if env.autoreset_mode is AutoresetMode.DISABLED and env._over.any():
            seen.append(env.reset(options={"reset_mask": env._over.copy()}))
        seen.append(env.step(row))
    return seen


def assert_equal(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    elif isinstance(ours, np.ndarray) and ours.dtype == object:
        assert_equal(ours.tolist(), theirs.tolist())
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@given(
    delivery=st.sampled_from(["terminal", "per_token", "shaped"]),
    seed=st.integers(0, 2**31),
    limit=st.sampled_from([None, 3, BUDGET]),
    group_size=st.sampled_from([1, 2]),
    before=st.integers(0, 2 * BUDGET),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_environment_goes_on_where_another_was_saved(
    letters_folder, mode, delivery, seed, limit, group_size, before
):
    changes = {"reward": "repetition(n=1) - 0.1*length", "delivery": delivery, "gamma": 0.9}
    changes |= {"max_episode_steps": limit, "group_size": group_size}
    actions = np.random.default_rng(seed).integers(2, 12, (before + 3 * BUDGET, 4))
    first, second = (make(letters_folder, mode, **changes) for _ in range(2))
    first.reset(seed=seed)
    walk(first, actions[:before])
    state = saved(first)
    expected = walk(first, actions[before:])
    second.load_state_dict(state)
    assert_equal(walk(second, actions[before:]), expected)
    assert second.np_random_seed == first.np_random_seed


def test_a_saved_state_does_not_change_with_the_environment(letters_folder):
    first, second = make(letters_folder), make(letters_folder)
    first.reset(seed=0)
    state = first.state_dict()
    kept = json.dumps({name: np.asarray(value).tolist() for name, value in state.items()}, default=str)
    second.load_state_dict(state)
    for env in (first, second):
        walk(env, np.full((2 * BUDGET, 4), 5))
    assert json.dumps({name: np.asarray(value).tolist() for name, value in state.items()}, default=str) == kept


def test_an_environment_that_was_not_begun_is_not_after_loading_either(letters_folder):
    first, second = make(letters_folder), make(letters_folder)
    second.reset(seed=1)
    second.load_state_dict(saved(first))
    with pytest.raises(EpisodeError, match="step before the first reset"):
        second.step(np.full(4, 5))


def test_a_state_of_other_shapes_is_refused(letters_folder):
    first, second = make(letters_folder, rows=4), make(letters_folder, rows=3)
    first.reset(seed=1)
    with pytest.raises(TaskError, match=r"tokens of shape \(4, \d+\), the environment \(3, \d+\)"):
        second.load_state_dict(saved(first))
