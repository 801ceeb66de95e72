"""The agents that race: SB3's PPO on our policy, the same PPO the obvious way, and all others that learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from textgym.benchmarks.speed.obvious import PaddedTransformer
from textgym.benchmarks.speed.setting import Setting

from textgym.runs.agents import agent_builder
from textgym.sb3 import PPO_DEFAULTS, TransformerPolicy, make_sb3_env
from textgym.scorers.base import Scorer
from textgym.types import Scores, TextBatch

LEARNERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "PPO": ("ppo", ("n_steps", "batch_size", "n_epochs")),
    "A2C": ("a2c", ("n_steps",)),
    "REINFORCE": ("reinforce", ()),
    "RLOO": ("rloo", ()),
    "GRPO": ("grpo", ("batch_size", "n_epochs")),
    "GRPO, one epoch": ("grpo", ("batch_size",)),
    "expert iteration": ("expert_iteration", ("batch_size", "n_epochs")),
    "MaskablePPO": ("maskable_ppo", ("n_steps", "batch_size", "n_epochs")),
    "NLPO": ("nlpo", ("n_steps", "batch_size", "n_epochs")),
    "TRPO": ("trpo", ("n_steps", "batch_size")),
}
"""Agents that learn while they write, by what they are called: entry point, and what the setting decides of them."""


@dataclass(frozen=True)
class FirstToken(Scorer):
    """The first token's id over V: costs nothing, and differs between texts, as the reward that TRL is given here.

    Args:
        vocabulary: V.
    """

    vocabulary: int = 1

    def score(self, batch: TextBatch) -> Scores:
        """In [0, 1)."""
        return Scores(np.array([ids[0] / self.vocabulary for ids in batch.completions]))


def learner(setting: Setting, name: str) -> OnPolicyAlgorithm:
    """One of `LEARNERS`, one completion a row and rollout, without a KL penalty, as TRL has none by default.

    Args:
        setting: the shapes; the settings of optimization that it does not have are the agent's own.
        name: of the agent.
    """
    agent, decided = LEARNERS[name]
    build: Any = agent_builder(agent)
    shapes = {"n_steps": setting.max_new_tokens, "batch_size": setting.batch_size, "n_epochs": setting.epochs}
    if name.endswith("one epoch"):
        shapes, decided = shapes | {"n_epochs": 1}, (*decided, "n_epochs")
    needed: Mapping[str, Any] = getattr(build, "environment", {})
    reward = FirstToken(setting.vocab_size)
    env = make_sb3_env(n_envs=setting.rows, seed=setting.seed, task=setting.task(), reward=reward, **needed)
    chosen = {key: shapes[key] for key in decided}
    made: OnPolicyAlgorithm = build(env, setting.policy_model, seed=setting.seed, device="cpu", **chosen)
    return made


def textgym_agent(
    setting: Setting,
    task: Any = None,
    reward: Any = "length",
    device: str = "cpu",
    dtype: str = "float32",
    cuda_graph: bool = True,
) -> PPO:
    """PPO with `TransformerPolicy` and `EpisodeRolloutBuffer`, one completion a row and rollout.

    Args:
        setting: the shapes.
        task: another task than the setting's own; then EOS may be said.
        reward: the setting's own costs nothing; None is the task's default.
        device: of the network.
        dtype: in which it runs.
        cuda_graph: whether it decodes by CUDA graph, on a CUDA device.
    """
    model = setting.architecture if task is not None else setting.policy_model
    env = make_sb3_env("TextGen-v0", n_envs=setting.rows, seed=setting.seed, task=task or setting.task(), reward=reward)
    settings = PPO_DEFAULTS | {
        "n_steps": setting.max_new_tokens,
        "batch_size": setting.batch_size,
        "n_epochs": setting.epochs,
    }
    network = {"model": model, "dtype": dtype, "cuda_graph": cuda_graph}
    return PPO(TransformerPolicy, env, policy_kwargs=network, seed=setting.seed, device=device, **settings)


def obvious_agent(setting: Setting, steps: int) -> PPO:
    """PPO with the padded Transformer and the default buffer, in the same environment.

    Its cost a token does not depend on the length of its rollouts, so short ones will do.

    Args:
        setting: the shapes.
        steps: of a rollout.
    """
    env = make_sb3_env("TextGen-v0", n_envs=setting.rows, seed=setting.seed, task=setting.task(), reward="length")
    return PPO(
        "MlpPolicy",
        env,
        n_steps=steps,
        batch_size=min(setting.batch_size, steps * setting.rows),
        n_epochs=setting.epochs,
        gamma=1.0,
        policy_kwargs={
            "features_extractor_class": PaddedTransformer,
            "features_extractor_kwargs": {"vocab_size": setting.vocab_size, **setting.architecture},
            "net_arch": [],
        },
        seed=setting.seed,
        device="cpu",
    )


class RolloutClock(BaseCallback):
    """Seconds spent in rollouts.

    Attributes:
        clock: the stopwatch.
        seconds: so far.
    """

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self._began = 0.0

    def _on_rollout_start(self) -> None:
        self._began = self.clock()

    def _on_rollout_end(self) -> None:
        self.seconds += self.clock() - self._began

    def _on_step(self) -> bool:
        return True


def parameters(agent: OnPolicyAlgorithm) -> int:
    """Trainable parameters of its network, without the critic's."""
    network: torch.nn.Module = getattr(agent.policy, "transformer", agent.policy)
    return sum(p.numel() for p in network.parameters())
