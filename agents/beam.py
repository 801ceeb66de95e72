"""Beam search: the likeliest whole text under the policy model, as far as `width` prefixes at a time find it.

Lowerre 1976; the length penalty is that of Wu et al. 2016 (arXiv:1609.08144), equation 14:
score(Y) = log p(Y) / ((5 + |Y|) / 6)^alpha. As wide as there are prefixes it is exact; one beam wide it is greedy.

Letters: N texts, K beams of each, L observation length, V vocabulary.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from stable_baselines3.common.vec_env import VecEnv

from textgym.envs import dynamics
from textgym.errors import TaskError
from textgym.sb3 import TransformerPolicy
from textgym.sb3.agent import needs
from textgym.sb3.planner import Lengths, Masks, PlanningAlgorithm, Tokens
from textgym.types import TokenIds

AT_ONCE = 512
"""Prefixes that are looked at together, at most; a single text may have more beams."""


class BeamSearch(PlanningAlgorithm):
    """Plans each text to its end by beam search; nothing is learned.

    Args:
        policy: class of the policy.
        env: from `make_sb3_env`.
        width: K, how many prefixes of a text are kept at each step.
        length_penalty: alpha, 0 for the likeliest text; above 0 long texts are held up less by their length.
        **settings: see `PlanningAlgorithm`.

    Raises:
        TaskError: a width below 1, or a length penalty below 0.
    """

    def __init__(
        self, policy: Any, env: VecEnv, *, width: int = 4, length_penalty: float = 0.0, **settings: Any
    ) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise TaskError(f"width={width!r}: at least 1 prefix is kept at each step")
        if length_penalty < 0:
            raise TaskError(f"length_penalty={length_penalty}: at least 0, which is none")
        self.width, self.length_penalty = width, length_penalty
        super().__init__(policy, env, **settings)

    def plan(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> list[TokenIds]:
        """The rest of each text, to its end."""
        rows = max(AT_ONCE // self.width, 1)
        parts = [slice(begin, begin + rows) for begin in range(0, len(tokens), rows)]
        return [text for part in parts for text in self._search(tokens[part], lengths[part], masks[part])]

    def _search(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> list[TokenIds]:
        count, width, rules = len(tokens), self.width, self.episodes.rules
        starts = np.repeat(self.starts(tokens), width)
        beams, sizes = np.repeat(tokens, width, 0), np.repeat(lengths, width)
        scores = np.full((count, width), -np.inf)
        scores[:, 0] = 0.0
        best = np.full(count, -np.inf)
        found = [np.zeros(0, np.int32)] * count
        allowed = np.repeat(masks, width, 0)
        room = (self.starts(tokens) + rules.budget - lengths).astype(np.float64)  # what each text may still have
        while np.isfinite(scores).any():
            logprobs = self.next_logprobs(beams, allowed).reshape(count, width, -1)
            ranked, parents, chosen = _best_children(logprobs, scores, 2 * width)
            children = (np.arange(count)[:, None] * width + parents).ravel()
            grown, ends, reasons = dynamics.step(
                rules, beams[children], sizes[children], starts[children], chosen.ravel()
            )
            planned = (ends.reshape(count, -1) - lengths[:, None]).astype(np.float64)
            over = reasons.reshape(count, -1) != dynamics.LIVE
            final = np.where(over, ranked / self._norm(planned), -np.inf)
            final[:, width:] = -np.inf  # as many as are kept may end: one beam is greedy
            winners = final.argmax(1)
            for row in np.flatnonzero(final.max(1) > best).tolist():
                best[row] = final[row, winners[row]]
                child = row * 2 * width + winners[row]
                found[row] = grown[child, lengths[row] : ends[child]]
            going = np.where(over, -np.inf, ranked)
            kept = np.argsort(-going, axis=1, kind="stable")[:, :width]
            scores = np.take_along_axis(going, kept, 1)
            scores[best >= scores.max(1) / self._norm(room)] = -np.inf  # nothing can overtake it
            places = (np.arange(count)[:, None] * 2 * width + kept).ravel()
            live = np.isfinite(scores).ravel()
            # A beam that is not followed stands still: where it is written over, it is never looked at.
            beams = np.where(live[:, None], grown[places], beams)
            sizes = np.where(live, ends[places], sizes)
            allowed = self.allowed(beams, sizes, ~live)
        return found

    def _norm(self, length: Float64[np.ndarray, " *N"]) -> Float64[np.ndarray, " *N"]:
        normed: Float64[np.ndarray, " *N"] = ((5 + length) / 6) ** self.length_penalty
        return normed


def _best_children(
    logprobs: torch.Tensor, scores: Float64[np.ndarray, "N K"], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best of all next steps of each text, (N, count): their scores, the beam they go on from, the token."""
    totals = torch.as_tensor(scores, device=logprobs.device)[:, :, None] + logprobs
    vocabulary = totals.shape[2]
    ranked, places = (found.cpu().numpy() for found in totals.flatten(1).topk(count))
    return ranked, places // vocabulary, places % vocabulary


@needs(autoreset=False)  # else rows begin one by one, and each would be planned alone
def build(
    env: VecEnv,
    model: str | Path,
    *,
    width: int = 4,
    length_penalty: float = 0.0,
    n_steps: int = 64,
    seed: int | None = None,
    device: str = "auto",
    temperature: float = 1.0,
) -> BeamSearch:
    """Beam search under the language model `model`.

    Args:
        env: from `make_sb3_env`.
        model: checkpoint folder, or the name of an architecture with random weights.
        width: see `BeamSearch`.
        length_penalty: see `BeamSearch`.
        n_steps: steps in each row from one line of the log to the next.
        seed: of a network with random weights.
        device: where the network is.
        temperature: of the language model.
    """
    # Never by CUDA graph: how many texts are planned together changes, and a graph is made for one number.
    policy = {"model": model, "cuda_graph": False, **({} if temperature == 1 else {"temperature": temperature})}
    return BeamSearch(
        TransformerPolicy,
        env,
        width=width,
        length_penalty=length_penalty,
        n_steps=n_steps,
        policy_kwargs=policy,
        seed=seed,
        device=device,
    )
