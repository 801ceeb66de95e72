"""Networks and agents as policies of the oracle: what they are worth, exactly.

solution = textgym.oracle.solve(env)
solution.regret(agent_policy(agent)), solution.regret(agent_policy(agent, deterministic=True))
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64

from textgym.errors import TaskError
from textgym.oracle import Policy, Prefixes, conditioned
from textgym.sb3.planner import PlanningAlgorithm


def agent_policy(agent: Any, *, deterministic: bool = False, masked: bool | None = None) -> Policy:
    """The policy of an agent or policy of Stable-Baselines3.

    Args:
        agent: an algorithm, or its policy: actor-critic (PPO, A2C, TRPO, MaskablePPO), or one that acts by a Q network
            (DQN, QR-DQN), which is greedy. One that narrows the mask itself, by `masks(observations, action_masks)`
            (NLPO), is taken at its word.
        deterministic: the likeliest action with probability 1, as `predict(deterministic=True)` takes it.
        masked: condition the distribution on the environment's mask, as MaskablePPO does; None does so for policies
            that take masks. What an unmasked agent plays against the mask is an error of the oracle's, which has no
            value for it.

    Raises:
        TaskError: it has neither an action distribution nor a Q network, or it plans beyond the next token.
    """
    if isinstance(agent, PlanningAlgorithm):
        return _choices(agent)
    policy = getattr(agent, "policy", agent)
    takes_masks = "action_masks" in signature(agent.predict).parameters if hasattr(agent, "predict") else False
    if hasattr(policy, "get_distribution"):
        logits, greedy = _distribution, deterministic
    elif hasattr(policy, "q_net") or hasattr(policy, "quantile_net"):
        logits, greedy = _action_values, True
    else:
        raise TaskError(f"{type(policy).__name__} has neither an action distribution nor a Q network")
    masked = takes_masks if masked is None else masked

    def logprobs(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
        found = _asked(policy, logits, prefixes)
        if masked:
            found = np.where(_masks(agent, policy, prefixes), found, -np.inf)
        if greedy:
            found = _all_on_the_likeliest(found)
        return conditioned(found, np.isfinite(found))

    return logprobs


def _choices(agent: PlanningAlgorithm) -> Policy:
    """What an agent that looks at the prefix alone chooses, with probability 1."""
    if not agent.markov:
        raise TaskError(
            f"{type(agent).__name__} plans or draws, and its next token is no function of the prefix: the oracle has "
            "textgym.oracle.uniform and Solution.best_of_n, else let it play"
        )

    def logprobs(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
        chosen, _ = agent.predict(prefixes.tokens, action_masks=prefixes.masks)
        found = np.full(prefixes.masks.shape, -np.inf)
        found[np.arange(len(found)), chosen] = 0.0
        return found

    return logprobs


def _asked(policy: Any, logits: Callable[[Any, Any], torch.Tensor], prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
    """Unnormalised log-probabilities, with the policy in the mode in which it acts."""
    training = policy.training
    policy.set_training_mode(False)
    observations, _ = policy.obs_to_tensor(_observations(policy.observation_space, prefixes))
    with torch.no_grad():
        found: Float64[np.ndarray, "B V"] = logits(policy, observations).double().cpu().numpy()
    policy.set_training_mode(training)
    return found


def _masks(agent: Any, policy: Any, prefixes: Prefixes) -> Bool[np.ndarray, "B V"]:
    if not hasattr(agent, "masks"):
        return prefixes.masks
    narrowed: Bool[np.ndarray, "B V"] = agent.masks(_observations(policy.observation_space, prefixes), prefixes.masks)
    return narrowed


def _observations(space: Any, prefixes: Prefixes) -> Any:
    """Prefixes as the environment shows them, of which there are twins."""
    if hasattr(space, "spaces"):
        return {"action_mask": prefixes.masks.astype(np.int8), "tokens": prefixes.tokens}
    return prefixes.tokens.astype(space.dtype)


def _distribution(policy: Any, observations: Any) -> torch.Tensor:
    logits: torch.Tensor = policy.get_distribution(observations).distribution.logits
    return logits


def _action_values(policy: Any, observations: Any) -> torch.Tensor:
    if hasattr(policy, "q_net"):
        values: torch.Tensor = policy.q_net(observations)
        return values
    return policy.quantile_net(observations).mean(1)  # type: ignore[no-any-return]


def _all_on_the_likeliest(logits: Float64[np.ndarray, "B V"]) -> Float64[np.ndarray, "B V"]:
    greedy = np.full(logits.shape, -np.inf)
    greedy[np.arange(len(logits)), logits.argmax(axis=1)] = 0.0
    return greedy
