"""An algorithm of Stable-Baselines3 on a language model, ready to learn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from textgym.errors import CheckpointError
from textgym.models.folder import SIZES
from textgym.sb3.defaults import environment_gamma
from textgym.sb3.kl_control import check_kl_settings
from textgym.sb3.policies import TransformerPolicy

Algorithm = TypeVar("Algorithm", bound=OnPolicyAlgorithm)


def make_agent(
    algorithm: type[Algorithm],
    defaults: Mapping[str, Any],
    env: VecEnv,
    model: str | Path,
    *,
    kl_coef: float = 0.0,
    kl_target: float | None = None,
    gamma: float | None = None,
    learning_rate: float | None = None,
    policy_class: type[BasePolicy] = TransformerPolicy,
    **settings: Any,
) -> Algorithm:
    """An agent that begins as the language model `model`.

    Args:
        algorithm: an on-policy algorithm, e.g. PPO.
        defaults: its settings, e.g. PPO_DEFAULTS.
        env: from `make_sb3_env`.
        model: checkpoint folder, or the name of an architecture with random weights.
        kl_coef: beta of the per-token KL penalty against `model` as it is now, in reward units a nat.
        kl_target: KL in nats a text that beta is steered to; None leaves it at `kl_coef`.
        gamma: discount; None takes the environment's, a different one is refused.
        learning_rate: step size; None takes that of `defaults`.
        policy_class: what the algorithm acts by, e.g. `MaskableTransformerPolicy`.
        **settings: the algorithm's own (seed, device, verbose, tensorboard_log ...), before `defaults`.

    Raises:
        TaskError: a gamma that the environment does not have.
        CheckpointError: a model that does not fit the environment, or a penalty without a checkpoint to stay near.
    """
    chosen = {**defaults, "gamma": environment_gamma(env, gamma), **settings}
    if learning_rate is not None:
        chosen["learning_rate"] = learning_rate
    check_kl_settings(kl_coef, kl_target)
    if kl_coef:
        if str(model) in SIZES:
            raise CheckpointError(
                f"kl_coef={kl_coef} holds an agent near the model that it begins as; {str(model)!r} is an architecture "
                "with random weights, and nothing to stay near. Give the folder of a model, or kl_coef=0"
            )
        chosen["rollout_buffer_kwargs"] = {"kl_coef": kl_coef, "reference": str(model), "kl_target": kl_target}
    return algorithm(policy_class, env, policy_kwargs={"model": model}, **chosen)
