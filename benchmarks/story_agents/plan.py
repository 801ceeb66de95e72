"""How much is measured, and with which settings each agent learns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from textgym.benchmarks.naive_rewards.rewards import REWARDS


@dataclass(frozen=True)
class Recipe:
    """An agent as it learns here.

    Attributes:
        agent: its name.
        settings: of its builder.
        environment: of `make_sb3_env`, beside what the agent needs.
    """

    agent: str
    settings: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)


LEASH = {"kl_in": "loss", "kl_estimator": "full"}
"""The exact gradient of the KL holds back what is noise in an update; a sampled one has noise of its own."""

VECTORS = {"policy_kwargs": {"trainable": "vectors"}}
"""Biases and norms alone, 6,912 of the weights, at ten times the learning rate. Whether that is better than all weights
is not settled: docs/story-agents.md."""

RECIPES = {
    "PPO": Recipe(
        "ppo",
        # Advantages are scaled to unit variance here: 0.02 of them is about 0.002 of gold, as for the others.
        # Rollouts of 64 steps would cut most stories, and pay them what the critic thinks.
        {**LEASH, **VECTORS, "kl_coef": 0.02, "learning_rate": 1e-3, "n_epochs": 2, "n_steps": 128, "batch_size": 2048},
        # With a horizon (gae_lambda .9, .95, .98) gradients of 512 texts agree better with those of 512 others, and
        # point elsewhere: PPO then wrote longer stories with as many contradictions.
        {"delivery": "shaped"},
    ),
    "GRPO": Recipe(
        "grpo",
        {**LEASH, **VECTORS, "kl_coef": 0.002, "learning_rate": 1e-3, "n_epochs": 2, "batch_size": 2048}
        # Without the standard deviation, which makes the gradients agree to 0.21 in place of 0.26.
        | {"scale_advantages": False, "aggregate": "token_sum"},
    ),
    "RLOO": Recipe("rloo", {**LEASH, **VECTORS, "kl_coef": 0.002, "learning_rate": 3e-3, "max_grad_norm": 1.0}),
    "GRPO, all weights": Recipe(
        "grpo",
        {**LEASH, "kl_coef": 0.01, "learning_rate": 3e-4, "n_epochs": 2, "batch_size": 2048}
        | {"scale_advantages": False, "aggregate": "token_sum"},
    ),
    "expert iteration": Recipe("expert_iteration", {}),
}
"""By what they are called in tables."""

LEARNERS = ("PPO", "GRPO", "RLOO")
"""Those of which halved contradictions are asked."""

GOLD, NAIVE = "gold.quality", (*LEARNERS, "GRPO, all weights")
"""The reward of the first experiment; who learns on the others, with the same settings."""

COLLAPSES = {
    name: REWARDS[name]
    for name in (
        "sum of log p",
        "mean log p",
        "adjacent cosine",
        "mean surprisal",
        "keyword coverage",
        "distinct-2",
    )
}
"""Naive rewards by what they are called, as expressions."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        model: what all begin as, a checkpoint by folder or name.
        task: story world.
        rows: of the environment.
        tokens: that an agent writes on gold.
        naive_tokens: on a naive reward.
        looks: at how many places of a run it is looked at.
        prompts: held-out briefs of a look.
        best_of: completions of a brief that the best is picked from, for comparison.
        seeds: runs of each agent on gold.
        naive_seeds: on a naive reward.
        seed: that all seeds follow from.
    """

    model: str = "story-small"
    task: str = "story"
    rows: int = 64
    tokens: int = 200_000
    naive_tokens: int = 100_000
    looks: int = 2
    prompts: int = 200
    best_of: int = 64
    seeds: int = 5
    naive_seeds: int = 1
    seed: int = 0

    def run_seeds(self, count: int) -> list[int]:
        """Seeds of runs; far apart, since row i of an environment takes seed + i."""
        return [int(word) for word in np.random.SeedSequence(self.seed).generate_state(count) >> 1]


QUICK = Plan(rows=32, tokens=8000, naive_tokens=4000, looks=2, prompts=16, best_of=4, seeds=1)
"""Says whether it runs, not what comes out."""
