"""PPO (Schulman et al. 2017): Stable-Baselines3's own, with settings that suit text."""

from pathlib import Path

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from textgym.sb3 import PPO_DEFAULTS, TransformerPolicy
from textgym.sb3.defaults import environment_gamma


def build(
    env: VecEnv,
    model: str | Path,
    *,
    kl_coef: float = 0.0,
    gamma: float | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    device: str | torch.device = "cpu",
    verbose: int = 0,
    tensorboard_log: str | None = None,
) -> PPO:
    """A PPO agent that begins as the language model `model`.

    Args:
        env: from `make_sb3_env`.
        model: checkpoint folder, or the name of an architecture with random weights.
        kl_coef: beta of the per-token KL penalty against `model` as it is now, in reward units a nat.
        gamma: discount; None takes the environment's, a different one is refused.
        learning_rate: step size; None takes that of `PPO_DEFAULTS`.
        seed: of weights, actions and environment.
        device: where the network lives.
        verbose: 1 prints Stable-Baselines3's table.
        tensorboard_log: folder for TensorBoard.

    Raises:
        TaskError: a gamma that the environment does not have.
        CheckpointError: a model that does not fit the environment, or a penalty without a checkpoint to stay near.
    """
    settings = {**PPO_DEFAULTS, "gamma": environment_gamma(env, gamma)}
    if learning_rate is not None:
        settings["learning_rate"] = learning_rate
    return PPO(
        TransformerPolicy,
        env,
        policy_kwargs={"model": model},
        rollout_buffer_kwargs={"kl_coef": kl_coef, "reference": str(model)} if kl_coef else None,
        seed=seed,
        device=device,
        verbose=verbose,
        tensorboard_log=tensorboard_log,
        **settings,
    )
