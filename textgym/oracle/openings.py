"""The prompts of a split as the oracle counts them: each distinct one once, with all that its episodes may differ in.

Episodes of equal prompts look alike to an agent. Where their references or metadata differ, and the reward looks at
those, what an agent can expect is the mean.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, Int64

from textgym.envs.episodes import Episodes
from textgym.errors import TaskError
from textgym.types import TextBatch, TokenIds

SCORED_AT_ONCE = 1 << 16
"""Texts that are scored in one call."""


@dataclass(frozen=True)
class Variant:
    """What the episodes of a prompt may have beside it, and the share of them that do."""

    share: float
    references: Sequence[str]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Openings:
    """P distinct prompts.

    Attributes:
        ids: their token ids.
        first: (P,) the index of one episode of each in the split.
        weights: (P,) how likely an episode begins with each.
        variants: what the episodes of each may have beside.
        sep_id: the separator, which stands behind a prompt and nowhere else.
    """

    ids: list[TokenIds]
    first: Int64[np.ndarray, " P"]
    weights: Float64[np.ndarray, " P"]
    variants: list[list[Variant]]
    sep_id: int

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, episodes: Episodes) -> "Openings":
        """Those of a task's split."""
        prompts, tokenizer = episodes.prompts, episodes.task.tokenizer
        alike: dict[bytes, list[int]] = {}
        for index in range(len(prompts)):
            alike.setdefault(prompts.prompt(index).tobytes(), []).append(index)
        variants = []
        for indices in alike.values():
            beside: dict[str, list[Any]] = {}
            for index in indices:
                known = (prompts.references(index, tokenizer), prompts.metadata(index))
                beside.setdefault(json.dumps(known, sort_keys=True, default=repr), [0, *known])[0] += 1
            variants.append([Variant(count / len(indices), *known) for count, *known in beside.values()])
        first = np.array([indices[0] for indices in alike.values()], dtype=np.int64)
        weights = np.array([len(indices) for indices in alike.values()]) / len(prompts)
        ids = [prompts.prompt(int(index)) for index in first]
        return cls(ids, first, weights, variants, episodes.rules.sep_id)

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {ids.astype(np.int32).tobytes(): place for place, ids in enumerate(self.ids)}

    def find(self, tokens: Int32[np.ndarray, " L"], length: int) -> int:
        """Which prompt an observation begins with.

        Raises:
            TaskError: none of them.
        """
        (ends,) = np.nonzero(tokens[:length] == self.sep_id)
        if len(ends) and (place := self._places.get(tokens[: ends[0]].tobytes())) is not None:
            return place
        raise TaskError(f"the prefix {tokens[:length].tolist()} begins with no prompt of this task's split")

    def score(
        self,
        episodes: Episodes,
        tokens: Int32[np.ndarray, "K L"],
        lengths: Int64[np.ndarray, " K"],
        prompts: Int64[np.ndarray, " K"],
    ) -> Float64[np.ndarray, " K"]:
        """The expected reward of K finished texts, (K,).

        Raises:
            ScoringFailure: the reward fails on one of them.
        """
        rewards = np.zeros(len(tokens))
        counts = np.array([len(beside) for beside in self.variants])[prompts]
        for number in range(int(counts.max(initial=0))):
            rows = np.flatnonzero(counts > number)
            for part in np.split(rows, range(SCORED_AT_ONCE, len(rows), SCORED_AT_ONCE)):
                rewards[part] += self._score(episodes, tokens[part], lengths[part], prompts[part], number)
        return rewards

    def _score(
        self,
        episodes: Episodes,
        tokens: Int32[np.ndarray, "K L"],
        lengths: Int64[np.ndarray, " K"],
        prompts: Int64[np.ndarray, " K"],
        number: int,
    ) -> Float64[np.ndarray, " K"]:
        """Rewards with the variant of that number, times its share."""
        beside = [self.variants[prompt][number] for prompt in prompts.tolist()]
        starts = [len(self.ids[prompt]) + 1 for prompt in prompts.tolist()]
        batch = TextBatch(
            [self.ids[prompt] for prompt in prompts.tolist()],
            [row[start:length] for row, start, length in zip(tokens, starts, lengths.tolist(), strict=True)],
            episodes.task.tokenizer,
            [variant.references for variant in beside],
            [variant.metadata for variant in beside],
        )
        shares = np.array([variant.share for variant in beside])
        rewards: Float64[np.ndarray, " K"] = shares * episodes.reward.score(batch).values
        return rewards
