"""A training that was stopped and went on ends as one that was not, bit for bit, whatever the algorithm."""

import random

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

pytest.importorskip("sb3_contrib", reason="TRPO, MaskablePPO and NLPO: pip install 'textgym[contrib]'")
from sb3_contrib import QRDQN
from textgym.agents import (
    a2c,
    dqn,
    expert_iteration,
    grpo,
    maskable_ppo,
    nlpo,
    ppo,
    reinforce,
    rloo,
    trpo,
)

import textgym
from textgym.errors import CheckpointError
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.sb3 import TrainingCheckpoint, TransformerExtractor, make_sb3_env, resume
from textgym.sb3.checkpoints import saved_tokens
from textgym.sb3.training_state import training_state

ROWS, STEPS = 8, 5
ROLLOUT = ROWS * STEPS
TOTAL = 6 * ROLLOUT
ON_POLICY = {"n_steps": STEPS, "learning_rate": 3e-3}
PPO = {**ON_POLICY, "batch_size": 20, "n_epochs": 2}
OFF_POLICY = {"buffer_size": 96, "learning_starts": 30, "train_freq": 1, "gradient_steps": 1, "batch_size": 8}
OFF_POLICY |= {"target_update_interval": 16, "exploration_fraction": 0.8}
KL = {"kl_coef": 0.1, "kl_target": 1.0}


def plain(algorithm, **more):
    """An off-policy algorithm of Stable-Baselines3 as it is, with its own replay buffer."""

    def build(env, model, **settings):
        kwargs = {**TransformerExtractor.policy_kwargs("tiny"), **more}
        return algorithm("MlpPolicy", env, policy_kwargs=kwargs, **settings)

    return build


BUILDERS = {
    "ppo": (ppo.build, {**PPO, **KL}),
    "a2c": (a2c.build, {**ON_POLICY, **KL}),
    "trpo": (trpo.build, {**ON_POLICY, "batch_size": ROLLOUT, "n_critic_updates": 2, "cg_max_steps": 3, **KL}),
    "maskable_ppo": (maskable_ppo.build, {**PPO, **KL}),
    "nlpo": (nlpo.build, {**PPO, **KL, "top_p": 0.9, "target_update": 2}),
    "reinforce": (reinforce.build, {"learning_rate": 3e-3, "baseline": "value", **KL}),
    "rloo": (rloo.build, {"learning_rate": 3e-3, "kl_coef": 0.1, "kl_in": "loss"}),
    "grpo": (grpo.build, {"learning_rate": 3e-3, "batch_size": 16, "kl_coef": 0.1, "kl_in": "loss"}),
    "expert_iteration": (expert_iteration.build, {"learning_rate": 3e-3, "batch_size": 16}),
    "dqn": (dqn.build, OFF_POLICY),
    "DQN": (plain(DQN), OFF_POLICY),
    "QRDQN": (plain(QRDQN, n_quantiles=5), OFF_POLICY),
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task():
    return textgym.micro("bigram", vocab_size=5, horizon=4)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "start"
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=(0, 1))
    save_checkpoint(path, model, task.tokenizer)
    return str(path)


@pytest.fixture
def make(task, folder):
    def agent(name, **changed):
        build, settings = BUILDERS[name]
        constraint = {"min_new_tokens": 2} if name in ("maskable_ppo", "nlpo", "dqn") else None
        needed = {**getattr(build, "environment", {}), "constraint": constraint}
        env = make_sb3_env(n_envs=ROWS, task=task, seed=5, **needed)
        return build(env, folder, seed=0, device="cpu", **{**settings, **changed})

    return agent


class Curriculum(BaseCallback):
    """A callback with a state of its own, which a training depends on: it pushes the critic, each time further."""

    def __init__(self):
        super().__init__()
        self.level = 0

    def _on_training_start(self):
        self.level = 0

    def _on_rollout_end(self):
        self.level += 1
        with torch.no_grad():
            self.model.policy.value_head.bias += 1e-3 * self.level

    def _on_step(self):
        return True

    def state_dict(self):
        return {"level": self.level}

    def load_state_dict(self, state):
        self.level = state["level"]


class StopAt(BaseCallback):
    """Stops a training as a kill does."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def _on_step(self):
        if self.num_timesteps >= self.tokens:
            raise ZeroDivisionError
        return True


def learn(agent, path, tokens=TOTAL, stop=10**9, callbacks=(), **options):
    agent.learn(tokens, callback=[*callbacks, TrainingCheckpoint(path), StopAt(stop)], **options)
    return agent


def go_on(agent, path, **options):
    torch.manual_seed(99), np.random.seed(99), random.seed(99)
    return learn(agent, path, resume(agent, path), reset_num_timesteps=False, **options)


def stopped(agent, path, stop, **options):
    with pytest.raises(ZeroDivisionError):
        learn(agent, path, stop=stop, **options)


def same(ours, theirs, path=""):
    """Every leaf of two states is the same, bit for bit."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), path
        for key in ours.keys() - {"t", "log", "python", "_num_timesteps_at_start"}:
            same(ours[key], theirs[key], f"{path}/{key}")
    elif isinstance(ours, torch.Tensor | np.ndarray):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=ours.dtype != bool), path
    else:
        assert str(ours) == str(theirs), path


@pytest.mark.parametrize("name", BUILDERS)
def test_a_training_that_was_stopped_twice_ends_as_one_that_was_not(make, tmp_path, name):
    whole = training_state(learn(make(name), tmp_path / "whole"))
    stopped(make(name), tmp_path / "two", 2 * ROLLOUT + 17)
    with pytest.raises(ZeroDivisionError):
        go_on(make(name), tmp_path / "two", stop=5 * ROLLOUT)
    assert 2 * ROLLOUT < saved_tokens(tmp_path / "two") < 5 * ROLLOUT
    agent = go_on(make(name), tmp_path / "two")
    assert agent.num_timesteps >= TOTAL and agent._n_updates > 3
    same(training_state(agent), whole)


def test_the_state_of_an_algorithm_and_of_a_replay_buffer_is_part_of_it(make, tmp_path):
    agent = learn(make("nlpo", target_update=100), tmp_path / "nlpo")
    state = training_state(agent)
    assert state["algorithm"]["rollouts"] == 6
    weights = [state[where]["transformer.wte.weight"] for where in ("policy",)]
    assert not torch.equal(state["algorithm"]["mask_policy"]["transformer.wte.weight"], weights[0])
    replay = training_state(learn(make("dqn"), tmp_path / "dqn"))["buffer"]
    assert replay["full"] and replay["columns"]["actions"].shape == (12, ROWS, 1)
    assert "next_observations" not in replay["columns"]


def test_a_replay_buffer_that_is_not_full_is_saved_as_far_as_it_is(make, tmp_path):
    agent = make("dqn", buffer_size=80_000)
    agent.learn(ROLLOUT, callback=TrainingCheckpoint(tmp_path))
    assert (tmp_path / f"{ROLLOUT:012d}.safetensors").stat().st_size < 3e6
    again = make("dqn", buffer_size=80_000)
    assert resume(again, tmp_path) == 0
    assert again.replay_buffer.pos == STEPS and not again.replay_buffer.full


def test_off_policy_a_checkpoint_is_due_after_an_eighth_of_the_replay_buffer(make, tmp_path):
    written = []

    class Look(TrainingCheckpoint):
        def _save(self):
            before = saved_tokens(self.path)
            super()._save()
            written.append(saved_tokens(self.path)) if saved_tokens(self.path) != before else None

    make("dqn", buffer_size=640).learn(TOTAL, callback=Look(tmp_path / "one"))
    assert written == [0, 80, 160, 240]
    written.clear()
    make("dqn", buffer_size=640).learn(TOTAL, callback=Look(tmp_path / "two", every=2))
    assert written == [0, 160, 240]


@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_the_state_of_a_callback_goes_with_the_training(make, tmp_path, first):
    def run(path, stop=10**9):
        agent, checkpoint = make("ppo"), TrainingCheckpoint(path)
        left = resume(agent, path) if path.exists() else TOTAL
        both = [Curriculum(), checkpoint] if first else [checkpoint, Curriculum()]
        agent.learn(left, callback=[*both, StopAt(stop)], reset_num_timesteps=left == TOTAL)
        return training_state(agent)

    whole = run(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "two", stop=3 * ROLLOUT + 7)
    same(run(tmp_path / "two"), whole)


def test_a_callback_that_had_a_state_must_be_there_again(make, tmp_path):
    stopped(make("ppo"), tmp_path, 2 * ROLLOUT + 1, callbacks=[Curriculum()])
    with pytest.raises(CheckpointError, match="had a callback Curriculum 0 with a state of its own"):
        go_on(make("ppo"), tmp_path)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("nlpo", {"top_p": 0.5}, r"top_p 0\.9, this agent has 0\.5"),
        ("trpo", {"cg_max_steps": 4}, "cg_max_steps 3, this agent has 4"),
        ("dqn", {"train_freq": 2}, "train_freq 1 step, this agent has 2 step"),
        ("dqn", {"buffer_size": 160}, "buffer_size 96, this agent has 160"),
    ],
)
def test_a_training_with_other_settings_is_refused_by_name(make, tmp_path, name, changed, said):
    stopped(make(name), tmp_path, 2 * ROLLOUT + 1)
    with pytest.raises(CheckpointError, match=said):
        resume(make(name, **changed), tmp_path)
