"""The agents whose regret is measured, with the settings that they learn with: the same in all worlds.

Worlds are small, and weights random: learning rates are ten to thirty times those for text, rollouts are short.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SLOW, FAST = 1e-3, 3e-3
"""Learning rates: of agents that use a rollout several times, and of those that use it once."""


@dataclass(frozen=True)
class Learner:
    """An agent with settings.

    Attributes:
        name: what it is called in the table.
        agent: its name in the entry-point group.
        settings: of its builder.
        rows: of the environment.
        decays: whether the learning rate falls to 0.
        tokens: that it may write where the others may write `regret.Plan.tokens`; None for as many.
    """

    name: str
    agent: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 128
    decays: bool = False
    tokens: int | None = None


_SEVERAL = {"learning_rate": SLOW, "batch_size": 384}
_CLIPPED = {**_SEVERAL, "n_steps": 6}


def _reinforce(name: str, reward_to_go: bool, baseline: str, tokens: int | None = None) -> Learner:
    settings = {"learning_rate": FAST, "reward_to_go": reward_to_go, "baseline": baseline}
    return Learner(f"REINFORCE, {name}", "reinforce", settings, tokens=tokens)


def _grpo(name: str, scale_advantages: bool, aggregate: str) -> Learner:
    chosen = {"scale_advantages": scale_advantages, "aggregate": aggregate}
    return Learner(f"GRPO, {name}", "grpo", {**_SEVERAL, **chosen})


LEARNERS = (
    _reinforce("no baseline", False, "none", 160_000),
    _reinforce("mean", False, "mean"),
    _reinforce("leave one out", True, "leave_one_out"),
    _reinforce("value", True, "value"),
    Learner("RLOO", "rloo", {"learning_rate": FAST}),
    _grpo("as in the paper", True, "sequence_mean"),
    _grpo("no std, token sum", False, "token_sum"),
    Learner("A2C", "a2c", {"learning_rate": FAST, "n_steps": 6}),
    Learner("PPO", "ppo", _CLIPPED),
    Learner("MaskablePPO", "maskable_ppo", _CLIPPED),
    Learner("NLPO", "nlpo", _CLIPPED),
    Learner("TRPO", "trpo", {"n_steps": 6, "batch_size": 768, "target_kl": 0.03}, tokens=100_000),
    Learner("DQN", "dqn", rows=32, tokens=40_000),
    Learner("expert iteration", "expert_iteration", {"learning_rate": FAST}),
)
"""In the order of the table."""


def _near(name: str, agent: str, rows: int = 128, **settings: Any) -> Learner:
    return Learner(name, agent, {"kl_in": "reward", "learning_rate": FAST, **settings}, rows, decays=True)


_SUMMED: dict[str, Any] = {"scale_advantages": False, "aggregate": "token_sum", "batch_size": 768}
_LONG: dict[str, Any] = {"n_steps": 48}
"""Eight times the longest text: those that the end of a rollout cuts are worth what the critic thinks they are."""

NEAR = (
    _near("REINFORCE, whole return, KL in the reward", "reinforce", reward_to_go=False),
    _near("REINFORCE, reward to go, KL in the reward", "reinforce"),
    _near("RLOO, KL in the reward", "rloo"),
    _near("GRPO, no std, KL in the reward", "grpo", **_SUMMED),
    _near("PPO, KL in the reward", "ppo", 64, learning_rate=SLOW, batch_size=768, **_LONG),
    _near("A2C, KL in the reward", "a2c", 32, **_LONG),
    _near("RLOO, KL in the loss, full", "rloo", kl_in="loss", kl_estimator="full"),
    _near("GRPO, no std, KL in the loss, full", "grpo", kl_in="loss", kl_estimator="full", **_SUMMED),
    _near("GRPO, no std, KL in the loss, k3", "grpo", kl_in="loss", kl_estimator="k3", **_SUMMED),
)
"""Agents that are held near a reference. Their optimum is random, so that noise remains unless the rate falls to 0."""

BASELINES = ("random", "greedy", "beam", "best_of_n")
"""Agents that learn nothing; they plan with the network that the others begin as."""
