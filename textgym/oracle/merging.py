"""Prefixes that are one: the reward's machine is in the same state, so what can still be earned is the same."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from textgym.envs.episodes import Episodes
from textgym.errors import TaskError
from textgym.worlds.micro import Machine, MachineScorer

Rows = Int64[np.ndarray, " K"]
Merged = Int64[np.ndarray, " M"]


@dataclass(frozen=True)
class Merger:
    """Which prefixes of a level are one.

    Attributes:
        machine: the reward's.
        vocab_size: V.
        last_token: keep prefixes apart whose last tokens differ, which a bigram reference looks at.
    """

    machine: Machine
    vocab_size: int
    last_token: bool = False

    @classmethod
    def of(cls, episodes: Episodes, last_token: bool = False) -> "Merger":
        """That of a task's reward, paid token by token.

        Raises:
            TaskError: the reward is no machine, or what may come next depends on more than its state.
        """
        scorer = episodes.reward.bound.scorer
        if not isinstance(scorer, MachineScorer):
            raise TaskError(
                f"merge=True needs a reward that is a machine, as those of micro worlds are; {str(scorer)!r} is none"
            )
        if episodes.constraints or episodes.rules.stop_rule is not None:
            raise TaskError("merge=True: what a constraint or a stop rule does depends on more than the reward's state")
        tokenizer = episodes.task.tokenizer
        return cls(scorer.machine(tokenizer), tokenizer.vocab_size, last_token)

    @property
    def states(self) -> int:
        """The most prefixes of a level, for each prompt."""
        return self.machine.states * (self.vocab_size if self.last_token else 1)

    def begin(self, prompts: int) -> Rows:
        """States of the empty completions."""
        return np.full(prompts, self.machine.start)

    def step(self, states: Rows, prompts: Rows, tokens: Rows) -> tuple[Merged, Merged, Rows]:
        """One token each for K prefixes.

        Returns:
            The states of the M <= K prefixes that are left, which of the K those are, and for each of the K which of
            the M it is one with.
        """
        after, _ = self.machine.step(states, tokens)
        keys = prompts * self.machine.states + after
        if self.last_token:
            keys = keys * self.vocab_size + tokens
        _, chosen, numbers = np.unique(keys, return_index=True, return_inverse=True)
        return after[chosen], chosen, numbers
