"""`DualAscent`: multipliers that a training moves, logs, saves and goes on with."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from textgym.envs.tasks import make_task
from textgym.errors import TaskError
from textgym.models.checkpoint import save_checkpoint
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3 import PPO_DEFAULTS, DualAscent, RewardLog, TrainingCheckpoint, TransformerPolicy, make_sb3_env, resume
from textgym.sb3.dual_ascent import bound_rewards
from textgym.scorers.constrained import multiplier_state

STEPS, ROWS = 12, 6
ROLLOUT = STEPS * ROWS
TERM = "lagrangian(1 - repetition(n=1), 0.4, rate=0.5)"
REWARD = f"distinct(n=2) + {TERM}"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=10)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "banned": banned}
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(task.tokenizer.vocab_size, task.observation_length, **shape))
    path = tmp_path_factory.mktemp("models") / "start"
    save_checkpoint(path, model, task.tokenizer)
    return str(path)


@pytest.fixture
def make(task, folder):
    def agent(reward=REWARD, rows=ROWS, **settings):
        env = make_sb3_env("TextGen-v0", n_envs=rows, seed=5, task=task, reward=reward)
        given = dict(PPO_DEFAULTS, n_steps=STEPS, batch_size=rows * STEPS // 2, n_epochs=2, learning_rate=1e-3)
        given |= {"policy_kwargs": {"model": folder}, "seed": 0, "device": "cpu", **settings}
        return PPO(TransformerPolicy, env, **given)

    return agent


class Stop(BaseCallback):
    """Stops a training in the middle of a rollout, as a kill does."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def _on_step(self):
        if self.num_timesteps >= self.tokens:
            raise ZeroDivisionError
        return True


def prices(agent):
    (bound,) = bound_rewards(agent.env)
    return multiplier_state(bound)


def rows_of(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "tokens/per_second"} for row in rows]


def test_each_rollout_moves_the_price_by_the_mean_of_its_episodes(make, tmp_path):
    agent, path = make(), tmp_path / "metrics.jsonl"
    agent.learn(4 * ROLLOUT, callback=[DualAscent(), RewardLog(path)])
    rows, due = rows_of(path), 0.0
    assert len(rows) == 4
    for row in rows:
        assert row["lagrangian/1 - repetition(n=1)"] == pytest.approx(due), "what the rollout was paid with"
        mean = row["lagrangian/1 - repetition(n=1) mean"]
        assert mean == pytest.approx(1 - row["reward/repetition"])
        due = max(due + 0.5 * (mean - 0.4), 0.0)
    assert prices(agent) == {TERM: pytest.approx(due)} and due > 0


def test_a_training_that_was_killed_goes_on_to_the_same_parameters_and_prices(make, folder, tmp_path):
    def learn(agent, path, tokens, stop=10**9, **options):
        log = RewardLog(path / "metrics.jsonl", reference=folder)
        callbacks = [DualAscent(), log, TrainingCheckpoint(path / "ckpt"), Stop(stop)]
        agent.learn(tokens, callback=callbacks, **options)
        return agent

    whole = learn(make(), tmp_path / "whole", 5 * ROLLOUT)
    with pytest.raises(ZeroDivisionError):
        learn(make(), tmp_path / "killed", 5 * ROLLOUT, stop=3 * ROLLOUT + 17)
    torch.manual_seed(99), np.random.seed(99)
    again = make()
    left = resume(again, tmp_path / "killed" / "ckpt", metrics=tmp_path / "killed" / "metrics.jsonl")
    assert prices(again)[TERM] > 0, "the price came with the environment's state"
    learn(again, tmp_path / "killed", left, reset_num_timesteps=False)
    assert prices(again) == prices(whole)
    for name, value in whole.policy.state_dict().items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(again.policy.state_dict()[name], value, rtol=0, atol=0)
    assert rows_of(tmp_path / "killed" / "metrics.jsonl") == rows_of(tmp_path / "whole" / "metrics.jsonl")


def test_a_rollout_in_which_no_episode_ends_moves_nothing(make):
    agent = make(reward="lagrangian(length, 3)", n_steps=2, batch_size=12)
    agent.learn(12, callback=DualAscent())
    assert prices(agent) == {"lagrangian(length, 3)": 0.0}


def test_a_reward_without_such_a_term_has_nothing_to_move(make):
    with pytest.raises(TaskError, match="has no lagrangian"):
        make(reward="distinct").learn(ROLLOUT, callback=DualAscent())


@pytest.mark.filterwarnings("error:nothing moves the multiplier")
def test_a_price_that_nothing_moves_is_warned_of(make):
    with pytest.raises(Warning, match="nothing moves the multiplier of lagrangian"):
        make().learn(ROLLOUT, callback=RewardLog())
    make().learn(ROLLOUT, callback=[DualAscent(), RewardLog()])


def test_the_rewards_of_single_environments_share_their_price(task, folder):
    env = DummyVecEnv([lambda: gym.make("TextGen-v0", task=task, reward="length + lagrangian(length, 3)")] * 3)
    agent = PPO("MlpPolicy", env, n_steps=12, batch_size=12, device="cpu", seed=0)
    agent.learn(72, callback=DualAscent())
    states = [multiplier_state(bound) for bound in bound_rewards(env)]
    assert len(states) == 3 and states[0] == states[1] == states[2] and states[0]["lagrangian(length, 3)"] > 0


@pytest.mark.slow
def test_ppo_brings_the_mean_to_the_target_from_above(make, tmp_path):
    path = tmp_path / "metrics.jsonl"
    slowly = {"learning_rate": 3e-3, "n_epochs": 4, "ent_coef": 0.3, "normalize_advantage": False}
    agent = make("0.5*length + lagrangian(length, 6, rate=0.01)", rows=32, **slowly)
    agent.learn(120 * STEPS * 32, callback=[DualAscent(), RewardLog(path)])
    mean = np.array([row["lagrangian/length mean"] for row in rows_of(path)])
    price = np.array([row["lagrangian/length"] for row in rows_of(path)])
    assert mean[:20].min() > 8 and mean[:20].mean() > 9, "length pays, and costs nothing at first"
    assert mean[-40:].mean() == pytest.approx(6, abs=0.5)
    assert price[-40:].mean() == pytest.approx(0.6, abs=0.1) and np.ptp(price[-40:]) < 0.15
