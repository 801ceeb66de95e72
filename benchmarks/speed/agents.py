"""The agents that race: Stable-Baselines3's PPO on our policy, and the same PPO the obvious way."""

from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from textgym.benchmarks.speed.obvious import PaddedTransformer
from textgym.benchmarks.speed.setting import Setting

from textgym.sb3 import PPO_DEFAULTS, TransformerPolicy, make_sb3_env


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


def parameters(agent: PPO) -> int:
    """Trainable parameters of its network, without the critic's."""
    network: torch.nn.Module = getattr(agent.policy, "transformer", agent.policy)
    return sum(p.numel() for p in network.parameters())
