"""The one transition function: (tokens, lengths, starts, actions) -> (tokens, lengths, reason).

Pure and batched. The single environment is one row of it, the vector environment is all rows. Letters: B = rows,
L = observation length = longest prompt + 1 separator + budget.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int8, Int32, Int64

PADDING = -1
"""What fills an observation beyond its prefix; no id is taken from the vocabulary for it."""

LIVE, STOP, LENGTH, RULE = 0, 1, 2, 3
"""Why an episode is over: not at all, EOS was chosen, the budget is spent, the stop rule fired."""

FINISH_REASONS = ("live", "stop", "length", "rule")
"""The same in words, as `info["finish_reason"]` gives them."""

StopRule = Callable[
    [Int32[np.ndarray, "B L"], Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]], Bool[np.ndarray, " B"]
]
"""(tokens, lengths, starts) -> (B,) True where a text is finished. Row i depends on row i alone."""


@dataclass(frozen=True)
class Rules:
    """What a transition needs to know of a task.

    Attributes:
        vocab_size: V.
        eos_id: the action that ends a text; it counts in the budget.
        sep_id: the id that stands once between prompt and completion.
        budget: tokens a completion may have, EOS included (max_new_tokens).
        observation_length: L.
        stop_rule: ends a text beside EOS and budget; None for no such rule.
    """

    vocab_size: int
    eos_id: int
    sep_id: int
    budget: int
    observation_length: int
    stop_rule: StopRule | None = None


def step(
    rules: Rules,
    tokens: Int32[np.ndarray, "B L"],
    lengths: Int64[np.ndarray, " B"],
    starts: Int64[np.ndarray, " B"],
    actions: Int64[np.ndarray, " B"],
) -> tuple[Int32[np.ndarray, "B L"], Int64[np.ndarray, " B"], Int8[np.ndarray, " B"]]:
    """Appends one token to each of B live rows.

    Args:
        rules: the task's rules.
        tokens: (B, L) prefixes, left-aligned, -1 beyond their end.
        lengths: (B,) tokens in each prefix, prompt and separator included.
        starts: (B,) where each completion begins, behind the separator.
        actions: (B,) ids in 0..V-1.

    Returns:
        (tokens, lengths, reason), new arrays all: SB3 stores the observation of a step after the next one.
        reason is LIVE, STOP, LENGTH or RULE; where several apply, EOS goes before the rule, the rule before the budget.
    """
    tokens = tokens.copy()
    tokens[np.arange(len(tokens)), lengths] = actions
    lengths = lengths + 1
    reason = LENGTH * (lengths - starts >= rules.budget).astype(np.int8)
    if rules.stop_rule is not None:
        reason[rules.stop_rule(tokens, lengths, starts)] = RULE
    reason[actions == rules.eos_id] = STOP
    return tokens, lengths, reason


def step_row(
    rules: Rules, tokens: Int32[np.ndarray, " L"], length: int, start: int, action: int
) -> tuple[Int32[np.ndarray, " L"], int, int]:
    """`step` for one row in Python integers: the same answer, without the price of arrays of one element."""
    tokens = tokens.copy()
    tokens[length] = action
    length += 1
    if action == rules.eos_id:
        return tokens, length, STOP
    if rules.stop_rule is not None and rules.stop_rule(tokens[None], np.array([length]), np.array([start]))[0]:
        return tokens, length, RULE
    return tokens, length, LENGTH if length - start >= rules.budget else LIVE


def begin(rules: Rules, prompt: Int32[np.ndarray, " T"]) -> Int32[np.ndarray, " L"]:
    """The first observation (L,) of an episode: prompt, separator, padding."""
    tokens = np.full(rules.observation_length, PADDING, np.int32)
    tokens[: len(prompt)] = prompt
    tokens[len(prompt)] = rules.sep_id
    return tokens
