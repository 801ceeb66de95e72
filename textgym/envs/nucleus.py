"""The likeliest tokens of a language model as a mask: the nucleus of Holtzman et al. 2020 (section 3.1).

Ramamurthy et al. 2022 (section 3.3) shrink the choice of an agent by it: what the model thinks unlikely is not tried.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from textgym.types import LanguageModel

REMEMBERED = 2**25
"""Bytes of masks that are kept: at the end of an episode its prefixes are asked for once more."""


@dataclass(frozen=True, eq=False)
class Nucleus:
    """The smallest set of tokens that has probability p under a language model, among those that are allowed.

    Args:
        model: whose probabilities. Asked for one prefix of each row at every step: an n-gram at no price worth naming,
            a neural model at that of a pass over the whole prefix.
        top_p: p, above 0 and below 1.
    """

    model: LanguageModel
    top_p: float
    _known: "OrderedDict[bytes, np.ndarray]" = field(default_factory=OrderedDict, init=False, repr=False)

    def narrowed(
        self,
        masks: Bool[np.ndarray, "B V"],
        tokens: Int32[np.ndarray, "B L"],
        lengths: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
    ) -> Bool[np.ndarray, "B V"]:
        """Of each row's allowed tokens the likeliest, (B, V); at least one where there is one."""
        bits = np.packbits(masks, axis=1)
        keys = [
            np.concatenate([[start], row[:length]]).astype(np.int32).tobytes() + own.tobytes()
            for row, length, start, own in zip(tokens, lengths.tolist(), starts.tolist(), bits, strict=True)
        ]
        new = [row for row, key in enumerate(keys) if key not in self._known]
        if new:
            prompts = [tokens[row, : starts[row] - 1] for row in new]
            completions = [tokens[row, starts[row] : lengths[row]] for row in new]
            logprobs = self.model.next_logprobs(prompts, completions)
            for row, kept in zip(new, np.packbits(likeliest(logprobs, masks[new], self.top_p), axis=1), strict=True):
                self._known[keys[row]] = kept
        found = np.stack([self._known[key] for key in keys]) if keys else bits
        self._forget(sum(map(len, keys[:1])) + bits.shape[1])
        return np.unpackbits(found, axis=1, count=masks.shape[1]).astype(bool)

    def _forget(self, size: int) -> None:
        while len(self._known) * size > REMEMBERED:
            self._known.popitem(last=False)


def likeliest(
    logprobs: Float64[np.ndarray, "B V"], masks: Bool[np.ndarray, "B V"], top_p: float
) -> Bool[np.ndarray, "B V"]:
    """The smallest set of each row's allowed tokens that has probability p among them; of equals the first ones."""
    scores = np.where(masks, logprobs, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    weights = np.where(np.isfinite(ranked), np.exp(ranked - np.where(np.isfinite(ranked[:, :1]), ranked[:, :1], 0)), 0)
    reached = weights.cumsum(axis=1)
    # A token stays while those before it have less than p.
    stays = reached - weights < top_p * reached[:, -1:]
    kept = np.zeros(masks.shape, bool)
    np.put_along_axis(kept, order, stays, axis=1)
    kept &= masks
    return kept
