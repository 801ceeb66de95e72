"""Best of n: draw n completions of a prompt from the policy model, write the one with the highest reward.

Stiennon et al. 2020 (arXiv:2009.01325), section 4.3 ("rejection sampling"). Nothing is learned, and yet its texts have
left the model: by log n - (n - 1) / n nats at most (Beirami et al. 2024, arXiv:2401.01879, theorem 1).
`textgym.oracle.best_of_n` has its exact law where a world is small enough.

Letters: N texts, R = N n candidates, L observation length.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int8
from stable_baselines3.common.vec_env import VecEnv

from textgym.envs import dynamics
from textgym.envs.episodes import OWN_PROMPT
from textgym.errors import TaskError
from textgym.models.sampling import draw
from textgym.sb3 import TransformerPolicy
from textgym.sb3.agent import needs
from textgym.sb3.planner import Lengths, Masks, PlanningAlgorithm, Tokens
from textgym.types import TokenIds

AT_ONCE = 512
"""Candidates that are written side by side, at most; those of a single text may be more."""


class BestOfN(PlanningAlgorithm):
    """Plans each text to its end: the best of n that are drawn, judged by the environment's own reward.

    A text that cannot be scored (`on_failure="mask"`) is worse than any other; of equally good ones the first is kept.
    Each line of the log says how many tokens were drawn in all, `plan/drawn`: about n times those that were written.

    Args:
        policy: class of the policy.
        env: from `make_sb3_env`.
        n: candidates of each text.
        **settings: see `PlanningAlgorithm`.

    Raises:
        TaskError: n below 1.
    """

    def __init__(self, policy: Any, env: VecEnv, *, n: int = 8, **settings: Any) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise TaskError(f"n={n!r}: the best of at least 1 text is kept")
        self.n = n
        self.drawn = 0
        super().__init__(policy, env, **settings)

    @property
    def kl_bound(self) -> float:
        """KL from the model in nats a text, at most: log n - (n - 1) / n."""
        return math.log(self.n) - (self.n - 1) / self.n

    def plan(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> list[TokenIds]:
        """The rest of each text, to its end."""
        rows = max(AT_ONCE // self.n, 1)
        parts = [slice(begin, begin + rows) for begin in range(0, len(tokens), rows)]
        return [text for part in parts for text in self._best(tokens[part], lengths[part], masks[part])]

    def _best(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> Iterator[TokenIds]:
        written, ends, reasons = self._write(*(np.repeat(each, self.n, 0) for each in (tokens, lengths, masks)))
        self.drawn += int(ends.sum() - self.n * lengths.sum())
        rewards = self._rewards(written, ends, reasons).reshape(len(tokens), self.n)
        best = np.where(np.isnan(rewards), -np.inf, rewards).argmax(1)
        for row, (begin, candidate) in enumerate(zip(lengths.tolist(), best.tolist(), strict=True)):
            place = row * self.n + candidate
            yield written[place, begin : ends[place]]

    def _write(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> tuple[Tokens, Lengths, Int8[np.ndarray, " R"]]:
        """Completes R prefixes by the policy model, within the masks; whole texts, their lengths and how they ended."""
        starts, rules = self.starts(tokens), self.episodes.rules
        reasons = np.full(len(tokens), dynamics.LIVE, np.int8)
        while (live := reasons == dynamics.LIVE).any():
            # Rows that have ended are asked too: the cache knows its rows while they are the same in number.
            logprobs = self.next_logprobs(tokens, masks)
            chosen, _ = draw(logprobs, torch.rand(len(tokens), dtype=torch.float64).to(logprobs.device))
            rows = np.flatnonzero(live)
            tokens[rows], lengths[rows], reasons[rows] = dynamics.step(
                rules, tokens[rows], lengths[rows], starts[rows], chosen.cpu().numpy()[rows]
            )
            masks = self.allowed(tokens, lengths, reasons != dynamics.LIVE)
        return tokens, lengths, reasons

    def _rewards(self, tokens: Tokens, lengths: Lengths, reasons: Int8[np.ndarray, " R"]) -> Float64[np.ndarray, " R"]:
        """What the environment pays for whole texts, whichever split their prompts are of."""
        starts, rewards = self.starts(tokens), np.zeros(len(tokens))
        places = [self._place(row[: start - 1]) for row, start in zip(tokens, starts.tolist(), strict=True)]
        for split in {split for split, _ in places}:
            rows = np.flatnonzero([split == other for other, _ in places])
            indices = np.array([places[row][1] for row in rows])
            prompts = self.episodes.task.prompts(split)
            outcome = replace(self.episodes, prompts=prompts).finish(
                tokens[rows], lengths[rows], starts[rows], indices, reasons[rows]
            )
            rewards[rows] = outcome.rewards
        return rewards

    def _place(self, prompt: TokenIds) -> tuple[str, int]:
        """The split and index of a prompt, where its references are; its first, if it stands there more than once."""
        if not self._places:
            for split in ("heldout", "train"):
                prompts = self.episodes.task.prompts(split)
                for index in reversed(range(len(prompts))):
                    self._places[prompts.prompt(index).tobytes()] = (split, index)
        return self._places.get(prompt.tobytes(), ("train", OWN_PROMPT))

    def _setup_model(self) -> None:
        super()._setup_model()
        self._places: dict[bytes, tuple[str, int]] = {}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_places"]

    def figures(self) -> dict[str, float]:
        """How many tokens were drawn in all."""
        return {"plan/drawn": self.drawn}

    def state_dict(self) -> dict[str, Any]:
        """As in the base class, with the number of tokens that were drawn."""
        return {**super().state_dict(), "drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` of such an agent gave."""
        super().load_state_dict(state)
        self.drawn = int(state["drawn"])


@needs(autoreset=False)  # else rows begin one by one, and each would be planned alone
def build(
    env: VecEnv,
    model: str | Path,
    *,
    n: int = 8,
    n_steps: int = 64,
    seed: int | None = None,
    device: str = "auto",
    temperature: float = 1.0,
) -> BestOfN:
    """The best of `n` completions by the language model `model`.

    Args:
        env: from `make_sb3_env`; its reward is the judge.
        model: checkpoint folder, or the name of an architecture with random weights.
        n: candidates of each text.
        n_steps: steps in each row from one line of the log to the next.
        seed: of what is drawn.
        device: where the network is.
        temperature: of the language model.
    """
    # Never by CUDA graph: how many texts are planned together changes, and a graph is made for one number.
    policy = {"model": model, "cuda_graph": False, **({} if temperature == 1 else {"temperature": temperature})}
    return BestOfN(TransformerPolicy, env, n=n, n_steps=n_steps, policy_kwargs=policy, seed=seed, device=device)
