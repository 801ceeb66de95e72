import functools

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET, Fragile, IdSum, NothingAfter, SameParity, ends_in_double, small_task
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import EpisodeError, ScoringFailure, SpaceError, TaskError
from textgym.testing import check_vector_env
from textgym.testing.envs import compare_vector_envs

EOS, SEP = 2, 1
MODES = list(AutoresetMode)
VARIANTS = {
    "plain": {},
    "stop rule": {"stop_rule": ends_in_double},
    "one token": {"stop_rule": lambda tokens, lengths, starts: np.ones(len(tokens), bool)},
    "constraint": {"constraint": SameParity(12)},
    "success": {"success": lambda batch: np.array([len(ids) % 2 == 0 for ids in batch.completions])},
}


def single(task, limit, **settings):
    env = TextGenEnv(task=task, **settings)
    return env if limit is None else TimeLimit(env, limit)


def pair(task, mode, rows, limit=None, **settings):
    vector = TextGenVectorEnv(rows, task=task, autoreset_mode=mode, max_episode_steps=limit, **settings)
    return vector, SyncVectorEnv([functools.partial(single, task, limit, **settings)] * rows, autoreset_mode=mode)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@given(
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    limit=st.sampled_from([None, None, 1, 3, BUDGET]),
    mask_in_info=st.booleans(),
    actions=st.lists(st.lists(st.integers(0, 11), min_size=5, max_size=5), min_size=1, max_size=25),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_vector_row_equals_single_env(letters_folder, variant, mode, rows, seed, limit, mask_in_info, actions):
    task = small_task(letters_folder, **VARIANTS[variant])
    vector, yardstick = pair(task, mode, rows, limit, reward=IdSum(), mask_in_info=mask_in_info)
    compare_vector_envs(vector, yardstick, np.array(actions)[:, :rows], seed=seed)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_rows_that_fail_equal_single_envs_that_fail(task, mode):
    vector, yardstick = pair(task, mode, 6, reward=Fragile(), on_failure="mask")
    actions = np.random.default_rng(0).integers(0, 12, (60, 6))
    compare_vector_envs(vector, yardstick, actions)


def test_our_own_check_passes_with_a_reward_of_models(task):
    reward = "fluency + informativeness - repetition"
    check_vector_env(
        lambda: TextGenEnv(task=task, reward=reward),
        lambda mode: TextGenVectorEnv(4, task=task, reward=reward, autoreset_mode=mode),
        steps=50,
    )


def test_our_own_check_finds_a_row_that_differs(task):
    with pytest.raises(AssertionError, match="reset, value 0"):
        check_vector_env(
            lambda: TextGenEnv(task=task, reward=IdSum(), split="heldout"),
            lambda mode: TextGenVectorEnv(4, task=task, reward=IdSum(), autoreset_mode=mode),
        )


def test_a_finished_row_waits_a_step_in_next_step_mode(task):
    envs = TextGenVectorEnv(2, task=task, reward=IdSum())
    assert envs.autoreset_mode is AutoresetMode.NEXT_STEP
    envs.reset(seed=0)
    _, rewards, terminated, truncated, infos = envs.step([EOS, 4])
    assert rewards.tolist() == [EOS / 7, 0.0]
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [False, False])
    assert infos["finish_reason"].tolist() == ["stop", None]
    assert infos["_finish_reason"].tolist() == [True, False]
    observations, rewards, terminated, _, infos = envs.step([999, 4])  # the action of a waiting row is ignored
    assert rewards.tolist() == [0.0, 0.0] and not terminated.any()
    assert infos["length"].tolist() == [0, 2]
    assert (observations >= 0).sum(axis=1).tolist() == [10, 12]


def test_the_end_of_a_row_stands_in_final_info_in_same_step_mode(task):
    envs = TextGenVectorEnv(2, task=task, reward=IdSum(), autoreset_mode="SameStep")
    first, _ = envs.reset(seed=0)
    observations, rewards, terminated, _, infos = envs.step([EOS, 4])
    assert (rewards.tolist(), terminated.tolist()) == ([EOS / 7, 0.0], [True, False])
    assert infos["length"].tolist() == [0, 1]
    assert infos["final_info"]["text"].tolist() == ["", None]
    assert infos["final_obs"][1] is None
    assert infos["final_obs"][0].tolist() == [*first[0][:10], EOS, -1, -1, -1, -1, -1]
    assert (observations >= 0).sum(axis=1).tolist() == [10, 11]


def test_finished_rows_are_scored_in_one_call(task):
    calls = []

    def reward(batch):
        calls.append(len(batch))
        return [1.0] * len(batch)

    envs = TextGenVectorEnv(5, task=task, reward=reward)
    envs.reset(seed=0)
    envs.step([4] * 5)
    envs.step([EOS, 4, EOS, EOS, 4])
    assert calls == [3]


def test_a_stopped_row_must_be_reset_in_disabled_mode(task):
    envs = TextGenVectorEnv(3, task=task, reward=IdSum(), autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.step([EOS, 4, 4])
    with pytest.raises(EpisodeError, match=r"finished rows \[0\]"):
        envs.step([4, 4, 4])
    options = {"reset_mask": np.array([True, False, False])}
    _, infos = envs.reset(options=options)
    assert "reset_mask" in options, "options are read, not changed"
    assert infos["_length"].tolist() == [True, False, False]
    assert envs.step([4, 4, 4])[-1]["length"].tolist() == [1, 2, 2]


def test_a_failing_scorer_leaves_the_step_untaken(task):
    envs = TextGenVectorEnv(2, task=task, reward=Fragile())
    a = int(task.tokenizer.encode("a")[0])
    envs.reset(seed=0)
    envs.step([a, 4])
    with pytest.raises(ScoringFailure):
        envs.step([EOS, 4])
    assert envs.step([4, 4])[-1]["length"].tolist() == [2, 2]


def test_what_is_handed_out_belongs_to_the_caller(task):
    envs = TextGenVectorEnv(3, task=task, reward=IdSum(), autoreset_mode="SameStep")
    twin = TextGenVectorEnv(3, task=task, reward=IdSum(), autoreset_mode="SameStep")
    rng = np.random.default_rng(1)
    handed = [envs.reset(seed=3), twin.reset(seed=3)]
    for _ in range(30):
        assert np.array_equal(handed[0][0], handed[1][0])
        for value in [*handed[0][:4], *handed[0][-1].values()]:
            if isinstance(value, np.ndarray):
                value[:] = 1 if value.dtype != object else None
        actions = rng.integers(0, 12, 3)
        handed = [envs.step(actions), twin.step(actions)]


def test_prompts_may_be_chosen_row_by_row(task):
    envs = TextGenVectorEnv(3, task=task, reward=IdSum())
    one = TextGenEnv(task=task, reward=IdSum())
    observations, _ = envs.reset(seed=4, options={"prompt": ["b a", task.tokenizer.encode("c d"), None]})
    expected = [{"prompt": "b a"}, {"prompt": "c d"}, None]
    for row, options in enumerate(expected):
        assert np.array_equal(observations[row], one.reset(seed=4 + row, options=options)[0])
    assert len(np.unique(envs.reset(options={"prompt": "b a"})[0], axis=0)) == 1
    observations, _ = envs.reset(options={"prompt_index": np.array([2, 0, 5])})
    for row, index in enumerate([2, 0, 5]):
        assert np.array_equal(observations[row], one.reset(options={"prompt_index": index})[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reset_maks": None}, "Did you mean 'reset_mask'"),
        ({"reset_mask": [True, True]}, "bool array of shape (2,)"),
        ({"reset_mask": np.array([False, False])}, "with a True in it"),
        ({"reset_mask": np.array([1, 0])}, "bool array"),
        ({"prompt": ["a"]}, "a list of 2, one for each row"),
        ({"prompt_index": [0, 1, 2]}, "a list of 2, one for each row"),
        ({"prompt_index": [0, 99]}, "prompt_index 99 is outside"),
    ],
)
def test_reset_options_that_do_not_fit_are_refused(task, options, said):
    envs = TextGenVectorEnv(2, task=task, reward=IdSum())
    envs.reset(seed=0)
    with pytest.raises(TaskError) as error:
        envs.reset(options=options)
    assert said in str(error.value)


def test_the_first_reset_begins_every_row(task):
    envs = TextGenVectorEnv(2, task=task, reward=IdSum())
    for call in (lambda: envs.step([4, 4]), envs.action_masks):
        with pytest.raises(EpisodeError, match="before the first reset"):
            call()
    with pytest.raises(EpisodeError, match="begins every row"):
        envs.reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([4, 12], "action 12 is outside Discrete(12). Token ids of this task run from 0 to 11; EOS is 2."),
        ([-1, 4], "action -1 is outside Discrete(12)"),
        ([4], "actions are 2 integers, shape (2,); given: shape (1,)"),
        ([4.0, 4.0], "dtype float64"),
        ([True, False], "dtype bool"),
        (4, "shape ()"),
    ],
)
def test_actions_outside_the_space_are_refused_and_change_nothing(task, actions, said):
    envs = TextGenVectorEnv(2, task=task, reward=IdSum())
    envs.reset(seed=0)
    with pytest.raises(SpaceError) as error:
        envs.step(actions)
    assert said in str(error.value)
    assert envs.step([4, 4])[-1]["length"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"autoreset_mode": "Never"}, "allowed are 'NextStep', 'SameStep', 'Disabled'"),
        ({"num_envs": 0}, "at least 1 row"),
        ({"max_episode_steps": 0}, "max_episode_steps=0"),
    ],
)
def test_settings_outside_what_is_allowed_are_refused(task, setting, said):
    with pytest.raises(TaskError) as error:
        TextGenVectorEnv(**{"num_envs": 2, "task": task, "reward": IdSum(), **setting})
    assert said in str(error.value)


def test_seeds_may_be_a_list(task):
    envs = TextGenVectorEnv(3, task=task, reward=IdSum())
    by_list, _ = envs.reset(seed=[7, 8, 9])
    by_number, _ = envs.reset(seed=7)
    assert np.array_equal(by_list, by_number)
    assert envs.np_random_seed == (7, 8, 9)
    assert len(envs.np_random) == 3
    with pytest.raises(TaskError, match="2 seeds for 3 rows"):
        envs.reset(seed=[1, 2])


def test_masks_are_one_row_each_and_never_empty(letters_folder):
    envs = TextGenVectorEnv(2, task=small_task(letters_folder, constraint=SameParity(12)), reward=IdSum())
    envs.reset(seed=0)
    envs.step([EOS, 4])
    masks = envs.action_masks()
    assert masks.shape == (2, 12) and masks.dtype == bool
    assert np.flatnonzero(~masks[0]).tolist() == [0, SEP], "a finished row has nothing to constrain"
    assert np.flatnonzero(masks[1]).tolist() == [3, 5, 7, 9, 11]
    envs = TextGenVectorEnv(2, task=small_task(letters_folder, constraint=NothingAfter(12, 1)), reward=IdSum())
    envs.reset(seed=0)
    envs.step([EOS, 4])
    with pytest.raises(TaskError, match="row 1: the task's constraint leaves no token"):
        envs.action_masks()


def test_gymnasiums_vector_wrappers_take_it(task):
    envs = gym.wrappers.vector.RecordEpisodeStatistics(
        gym.make_vec("TextGen-v0", num_envs=4, task=task, reward=IdSum(), autoreset_mode="SameStep")
    )
    envs.reset(seed=0)
    for _ in range(BUDGET):
        *_, infos = envs.step(np.full(4, 4))
    assert infos["episode"]["l"].tolist() == [BUDGET] * 4
