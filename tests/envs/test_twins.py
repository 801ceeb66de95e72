import functools
import inspect

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET, IdSum, SameParity, ends_in_double, small_task
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import textgym
from textgym.envs.textgen import TextGenEnv
from textgym.envs.twins import TextGenDictEnv, TextGenDictVectorEnv, TextGenFloatEnv, TextGenFloatVectorEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.testing import check_env
from textgym.testing.envs import _same, compare_vector_envs

EOS = 2
TWINS = {"float": (TextGenFloatEnv, TextGenFloatVectorEnv), "dict": (TextGenDictEnv, TextGenDictVectorEnv)}
IDS = {"float": "TextGenFloat-v0", "dict": "TextGenDict-v0"}
MODES = list(AutoresetMode)

twins = pytest.mark.parametrize("kind", TWINS)


@pytest.fixture
def on_file(letters_folder, task):
    """JSON-able settings of the small task."""
    return {
        "corpus": str(letters_folder / "letters.txt"),
        "tokenizer": "char",
        "max_new_tokens": BUDGET,
        "reward": "length",
        "cache_dir": str(letters_folder / "cache"),
    }


def told(kind, observation, masks):
    """What a twin makes of an observation of TextGen-v0."""
    if kind == "float":
        return observation.astype(np.float32)
    return {"action_mask": masks.astype(np.int8), "tokens": observation}


@twins
@pytest.mark.parametrize("rules", [{}, {"constraint": SameParity(12)}, {"stop_rule": ends_in_double}])
@given(
    actions=st.lists(st.sampled_from([EOS, *range(12)]), min_size=1, max_size=30),
    limit=st.sampled_from([99, 3]),
    mask_in_info=st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_twin_differs_in_its_observations_alone(letters_folder, kind, rules, actions, limit, mask_in_info):
    task = small_task(letters_folder, **rules)
    twin, env = (
        TimeLimit(make(task=task, reward=IdSum(), mask_in_info=mask_in_info), limit)
        for make in (TWINS[kind][0], TextGenEnv)
    )
    masks = env.unwrapped.action_masks
    assert twin.action_space == env.action_space
    seed = 3
    for action in actions:
        if seed is not None:
            observation, info = env.reset(seed=seed)
            _same(twin.reset(seed=seed), (told(kind, observation, masks()), info), "reset", 0.0)
            seed = None
        observation, *rest = env.step(action)
        got = twin.step(action)
        _same(got, (told(kind, observation, masks()), *rest), "step", 0.0)
        assert got[0] in twin.observation_space
        assert np.array_equal(twin.unwrapped.action_masks(), masks())
        if rest[1] or rest[2]:
            seed = 4


@twins
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_rows_of_the_vector_twin_equal_single_twins(letters_folder, kind, mode):
    task = small_task(letters_folder, constraint=SameParity(12))
    one, many = TWINS[kind]
    for limit in (None, 3):

        def single(limit=limit):
            env = one(task=task, reward=IdSum())
            return env if limit is None else TimeLimit(env, limit)

        vector = many(4, task=task, reward=IdSum(), autoreset_mode=mode, max_episode_steps=limit)
        yardstick = SyncVectorEnv([single] * 4, autoreset_mode=mode)
        assert vector.single_observation_space == yardstick.single_observation_space
        assert vector.observation_space == yardstick.observation_space
        rng = np.random.default_rng(0)
        actions = np.where(rng.random((60, 4)) < 0.1, EOS, rng.integers(12, size=(60, 4)))
        compare_vector_envs(vector, yardstick, actions)


@twins
def test_the_last_observation_of_a_row_is_that_of_the_end_and_not_of_the_beginning(task, kind):
    envs = TWINS[kind][1](2, task=task, reward=IdSum(), autoreset_mode="SameStep")
    observations, _ = envs.reset(seed=0)
    first = (observations["tokens"] if kind == "dict" else observations)[0]
    infos = envs.step([EOS, 4])[-1]
    last, other = infos["final_obs"]
    assert other is None
    tokens = last["tokens"] if kind == "dict" else last
    assert tokens.tolist() == [*first[:10], EOS, -1, -1, -1, -1, -1]
    assert last in envs.single_observation_space


@twins
def test_what_a_twin_hands_out_belongs_to_the_caller(task, kind):
    for env in (TWINS[kind][0](task=task, reward=IdSum()), TWINS[kind][1](2, task=task, reward=IdSum())):
        actions = 4 if isinstance(env, gym.Env) else np.array([4, 4])
        observation, _ = env.reset(seed=0)
        for array in observation.values() if kind == "dict" else [observation]:
            array[...] = 0
        after = env.step(actions)[0]
        tokens = after["tokens"] if kind == "dict" else after
        assert (tokens >= 0).sum() == np.size(actions) * 11 and tokens.max() > 1


@twins
def test_our_own_check_passes_on_a_twin(letters_folder, kind):
    for rules in ({}, {"constraint": SameParity(12)}):
        check_env(TWINS[kind][0](task=small_task(letters_folder, **rules), reward=IdSum()))


def test_our_own_check_finds_a_mask_that_is_not_of_now(task):
    class Stale(TextGenDictEnv):
        def _observed(self, tokens, masks):
            return super()._observed(tokens, masks) | {"action_mask": np.ones(12, np.int8)}

    with pytest.raises(AssertionError, match="not what action_masks"):
        check_env(Stale(task=task, reward=IdSum()))


@twins
def test_a_twin_takes_the_same_keywords(kind):
    for twin, base in zip(TWINS[kind], (TextGenEnv, TextGenVectorEnv), strict=True):
        assert inspect.signature(twin) == inspect.signature(base)
        with pytest.raises(TypeError):
            twin(no_such_setting=1)


@twins
def test_the_ids_make_the_twins_with_and_without_the_module(kind, on_file):
    one, many = TWINS[kind]
    for prefix in ("", "textgym:"):
        assert type(gym.make(prefix + IDS[kind], **on_file).unwrapped) is one
        assert type(gym.make_vec(prefix + IDS[kind], num_envs=2, **on_file)) is many
    assert getattr(textgym, one.__name__) is one and getattr(textgym, many.__name__) is many


@twins
def test_the_spec_of_a_twin_makes_it_again(kind, on_file):
    single = gym.make(IDS[kind], **on_file)
    vector = gym.make_vec(IDS[kind], num_envs=2, autoreset_mode=AutoresetMode.SAME_STEP, **on_file)
    for env, make in ((single, gym.make), (vector, gym.make_vec)):
        again = make(EnvSpec.from_json(env.spec.to_json()))
        assert type(again.unwrapped) is type(env.unwrapped)
        _same(again.reset(seed=1), env.reset(seed=1), "reset", 0.0)


@twins
def test_gymnasiums_vectorisers_take_a_twin(kind, on_file):
    played = []
    for mode in ("sync", "async", "vector_entry_point"):
        envs = gym.make_vec(f"textgym:{IDS[kind]}", num_envs=2, vectorization_mode=mode, **on_file)
        envs.reset(seed=0)
        played.append([envs.step(np.array(actions)) for actions in ([4, 2], [3, 5], [2, 2], [7, 7])])
        envs.close()
    for other in played[:2]:
        for step, (ours, theirs) in enumerate(zip(played[2], other, strict=True)):
            _same(ours, theirs, f"step {step}", 0.0)


@pytest.mark.parametrize(("kind", "policy"), [("float", "MlpPolicy"), ("dict", "MultiInputPolicy")])
def test_sb3_trains_on_a_twin_in_both_ways(kind, policy, on_file):
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    from textgym.sb3 import make_sb3_env

    plain = DummyVecEnv([functools.partial(gym.make, IDS[kind], **on_file)] * 2)
    parameters = []
    for env in (plain, make_sb3_env(IDS[kind], n_envs=2, **on_file)):
        agent = PPO(policy, env, n_steps=16, batch_size=16, seed=0, device="cpu").learn(64)
        parameters.append(agent.policy.state_dict())
    for name, value in parameters[0].items():
        assert np.array_equal(value.numpy(), parameters[1][name].numpy()), name
