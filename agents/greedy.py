"""Greedy decoding: the likeliest next token under the policy model, at every step. Nothing is learned."""

from pathlib import Path

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from textgym.sb3 import TransformerPolicy
from textgym.sb3.planner import Lengths, Masks, PlanningAlgorithm, Tokens
from textgym.types import TokenIds


class Greedy(PlanningAlgorithm):
    """Chooses the likeliest token that may come next; the lowest id of those that are equally likely."""

    markov = True

    def plan(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> list[TokenIds]:
        """One token each."""
        likeliest = self.next_logprobs(tokens, masks).argmax(-1).cpu().numpy()
        return [np.array([token], np.int32) for token in likeliest]


def build(
    env: VecEnv,
    model: str | Path,
    *,
    n_steps: int = 64,
    seed: int | None = None,
    device: str = "auto",
) -> Greedy:
    """Greedy decoding of the language model `model`.

    Args:
        env: from `make_sb3_env`.
        model: checkpoint folder, or the name of an architecture with random weights.
        n_steps: steps in each row from one line of the log to the next.
        seed: of a network with random weights.
        device: where the network is.
    """
    return Greedy(
        TransformerPolicy,
        env,
        n_steps=n_steps,
        policy_kwargs={"model": model},
        seed=seed,
        device=device,
    )
