"""Episode segments: what a rollout holds once each prefix is stored only once.

A segment is a run of steps of one row within one rollout: the prefix at its first step, then one token a step.
Its observations need not be stored, since observation t is the prefix plus the first t actions; and one causal
pass over the segment scores all of its steps.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from textgym.models.causal_network import CausalNetwork
from textgym.sb3.regulariser import Regulariser

GROUPS = (1, 2, 4)
"""Into how many groups of like length segments may be parted, so that little of a pass is padding."""

PASS = 40
"""What one more pass costs, in positions: small matrix products are slower ones."""


@dataclass(frozen=True)
class Segments:
    """S segments with N steps together; steps are ordered by segment, then by time.

    Attributes:
        tokens: (S, L) prefix, then the actions taken; left-aligned, padded with 0.
        first: (S,) length of the prefix at the first step.
        steps: (S,) number of steps.
        regulariser: what is added to the objective of each step, for `evaluate_actions`; None for the entropy alone.
    """

    tokens: Int[Tensor, "S L"]
    first: Int[Tensor, " S"]
    steps: Int[Tensor, " S"]
    regulariser: Regulariser | None = None

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

    def prefixes(self) -> Int[Tensor, "N L"]:
        """What each step saw, as an observation: the tokens up to its position, -1 beyond."""
        columns = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return self.tokens[self.row].masked_fill(columns > self.position[:, None], -1)


def hidden_states(network: CausalNetwork, segments: Segments) -> Float[Tensor, "N C"]:
    """The hidden state that chose the action of each step, in the order of the steps; with gradient.

    Segments of like length share a pass: where texts end early, most of one padded pass would be padding.
    """
    device = segments.tokens.device
    # The last action is an output, never an input. Shapes depend on the lengths: from a GPU they come once.
    lengths = (segments.first + segments.steps - 1).cpu()
    begins, states, made = torch.empty_like(lengths), [], 0
    for rows in _groups(lengths):
        tokens = segments.tokens[rows.to(device), : int(lengths[rows].max())]
        begins[rows] = made + torch.arange(len(rows)) * tokens.shape[1]
        states.append(network(tokens).flatten(0, 1))
        made += tokens.numel()
    # Not by plain indexing, whose gradient takes five times as long.
    return torch.cat(states).index_select(0, begins.to(device)[segments.row] + segments.position)


def _groups(lengths: Int[Tensor, " S"]) -> tuple[Tensor, ...]:
    """The segments in groups of like length, in as many as cost the least."""
    order = lengths.argsort()
    partings = [lengths[order].tensor_split(min(count, len(lengths))) for count in GROUPS]
    prices = [sum(len(group) * int(group[-1]) + PASS for group in parting) for parting in partings]
    return order.tensor_split(len(partings[prices.index(min(prices))]))
