"""An algorithm of Stable-Baselines3 on a language model, ready to learn; and what an agent asks of its environment."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from textgym.errors import CheckpointError
from textgym.models.folder import SIZES
from textgym.sb3.defaults import environment_gamma
from textgym.sb3.kl_control import check_kl_settings
from textgym.sb3.policies import TransformerPolicy

Algorithm = TypeVar("Algorithm", bound=OnPolicyAlgorithm)
Builder = TypeVar("Builder", bound=Callable[..., Any])


def needs(**settings: Any) -> Callable[[Builder], Builder]:
    """Decorates the builder of an agent that needs its environment made with these settings of `make_sb3_env`.

    `textgym train` makes it so; they stand in the builder's attribute `environment`.

    Args:
        **settings: e.g. ``group_size=8, autoreset=False``; what a user gives goes before them.
    """

    def keep(builder: Builder) -> Builder:
        builder.environment = settings  # type: ignore[attr-defined]
        return builder

    return keep


def make_agent(
    algorithm: type[Algorithm],
    defaults: Mapping[str, Any],
    env: VecEnv,
    model: str | Path,
    *,
    kl_coef: float = 0.0,
    kl_target: float | None = None,
    kl_in: str | None = None,
    kl_estimator: str | None = None,
    temperature: float = 1.0,
    gamma: float | None = None,
    learning_rate: float | None = None,
    policy_class: type[Any] = TransformerPolicy,
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
        kl_in: where the KL is paid, in the "reward" or in the "loss"; None for the reward, or what `defaults` say.
        kl_estimator: of the KL in the loss: "k1", "k2", "k3" or "full" (see `textgym.sb3.regulariser`); None for "k3",
            or what `defaults` say.
        temperature: of the policy, and of its reference.
        gamma: discount; None takes the environment's, a different one is refused.
        learning_rate: step size; None takes that of `defaults`.
        policy_class: what the algorithm acts by, e.g. `MaskableTransformerPolicy`.
        **settings: the algorithm's own (seed, device, verbose, tensorboard_log ...), before `defaults`; `policy_kwargs`
            and `rollout_buffer_kwargs` are added to what is set here.

    Raises:
        TaskError: a gamma that the environment does not have.
        CheckpointError: a model that does not fit the environment, or a penalty without a checkpoint to stay near.
    """
    chosen = {**defaults, "gamma": environment_gamma(env, gamma), **settings}
    if learning_rate is not None:
        chosen["learning_rate"] = learning_rate
    usual, estimator = chosen.pop("kl_in", "reward"), chosen.pop("kl_estimator", None)
    place = kl_in or usual
    estimator = kl_estimator or (estimator if place == usual else None)  # what is usual there does not go elsewhere
    check_kl_settings(kl_coef, kl_target, kl_in=place, kl_estimator=estimator if kl_coef else None)
    policy = {"model": model, **({} if temperature == 1 else {"temperature": temperature})}
    buffer: dict[str, Any] = {}
    if kl_coef:
        if str(model) in SIZES:
            raise CheckpointError(
                f"kl_coef={kl_coef} holds an agent near the model that it begins as; {str(model)!r} is an architecture "
                "with random weights, and nothing to stay near. Give the folder of a model, or kl_coef=0"
            )
        buffer = {"kl_coef": kl_coef, "reference": str(model), "kl_target": kl_target}
        if temperature != 1:
            buffer["temperature"] = temperature
        if place == "loss":
            # The buffer hands both terms on, as what the algorithm takes for the entropy: see `EpisodeRolloutBuffer`.
            buffer |= {"kl_in": place, "kl_estimator": estimator, "ent_coef": chosen.get("ent_coef", 0.0)}
            chosen["ent_coef"] = 1.0
    policy |= chosen.pop("policy_kwargs", {})
    buffer |= chosen.pop("rollout_buffer_kwargs", {})
    chosen |= {"policy_kwargs": policy, "rollout_buffer_kwargs": buffer or None}
    return algorithm(policy_class, env, **chosen)
