"""Settings that suit text, and warnings at those that do not.

Stable-Baselines3's own defaults are meant for control: gamma 0.99 pays a reward at the end of 64 tokens 0.53 times,
and so rewards short texts; 2,048 steps of 64 rows are 131,072 tokens before the first update; a minibatch of 64
holds one episode.
"""

from inspect import signature
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import VecEnv

from textgym.errors import TaskError
from textgym.sb3.buffers import EpisodeRolloutBuffer
from textgym.scorers.constrained import multipliers


class TextGymWarning(UserWarning):
    """A setting that runs, and does not do what one would think."""


PPO_DEFAULTS: dict[str, Any] = {
    "gamma": 1.0,  # a text is worth its score however long it is
    "gae_lambda": 1.0,  # the whole return: at 0.95 a reward 63 tokens ahead weighs 0.04 until the critic has learned
    "n_steps": 64,  # the default budget: every row ends about one episode a rollout
    "batch_size": 1024,  # tokens: 16 whole episodes or more
    "n_epochs": 4,  # times each rollout is used; more leaves the clip range and pays in KL
    "learning_rate": 1e-4,  # a third of the default: the weights are good already
    "clip_range": 0.2,  # PPO's own (Schulman et al. 2017, section 6.1)
    "ent_coef": 0.0,  # a language model has entropy to spare; a bonus only makes noise
    "vf_coef": 0.5,  # PPO's own: the critic does not train the trunk (see `value_head`)
    "max_grad_norm": 1.0,  # usual for Transformers
    "rollout_buffer_class": EpisodeRolloutBuffer,  # one causal pass an episode, observations stored once
}
"""Keyword arguments for PPO: `PPO(TransformerPolicy, env, policy_kwargs={"model": ...}, **PPO_DEFAULTS)`."""

A2C_DEFAULTS: dict[str, Any] = {
    "gamma": 1.0,  # as for PPO
    "gae_lambda": 1.0,  # as for PPO
    "n_steps": 64,  # as for PPO; A2C's own 5 would cut every text into a dozen rollouts
    "learning_rate": 3e-4,  # one update a rollout where PPO makes sixteen
    "normalize_advantage": True,  # the step does not depend on the unit of the reward
    "use_rms_prop": False,  # the policy's own Adam, with which the weights were made; RMSProp has no warm-up
    "ent_coef": 0.0,  # as for PPO
    "vf_coef": 0.1,  # the critic shares the clipped norm of the gradient with the policy
    "max_grad_norm": 1.0,  # as for PPO
    "rollout_buffer_class": EpisodeRolloutBuffer,  # as for PPO
}
"""Keyword arguments for A2C, used in the same way."""


def environment_gamma(env: VecEnv, gamma: float | None = None) -> float:
    """The discount an agent in this environment must use.

    Args:
        env: the environment; one that names no `gamma` counts as 1.
        gamma: what the agent would use; None takes the environment's.

    Raises:
        TaskError: they differ: what shaped delivery pays telescopes only under the environment's own.
    """
    own = float(attribute_of(env, "gamma", 1.0))
    if gamma is not None and gamma != own:
        raise TaskError(
            f"the agent's gamma={gamma} differs from the environment's gamma={own}: give both the same, "
            f"make_sb3_env(..., gamma={gamma}) or gamma={own} for the agent"
        )
    return own


def check_settings(algorithm: BaseAlgorithm) -> list[str]:
    """What a person should know of these settings before training; empty where all is well.

    Args:
        algorithm: a PPO, A2C or any other algorithm of Stable-Baselines3 on a TextGym environment.

    Returns:
        One text a finding: what was found, what it does, what to do.
    """
    checks = (_discount, _minibatch, _buffer, _constraint, _weights, _prices, _loss)
    return [warning for warning in (check(algorithm) for check in checks) if warning]


def _prices(algorithm: BaseAlgorithm) -> str | None:
    bound = getattr(attribute_of(algorithm.env, "reward", None), "bound", None)
    still = [] if bound is None else [text for text, price in multipliers(bound).items() if not price.steered]
    if not still:
        return None
    return (
        f"nothing moves the multiplier of {still[0]}, so that the constraint costs nothing, or always the same: give "
        "learn(callback=[DualAscent(), ...]), before RewardLog"
    )


def _loss(algorithm: BaseAlgorithm) -> str | None:
    buffer, ent_coef = getattr(algorithm, "rollout_buffer", None), getattr(algorithm, "ent_coef", None)
    if not getattr(buffer, "kl_coef", 0) or getattr(buffer, "kl_in", "reward") != "loss" or ent_coef == 1:
        return None
    return (
        f"the KL is in the loss and ent_coef={ent_coef}: the buffer hands entropy bonus and KL on as one, so that both "
        "count so many times. Give ent_coef=1 to the algorithm, and the entropy's own to rollout_buffer_kwargs"
    )


def _discount(algorithm: BaseAlgorithm) -> str | None:
    budget, gamma = _budget(algorithm), float(getattr(algorithm, "gamma", 1.0))
    if budget is None or gamma >= 1 or _delivery(algorithm) != "terminal":
        return None
    return (
        f"gamma={gamma:g} with terminal delivery: the reward of a text of {budget} tokens counts "
        f"{gamma ** (budget - 1):.2f} times at its first token, so short texts win. Use gamma=1.0 (PPO_DEFAULTS)"
    )


def _minibatch(algorithm: BaseAlgorithm) -> str | None:
    budget, batch_size = _budget(algorithm), getattr(algorithm, "batch_size", None)
    if budget is None or batch_size is None or batch_size >= budget or not _on_policy(algorithm):
        return None
    return (
        f"batch_size={batch_size} counts tokens and is smaller than one episode of {budget}: each update sees part "
        "of a text, and its advantages are normalised among themselves. Use some episodes' worth (PPO_DEFAULTS: 1024)"
    )


def _buffer(algorithm: BaseAlgorithm) -> str | None:
    buffer = getattr(algorithm, "rollout_buffer", None)
    if not _transformer(algorithm) or not _on_policy(algorithm) or isinstance(buffer, EpisodeRolloutBuffer):
        return None
    assert isinstance(buffer, RolloutBuffer)
    masks = int(getattr(buffer, "mask_dims", 0))
    better = ("MaskableEpisodeRolloutBuffer", "MASKABLE_PPO") if masks else ("EpisodeRolloutBuffer", "PPO")
    size = buffer.buffer_size * buffer.n_envs * (int(buffer.obs_shape[0]) + masks) * 4 / 2**20
    return (
        f"{type(buffer).__name__} stores the whole prefix{' and mask' * bool(masks)} of every step ({size:,.1f} MiB) "
        "and scores each by itself, dozens of times slower than whole episodes at once. "
        f"Use rollout_buffer_class={better[0]} ({better[1]}_DEFAULTS)"
    )


def _constraint(algorithm: BaseAlgorithm) -> str | None:
    episodes = attribute_of(algorithm.get_env(), "episodes", None)
    if not getattr(episodes, "constraints", ()) or "action_masks" in signature(algorithm.predict).parameters:
        return None
    return (
        f"the environment has a constraint, and {type(algorithm).__name__} looks at no masks: tokens that it forbids "
        "are chosen all the same, and counted in info['illegal_actions']. Use MaskablePPO of sb3-contrib "
        "(MaskableTransformerPolicy, MASKABLE_PPO_DEFAULTS)"
    )


def _weights(algorithm: BaseAlgorithm) -> str | None:
    # `_n_updates` is private, but the only word on whether this agent has learned anything yet.
    if not _transformer(algorithm) or getattr(algorithm.policy, "trained", True) or algorithm._n_updates:
        return None
    return (
        "the policy starts from random weights: its first texts are noise, which a reward can hardly tell apart. "
        "Pretrain a model (textgym pretrain) and name its folder: policy_kwargs={'model': 'runs/a/model'}"
    )


def _budget(algorithm: BaseAlgorithm) -> int | None:
    """Tokens a completion may have; None in an environment that is not one of ours."""
    episodes = attribute_of(algorithm.get_env(), "episodes", None)
    return None if episodes is None else int(episodes.rules.budget)


def _delivery(algorithm: BaseAlgorithm) -> str:
    return str(
        getattr(getattr(attribute_of(algorithm.get_env(), "episodes", None), "delivery", None), "kind", "terminal")
    )


def _on_policy(algorithm: BaseAlgorithm) -> bool:
    return isinstance(getattr(algorithm, "rollout_buffer", None), RolloutBuffer)


def _transformer(algorithm: BaseAlgorithm) -> bool:
    return hasattr(algorithm.policy, "transformer")


def attribute_of(env: VecEnv | None, name: str, otherwise: Any) -> Any:
    """An attribute of the environment; wrappers and foreign environments may not have it."""
    try:
        return otherwise if env is None else env.get_attr(name)[0]
    except AttributeError:
        return otherwise
