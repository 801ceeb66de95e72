import copy
import dataclasses
import warnings

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET, Fragile, IdSum, NothingAfter, SameParity, ends_in_double, small_task

from textgym.envs.textgen import TextGenEnv
from textgym.errors import EpisodeError, ScoringFailure, SpaceError, SpecError, TaskError, UnknownNameError
from textgym.testing import check_env

EOS, SEP, UNK = 2, 1, 0


@pytest.fixture
def env(task):
    return TextGenEnv(task=task, reward=IdSum())


def play(env, actions, **reset):
    env.reset(**reset)
    for action in actions:
        result = env.step(action)
    return result


def test_the_first_observation_is_the_prompt_the_separator_and_padding(env, task):
    observation, info = env.reset(options={"prompt_index": 3})
    prompt = task.train.prompt(3).tolist()
    assert observation.tolist() == [*prompt, SEP] + [-1] * BUDGET
    assert observation.dtype == np.int32
    assert info == {"length": 0}


def test_spaces_follow_from_the_task(env, task):
    assert env.action_space == gym.spaces.Discrete(task.tokenizer.vocab_size)
    length = max(task.train.prompt_lengths.max(), task.heldout.prompt_lengths.max()) + 1 + BUDGET
    assert env.observation_space == gym.spaces.Box(-1, task.tokenizer.vocab_size - 1, (length,), np.int32)


def test_eos_ends_an_episode_and_is_in_the_ids_but_not_in_the_text(env, task):
    letter = int(task.tokenizer.encode("a")[0])
    observation, reward, terminated, truncated, info = play(env, [letter, EOS], options={"prompt_index": 0})
    assert (terminated, truncated) == (True, False)
    assert type(terminated) is bool and type(truncated) is bool and type(reward) is float
    assert reward == letter / 7 + EOS * 2 / 7
    assert info == {
        "length": 2,
        "finish_reason": "stop",
        "completion": (letter, EOS),
        "text": "a",
        "illegal_actions": 0,
        "reward_components/idsum": reward,
    }
    assert type(info["reward_components/idsum"]) is np.float64
    assert observation[observation >= 0][-2:].tolist() == [letter, EOS]


def test_the_budget_ends_an_episode_as_terminated(env):
    env.reset(seed=0)
    for t in range(1, BUDGET + 1):
        _, reward, terminated, truncated, info = env.step(4)
        assert (terminated, truncated, info["length"]) == (t == BUDGET, False, t)
        assert (reward != 0.0) == terminated
    assert info["finish_reason"] == "length"


def test_a_stop_rule_ends_an_episode(letters_folder):
    env = TextGenEnv(task=small_task(letters_folder, stop_rule=ends_in_double), reward=IdSum())
    *_, terminated, _, info = play(env, [4, 5, 5], seed=0)
    assert terminated and info["finish_reason"] == "rule"


def test_success_is_told_where_the_task_defines_it(letters_folder):
    task = small_task(letters_folder, success=lambda batch: np.array(["b" in text for text in batch.completion_texts]))
    env = TextGenEnv(task=task, reward=IdSum())
    b = int(task.tokenizer.encode("b")[0])
    assert play(env, [b, EOS], seed=0)[-1]["is_success"] is True
    assert play(env, [EOS], seed=0)[-1]["is_success"] is False


def test_the_budget_of_a_time_limit_truncates_and_pays_nothing(task):
    env = gym.make("TextGen-v0", task=task, reward=IdSum(), max_episode_steps=2)
    _, reward, terminated, truncated, info = play(env, [4, 4], seed=0)
    assert (reward, terminated, truncated, info) == (0.0, False, True, {"length": 2})


def test_the_same_seed_draws_the_same_prompts_and_the_state_can_be_copied(env):
    first = [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]
    again = [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]
    assert np.array_equal(first, again)
    twin = copy.deepcopy(env)
    assert np.array_equal(twin.reset()[0], env.reset()[0])
    assert twin.task is env.task


def test_every_prompt_of_the_split_is_drawn(task):
    env = TextGenEnv(task=task, reward=IdSum(), split="heldout")
    env.reset(seed=0)
    seen = {tuple(env.reset()[0]) for _ in range(60 * len(task.heldout))}
    assert seen == {tuple(env.reset(options={"prompt_index": i})[0]) for i in range(len(task.heldout))}


def test_a_prompt_may_be_text_or_ids(env, task):
    by_text, _ = env.reset(options={"prompt": "b a c"})
    by_ids, _ = env.reset(options={"prompt": task.tokenizer.encode("b a c").tolist()})
    assert np.array_equal(by_text, by_ids)
    assert task.tokenizer.decode(by_text[by_text >= 0]) == "b a c"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"promt": "a"}, "unknown reset option 'promt'. Did you mean 'prompt'?"),
        ({"prompt": "a", "prompt_index": 0}, "exclude each other"),
        ({"prompt": "a b c d e f g h"}, "has 15 tokens, the observation has room for 9"),
        ({"prompt": [3, SEP]}, "holds the separator (id 1)"),
        ({"prompt": [3, EOS]}, "holds the EOS (id 2)"),
        ({"prompt": [3, 99]}, "holds ids from 3 to 99; those of this task run from 0 to"),
        ({"prompt": [-1]}, "holds ids from -1"),
        ({"prompt": [[3]]}, "flat sequence"),
        ({"prompt": [0.5]}, "flat sequence"),
        ({"prompt": ""}, "is empty"),
        ({"prompt_index": 36}, "prompt_index 36 is outside this split, whose prompts run from 0 to 35"),
        ({"prompt_index": 0.0}, "is an integer, not 0.0"),
    ],
)
def test_reset_options_that_do_not_fit_are_refused(env, options, said):
    with pytest.raises(TaskError) as error:
        env.reset(options=options)
    assert said in str(error.value)


@pytest.mark.parametrize("action", [-1, 12, 512, 1.0, True, np.float64(3), np.bool_(True), "a", None, np.array([3])])
def test_an_action_outside_the_space_is_refused_and_changes_nothing(env, action):
    env.reset(seed=0)
    with pytest.raises(
        SpaceError, match=r"is outside Discrete\(12\)\. Token ids of this task run from 0 to 11; EOS is 2"
    ):
        env.step(action)
    assert env.step(4)[-1]["length"] == 1


@pytest.mark.parametrize("action", [3, np.int64(3), np.int32(3), np.array(3)])
def test_integers_of_any_kind_are_actions(env, action):
    env.reset(seed=0)
    assert env.step(action)[-1] == {"length": 1}


def test_steps_before_reset_and_after_the_end_are_refused(env):
    for call in (lambda: env.step(3), env.action_masks):
        with pytest.raises(EpisodeError, match="before the first reset"):
            call()
    play(env, [EOS], seed=0)
    with pytest.raises(EpisodeError, match="after the end"):
        env.step(3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"split": "hedlout"}, "Did you mean 'heldout'?"),
        ({"on_failure": "zero"}, "allowed are 'raise', 'mask'"),
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"render_mode": "rgb"}, "allowed are 'ansi', 'human'"),
        ({"vocab_size": 99}, "leave out vocab_size"),
    ],
)
def test_settings_outside_what_is_allowed_are_refused(task, setting, said):
    with pytest.raises(TaskError) as error:
        TextGenEnv(task=task, reward=IdSum(), **setting)
    assert said in str(error.value)


def test_an_unknown_keyword_is_a_type_error(task):
    with pytest.raises(TypeError):
        TextGenEnv(task=task, no_such_setting=1)


def test_masks_forbid_what_has_no_text(env):
    env.reset(seed=0)
    mask = env.action_masks()
    assert mask.dtype == bool and mask.shape == (12,)
    assert np.flatnonzero(~mask).tolist() == [UNK, SEP]


def test_illegal_actions_are_executed_and_counted(env):
    *_, info = play(env, [SEP, 4, UNK, EOS], seed=0)
    assert info["illegal_actions"] == 2
    assert info["completion"] == (SEP, 4, UNK, EOS)


def test_a_constraint_narrows_the_mask_and_is_counted(letters_folder):
    task = small_task(letters_folder, constraint=SameParity(12))
    env = TextGenEnv(task=task, reward=IdSum(), mask_in_info=True)
    _, info = env.reset(seed=0)
    assert np.flatnonzero(info["action_mask"]).tolist() == [2, 4, 6, 8, 10]
    assert info["action_mask"].dtype == np.int8
    _, *_, info = env.step(5)
    assert np.flatnonzero(info["action_mask"]).tolist() == [3, 5, 7, 9, 11]
    assert env.action_space.sample(info["action_mask"]) in (3, 5, 7, 9, 11)
    env.step(3)
    *_, info = env.step(EOS)
    assert info["illegal_actions"] == 1
    assert np.flatnonzero(~env.action_masks()).tolist() == [UNK, SEP], "a finished text has nothing to constrain"


def test_a_mask_without_any_token_is_an_error(letters_folder):
    task = small_task(letters_folder, constraint=NothingAfter(12, 1))
    env = TextGenEnv(task=task, reward=IdSum())
    env.reset(seed=0)
    env.step(4)
    with pytest.raises(TaskError, match="leaves no token that may follow"):
        env.action_masks()


def test_a_scorer_that_fails_is_an_error_and_the_step_is_not_taken(task):
    env = TextGenEnv(task=task, reward=Fragile())
    a = int(task.tokenizer.encode("a")[0])
    env.reset(seed=0)
    env.step(a)
    for _ in range(2):
        with pytest.raises(ScoringFailure, match="no a, please"):
            env.step(EOS)
    assert env.step(a)[-1]["length"] == 2


def test_under_mask_a_failed_row_is_paid_nan_and_says_so(task):
    env = TextGenEnv(task=task, reward=Fragile(), on_failure="mask")
    a, b = (int(task.tokenizer.encode(letter)[0]) for letter in "ab")
    _, reward, terminated, _, info = play(env, [a, EOS], seed=0)
    assert np.isnan(reward) and terminated and info["reward_failed"] is True
    _, reward, _, _, info = play(env, [b, EOS], seed=0)
    assert reward == 1.0 and info["reward_failed"] is False


def test_what_is_handed_out_belongs_to_the_caller(env):
    observation, info = env.reset(seed=0)
    observation[:] = 7
    info["length"] = 99
    after, *_, info = env.step(4)
    assert after[0] != 7 and info["length"] == 1


def test_references_reach_the_scorer(task):
    env = TextGenEnv(task=task, reward="exact_match")
    completion = task.train.reference(2)[:BUDGET].tolist()
    if completion[-1] != EOS and len(completion) < BUDGET:
        completion.append(EOS)
    assert play(env, completion, options={"prompt_index": 2})[1] == 1.0


def test_an_own_prompt_has_no_references(task):
    env = TextGenEnv(task=task, reward=lambda completion, references: float(len(references)))
    assert play(env, [EOS], options={"prompt": "a b"})[1] == 0.0
    assert play(env, [EOS], options={"prompt_index": 0})[1] == 1.0


def test_unknown_names_are_told_with_the_nearest_one(task):
    with pytest.raises(UnknownNameError, match="Did you mean 'docstrings'"):
        TextGenEnv(task="docstring")
    with pytest.raises(SpecError, match="Did you mean 'repetition'"):
        TextGenEnv(task=task, reward="repetitoin")


@pytest.mark.parametrize("setting", [{}, {"mask_in_info": True}, {"on_failure": "mask"}, {"split": "heldout"}])
def test_our_own_check_passes(task, setting):
    check_env(TextGenEnv(task=task, reward=IdSum(), **setting))


@pytest.mark.parametrize("rules", [{"stop_rule": ends_in_double}, {"constraint": SameParity(12)}])
def test_our_own_check_passes_with_rules(letters_folder, rules):
    check_env(TextGenEnv(task=small_task(letters_folder, **rules), reward=IdSum()))


class Reusing(TextGenEnv):
    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        self.kept = observation
        return observation, info

    def step(self, action):
        observation, *rest = super().step(action)
        self.kept[:] = observation
        return (self.kept, *rest)


class Truncating(TextGenEnv):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, False, terminated, info


class Talkative(TextGenEnv):
    def step(self, action):
        *rest, info = super().step(action)
        return (*rest, info | {"episode": 1})


class Generous(TextGenEnv):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return (observation, 1.0, *rest)


@pytest.mark.parametrize("broken", [Reusing, Truncating, Talkative, Generous])
def test_our_own_check_finds_what_is_broken(task, broken):
    with pytest.raises(AssertionError):
        check_env(broken(task=task, reward=IdSum()))


def test_gymnasium_checks_pass_without_a_warning(task):
    from gymnasium.utils.env_checker import check_env as gymnasium_check

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(gym.make("TextGen-v0", task=task, reward=IdSum(), mask_in_info=True).unwrapped)


def test_sb3_checks_pass(task):
    from stable_baselines3.common.env_checker import check_env as sb3_check

    sb3_check(gym.make("TextGen-v0", task=task, reward=IdSum()))


def test_a_task_is_data(task):
    assert dataclasses.replace(task, reward="length").reward == "length"
    assert copy.deepcopy(task) is task
