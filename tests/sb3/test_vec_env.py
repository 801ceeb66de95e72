from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

import textgym  # noqa: F401 (registers the ids)
from textgym.errors import TaskError
from textgym.sb3 import TextGenVecEnv, make_sb3_env

EOS = 2


WORDS = "the a red blue cat dog sat ran on mat hill and saw it went home"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A task of 20 words: 200 random sentences, completions of at most 8 tokens."""
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS.split(), rng.integers(8, 14))) + "." for _ in range(200)]
    corpus = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    corpus.write_text("\n\n".join(documents))
    return {
        "corpus": str(corpus),
        "tokenizer": "word",
        "max_new_tokens": 8,
        "reward": "distinct(n=2) - repetition(n=2) + 0.1*length",
    }


def native(settings, n_envs, **more) -> VecEnv:
    return make_sb3_env("TextGen-v0", n_envs=n_envs, **settings, **more).venv


def dummy(settings, n_envs, **more) -> VecEnv:
    return DummyVecEnv([lambda: gym.make("TextGen-v0", **settings, **more) for _ in range(n_envs)])


def actions_of(rng, env, size=None):
    """Random tokens, one in eight of them EOS, so that episodes end early, late and at the budget."""
    tokens = rng.integers(3, env.action_space.n, size)
    return np.where(rng.random(size) < 1 / 8, EOS, tokens)


def assert_equal_infos(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


@pytest.mark.parametrize("limit", [{}, {"max_episode_steps": 5}], ids=["no limit", "limit 5"])
def test_it_gives_what_dummy_vec_env_gives_over_thousands_of_steps(settings, limit):
    ours, theirs = native(settings, 5, **limit), dummy(settings, 5, **limit)
    rng = np.random.default_rng(1)
    ends = cut = 0
    for env in (ours, theirs):
        env.seed(7)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for ours_info, theirs_info in zip(ours.reset_infos, theirs.reset_infos, strict=True):
        assert_equal_infos(ours_info, theirs_info)
    for _ in range(600):
        actions = actions_of(rng, ours, 5)
        observations, rewards, dones, infos = ours.step(actions)
        expected = theirs.step(actions)
        for got, want in zip((observations, rewards, dones), expected[:3], strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        for got, want in zip(infos + ours.reset_infos, expected[3] + theirs.reset_infos, strict=True):
            assert_equal_infos(got, want)
        ends += int(dones.sum())
        cut += sum(info["TimeLimit.truncated"] for info in infos)
    assert ends > 300
    assert (cut > 60) if limit else (cut == 0)


@pytest.mark.parametrize("limit", [{}, {"max_episode_steps": 5}], ids=["no limit", "limit 5"])
def test_ppo_learns_the_same_parameters_on_either(settings, limit):
    def train(make):
        env = VecMonitor(make(settings, 4, **limit))
        agent = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=2, seed=3, device="cpu")
        agent.learn(3 * 4 * 32)
        return agent.policy.state_dict()

    ours, theirs = train(native), train(dummy)
    fresh = PPO("MlpPolicy", native(settings, 4), seed=3, device="cpu").policy.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not all(torch.equal(ours[name], fresh[name]) for name in fresh)


def test_the_single_environment_passes_the_checker_of_stable_baselines3(settings):
    check_env(gym.make("TextGen-v0", **settings).unwrapped)


def test_an_evaluation_callback_scores_whole_texts(settings, tmp_path):
    evaluation = make_sb3_env(n_envs=2, split="heldout", **settings)
    callback = EvalCallback(
        evaluation, n_eval_episodes=6, eval_freq=16, log_path=str(tmp_path), deterministic=False, verbose=0
    )
    PPO("MlpPolicy", make_sb3_env(n_envs=2, **settings), n_steps=16, batch_size=32, seed=0, device="cpu").learn(
        64, callback=callback
    )
    saved = np.load(tmp_path / "evaluations.npz")
    assert saved["results"].shape == (2, 6)
    assert ((saved["ep_lengths"] >= 1) & (saved["ep_lengths"] <= 8)).all()


def test_the_monitor_counts_what_was_paid_and_how_long_it_took(settings, tmp_path):
    env = make_sb3_env(n_envs=3, seed=5, monitor_dir=tmp_path / "runs" / "a", **settings)
    rng = np.random.default_rng(2)
    env.reset()
    paid, steps, episodes = np.zeros(3), np.zeros(3, int), 0
    for _ in range(100):
        _, rewards, dones, infos = env.step(actions_of(rng, env, 3))
        paid += rewards
        steps += 1
        for row in np.flatnonzero(dones):
            assert infos[row]["episode"]["r"] == pytest.approx(paid[row], rel=1e-6)
            assert infos[row]["episode"]["l"] == steps[row] == len(infos[row]["completion"])
            paid[row], steps[row], episodes = 0, 0, episodes + 1
    env.close()
    header, _, *lines = Path(tmp_path / "runs" / "a" / "monitor.csv").read_text().splitlines()
    assert "TextGen-v0" in header
    assert len(lines) == episodes > 20


def test_every_step_brings_new_arrays(settings):
    env = native(settings, 3)
    env.seed(0)
    before = env.reset()
    rng = np.random.default_rng(3)
    for _ in range(30):
        copy = before.copy()
        after, *_, infos = env.step(actions_of(rng, env, 3))
        np.testing.assert_array_equal(before, copy)
        last = [info["terminal_observation"] for info in infos if "terminal_observation" in info]
        assert not any(np.shares_memory(after, other) for other in [before, *last])
        before = after


def test_an_info_that_a_caller_changes_is_nobody_elses(settings):
    env = native(settings, 2)
    env.reset()
    *_, infos = env.step(np.array([3, 3]))
    infos[0]["episode"] = "mine"
    assert "episode" not in infos[1]
    *_, infos = env.step(np.array([3, 3]))
    assert "episode" not in infos[0]


def test_rows_are_seeded_one_by_one_and_only_once(settings):
    env, again = native(settings, 3), native(settings, 3)
    assert list(env.seed(11)) == [11, 12, 13]
    again.seed(11)
    first = env.reset()
    np.testing.assert_array_equal(first, again.reset())
    np.testing.assert_array_equal(first[1], gym.make("TextGen-v0", **settings).reset(seed=12)[0])
    seconds = [env.reset() for _ in range(3)]
    assert any((second != first).any() for second in seconds)


def test_reset_options_hold_for_one_reset_and_row_by_row(settings):
    env = native(settings, 3)
    env.set_options({"prompt_index": 4})
    same = env.reset()
    assert (same == same[0]).all()
    env.seed(0)
    env.set_options([{"prompt_index": 4}, {}, {"prompt_index": 5}])
    mixed = env.reset()
    np.testing.assert_array_equal(mixed[0], same[0])
    assert (mixed[2] != same[0]).any()
    env.seed(0)
    drawn = env.reset()
    np.testing.assert_array_equal(drawn[1], mixed[1])
    assert (drawn[0] != mixed[0]).any() and (drawn[2] != mixed[2]).any()
    env.set_options({"promt": "the cat"})
    with pytest.raises(TaskError, match="Did you mean 'prompt'"):
        env.reset()


def test_attributes_and_methods_answer_once_a_row(settings):
    env = native(settings, 3, render_mode="ansi")
    env.reset()
    assert env.render_mode == "ansi"
    assert env.get_attr("render_mode") == ["ansi"] * 3
    assert env.get_attr("gamma", indices=[0, 2]) == [1.0, 1.0]
    assert len(env.env_method("render")) == 3
    masks = env.env_method("action_masks", indices=1)
    assert len(masks) == 1 and masks[0].shape == (env.action_space.n,) and masks[0].dtype == bool
    assert env.env_is_wrapped(gym.Wrapper, indices=[0, 1]) == [False, False]
    assert env.has_attr("action_masks") and not env.has_attr("no_such_thing")
    with pytest.raises(AttributeError):
        env.get_attr("no_such_thing")
    env.set_attr("note", 1)
    assert env.get_attr("note") == [1, 1, 1]
    with pytest.raises(TaskError, match="all or none"):
        env.set_attr("note", 2, indices=0)


def test_masking_agents_find_the_masks(settings):
    masking = pytest.importorskip("sb3_contrib.common.maskable.utils")
    env = make_sb3_env(n_envs=2, **settings)
    env.reset()
    assert masking.is_masking_supported(env)
    masks = masking.get_action_masks(env)
    assert masks.shape == (2, env.action_space.n)
    assert not masks[:, :2].any() and masks[:, EOS].all()


def test_other_autoreset_modes_are_refused(settings):
    with pytest.raises(TaskError, match="autoreset_mode='SameStep'"):
        TextGenVecEnv(gym.make_vec("TextGen-v0", num_envs=2, **settings))
