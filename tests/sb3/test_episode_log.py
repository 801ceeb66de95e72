"""The texts of training, written down as they end."""

import json

import gymnasium as gym
import pytest
from stable_baselines3 import PPO

from textgym.errors import TaskError
from textgym.sb3 import PPO_DEFAULTS, EpisodeLog, TransformerPolicy, make_sb3_env
from textgym.text.rollouts import read_rollouts

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 16}


@pytest.fixture(scope="module")
def trained(tiny_corpus, tmp_path_factory):
    """A short training that was logged whole, and one in three."""
    folder = tmp_path_factory.mktemp("episodes")
    env = make_sb3_env(
        n_envs=4, corpus=str(tiny_corpus), tokenizer="word", max_new_tokens=6, reward="distinct - repetition(n=1)"
    )
    settings = dict(PPO_DEFAULTS, batch_size=32, n_steps=16, policy_kwargs={"model": TINY})
    agent = PPO(TransformerPolicy, env, seed=0, device="cpu", **settings)
    agent.learn(128, callback=[EpisodeLog(folder / "all.jsonl"), EpisodeLog(folder / "third.jsonl", every=3)])
    return folder, env


def test_every_episode_is_written_with_what_it_earned(trained):
    folder, env = trained
    rows = list(read_rollouts(folder / "all.jsonl"))
    assert len(rows) >= 128 // 6 - 4
    assert {row.phase for row in rows} == {"train"}
    assert sorted({row.step for row in rows}) == [64, 128]
    task = env.get_attr("task")[0] if hasattr(env, "get_attr") else env.task
    assert all(row.prompt for row in rows)
    for row in rows:
        assert row.reward == pytest.approx(row.rewards["distinct"] - row.rewards["repetition"], abs=1e-6)
        assert len(task.tokenizer.encode(row.completion)) <= 6


def test_one_in_so_many_is_written(trained):
    folder, _ = trained
    whole = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
    third = [json.loads(line) for line in (folder / "third.jsonl").read_text().splitlines()]
    assert third == whole[::3]


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(TaskError, match="every=0"):
        EpisodeLog(tmp_path / "a.jsonl", every=0)
    agent = PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=8, batch_size=8, device="cpu")
    with pytest.raises(TaskError, match="has no task"):
        agent.learn(8, callback=EpisodeLog(tmp_path / "a.jsonl"))


def test_a_file_that_cannot_be_written_is_said(tiny_corpus, tmp_path):
    (tmp_path / "file").write_text("")
    env = make_sb3_env(n_envs=2, corpus=str(tiny_corpus), tokenizer="word", max_new_tokens=2, reward="distinct")
    settings = dict(PPO_DEFAULTS, batch_size=8, n_steps=8, policy_kwargs={"model": TINY})
    agent = PPO(TransformerPolicy, env, seed=0, device="cpu", **settings)
    with pytest.raises(TaskError, match="cannot be written"):
        agent.learn(16, callback=EpisodeLog(tmp_path / "file" / "a.jsonl"))
