"""What the oracle takes as a policy: any function from prefixes to log-probabilities of the next token."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from textgym.errors import TaskError
from textgym.oracle.bellman import log_sum_exp
from textgym.oracle.prefixes import PrefixTree
from textgym.types import LanguageModel, TokenIds, Tokenizer

ASKED_AT_ONCE = 8192
"""Prefixes that a policy is asked for in one call."""

TOLERANCE = 1e-5
"""What a policy may put on forbidden actions, and by how much its probabilities may miss a sum of 1."""


@dataclass(frozen=True, eq=False)
class Prefixes:
    """B unfinished texts that a policy is asked for.

    Attributes:
        tokens: (B, L) as observations: prompt, separator, completion so far, then -1.
        lengths: (B,) tokens in each.
        starts: (B,) where each completion begins.
        masks: (B, V) which actions there are.
        tokenizer: what the ids mean.
    """

    tokens: Int32[np.ndarray, "B L"]
    lengths: Int64[np.ndarray, " B"]
    starts: Int64[np.ndarray, " B"]
    masks: Bool[np.ndarray, "B V"]
    tokenizer: Tokenizer

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def prompts(self) -> list[TokenIds]:
        """Ids of the prompts, without separator."""
        return [row[: start - 1] for row, start in zip(self.tokens, self.starts.tolist(), strict=True)]

    @property
    def completions(self) -> list[TokenIds]:
        """Ids of the completions so far."""
        spans = zip(self.tokens, self.starts.tolist(), self.lengths.tolist(), strict=True)
        return [row[start:length] for row, start, length in spans]


Policy = Callable[[Prefixes], Float64[np.ndarray, "B V"]]
"""(B prefixes) -> natural log-probabilities (B, V) of the next token; -inf is allowed."""


def uniform(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
    """Every action that the mask allows is as likely."""
    with np.errstate(divide="ignore"):
        logs: Float64[np.ndarray, "B V"] = np.log(prefixes.masks / prefixes.masks.sum(axis=1, keepdims=True))
    return logs


def language_model(model: LanguageModel) -> Policy:
    """A language model as a policy: its distribution given that the next token is one that the mask allows."""

    def policy(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
        return conditioned(model.next_logprobs(prefixes.prompts, prefixes.completions), prefixes.masks)

    return policy


def tabular(table: Mapping[Sequence[int], Sequence[float] | Float64[np.ndarray, " V"]]) -> Policy:
    """A policy written down: completion so far, a tuple of ids -> probabilities (V,) of the next token.

    Raises, when it is asked:
        TaskError: a completion that the table lacks.
    """

    def policy(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
        rows = []
        for completion in prefixes.completions:
            key = tuple(completion.tolist())
            if key not in table:
                raise TaskError(f"the table says nothing of {prefixes.tokenizer.decode(completion)!r}, ids {key}")
            rows.append(np.asarray(table[key], dtype=np.float64))
        with np.errstate(divide="ignore"):
            return np.log(np.array(rows))

    return policy


def looked_up(tree: PrefixTree, logprobs: Float64[np.ndarray, "N V"]) -> Policy:
    """A policy by the log-probabilities (N, V) at the prefixes of a tree."""

    def policy(prefixes: Prefixes) -> Float64[np.ndarray, "B V"]:
        found: Float64[np.ndarray, "B V"] = logprobs[tree.find(prefixes.tokens, prefixes.lengths)]
        return found

    return policy


def conditioned(logs: Float64[np.ndarray, "B V"], masks: Bool[np.ndarray, "B V"]) -> Float64[np.ndarray, "B V"]:
    """Log-probabilities given that the action is one that the mask allows; unnormalised ones may come in."""
    allowed = np.where(masks, logs, -np.inf)
    if (lost := ~np.isfinite(allowed.max(axis=1))).any():
        raise TaskError(f"a policy gives no probability to any action that is allowed, in row {int(np.argmax(lost))}")
    conditional: Float64[np.ndarray, "B V"] = allowed - log_sum_exp(allowed)[:, None]
    return conditional


def ask(policy: Policy, tree: PrefixTree) -> Float64[np.ndarray, "N V"]:
    """Log-probabilities (N, V) of a policy at every prefix, -inf where there is no such action.

    Raises:
        TaskError: another shape, NaN, probabilities that do not sum to 1, or a share of them on forbidden actions,
            which the oracle does not play; or prefixes that are merged, between which a policy may tell.
    """
    if tree.merged and policy is not uniform:
        raise TaskError(
            "a policy looks at whole prefixes, and here those in one state are merged: solve with merge=False"
        )
    parts = []
    for begin in range(0, len(tree), ASKED_AT_ONCE):
        rows = slice(begin, begin + ASKED_AT_ONCE)
        asked = _asked(tree, rows)
        parts.append(_checked(np.asarray(policy(asked), dtype=np.float64), asked))
    return np.concatenate(parts)


def _asked(tree: PrefixTree, rows: slice) -> Prefixes:
    """Copies: a policy may do with them what it likes."""
    tokenizer = tree.episodes.task.tokenizer
    return Prefixes(
        tree.tokens[rows].copy(),
        tree.lengths[rows].copy(),
        tree.starts[rows].copy(),
        tree.masks[rows].copy(),
        tokenizer,
    )


def _checked(logs: Float64[np.ndarray, "B V"], asked: Prefixes) -> Float64[np.ndarray, "B V"]:
    if logs.shape != asked.masks.shape:
        raise TaskError(f"a policy returned shape {logs.shape} for {len(asked)} prefixes: {asked.masks.shape} is due")
    with np.errstate(over="ignore"):
        chances = np.exp(logs)
    sums = chances.sum(axis=1)
    if not (np.abs(sums - 1.0) <= TOLERANCE).all():
        row = int(np.argmax(~(np.abs(sums - 1.0) <= TOLERANCE)))
        raise TaskError(
            f"a policy's probabilities sum to {sums[row]:.6g} after {_text(asked, row)!r}: it returns natural "
            "log-probabilities of the next token, (B, V)"
        )
    lost = np.where(asked.masks, 0.0, chances).sum(axis=1)
    if (lost > TOLERANCE).any():
        row = int(np.argmax(lost))
        raise TaskError(
            f"a policy puts {lost[row]:.3g} on tokens that the mask forbids after {_text(asked, row)!r}, and the "
            "oracle plays legal texts alone: give a policy that obeys the mask, or condition it on the mask "
            "(textgym.oracle.conditioned)"
        )
    return conditioned(logs, asked.masks)


def _text(asked: Prefixes, row: int) -> str:
    return asked.tokenizer.decode(asked.completions[row])
