"""The uniform policy: every token that may come next is as likely. What regret is measured from; nothing is learned."""

from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from textgym.models.masks import forbid
from textgym.models.sampling import draw
from textgym.sb3.planner import Lengths, Masks, ModellessPolicy, PlanningAlgorithm, Tokens
from textgym.types import TokenIds


class Random(PlanningAlgorithm):
    """Draws uniformly from what the environment's mask allows: V_uniform of the oracle."""

    def plan(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> list[TokenIds]:
        """One token each, drawn anew however often the prefix comes."""
        allowed = torch.as_tensor(masks)
        chosen, _ = draw(forbid(torch.zeros(masks.shape), allowed), torch.rand(len(masks), dtype=torch.float64))
        return [np.array([token], np.int32) for token in chosen.numpy()]


def build(
    env: VecEnv, model: str | Path | None = None, *, n_steps: int = 64, seed: int | None = None, device: str = "auto"
) -> Random:
    """The uniform policy.

    Args:
        env: from `make_sb3_env`.
        model: is not looked at; there is no language model in this agent.
        n_steps: steps in each row from one line of the log to the next.
        seed: of what is drawn.
        device: is not used beside the seeding of its generator.
    """
    return Random(ModellessPolicy, env, n_steps=n_steps, seed=seed, device=device)
