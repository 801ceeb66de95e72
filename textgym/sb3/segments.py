"""Episode segments: what a rollout holds once each prefix is stored only once.

A segment is a run of steps of one row within one rollout: the prefix at its first step, then one token a step.
Its observations need not be stored, since observation t is the prefix plus the first t actions; and one causal
pass over the segment scores all of its steps.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Segments:
    """S segments with N steps together; steps are ordered by segment, then by time.

    Attributes:
        tokens: (S, L) prefix, then the actions taken; left-aligned, padded with 0.
        first: (S,) length of the prefix at the first step.
        steps: (S,) number of steps.
    """

    tokens: Int[Tensor, "S L"]
    first: Int[Tensor, " S"]
    steps: Int[Tensor, " S"]

    @cached_property
    def row(self) -> Int[Tensor, " N"]:
        """Which segment each step belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.steps), device=self.steps.device), self.steps)

    @cached_property
    def step(self) -> Int[Tensor, " N"]:
        """Which step of its segment each step is, from 0."""
        before = torch.cumsum(self.steps, 0) - self.steps
        return torch.arange(len(self.row), device=self.row.device) - before[self.row]

    @cached_property
    def position(self) -> Int[Tensor, " N"]:
        """The position whose hidden state chose the action of each step: the last token of the prefix."""
        return self.first[self.row] + self.step - 1

    @cached_property
    def actions(self) -> Int[Tensor, " N"]:
        """The token chosen in each step."""
        return self.tokens[self.row, self.position + 1]
