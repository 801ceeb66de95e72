"""BERT, RoBERTa and XLNet as judges of a text: models that see both sides of a token.

A masked model scores each token with the token hidden (Salazar et al. 2020, equation 1). A word of several tokens then
gives itself away by its other tokens, so those to the right are hidden too: PLL-word-l2r (Kauf and Ivanova 2023).
XLNet gives a text a probability for every order in which its tokens may be written, the mean over some is taken (Yang
et al. 2019, equation 3); the prompt and the special tokens come first in all of them.

Letters: R rows, L tokens of the longest of them, N tokens of a completion.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64

from textgym.errors import CheckpointError
from textgym.models.hf_files import Saved, is_bidirectional, open_saved
from textgym.models.hf_logits import batches, logprobs_at, longest_input, padded, windows
from textgym.models.hf_tokens import Cut, ModelTokens
from textgym.models.memo import Memo

KEPT = 2**22
"""Numbers that are kept of rows that were asked for before: 32 MiB."""

XLNET_WINDOW = 512
"""Tokens that XLNet reads at a time, as in its training. Its positions are relative, so that nothing else ends it."""

Told = tuple[Float64[np.ndarray, " _"], Int64[np.ndarray, " _"]]
"""Values of the tokens of a completion, and where each ends."""


class PseudoLM:
    """What masked and permutation models share; satisfies `textgym.types.PseudoLanguageModel`.

    A text that is longer than the model reads is read in windows that overlap by half.

    Args:
        saved: where the model lies.

    Raises:
        CheckpointError: it cannot be read, or lacks a token that it needs.
    """

    tolerance = 1e-5
    """Float rounding depends on which rows share a batch: equal calls differ by at most so much (nats)."""

    kind = ""
    needs: tuple[str, ...] = ("cls", "sep", "mask")

    def __init__(self, saved: Saved) -> None:
        self.saved, self.tokens = saved, ModelTokens(saved)
        self.network = saved.network(self._auto(), "predict a hidden token")
        for role in self.needs:
            if role not in self.tokens.known:
                raise CheckpointError(f"the tokenizer of {saved.name!r} has no {role} token, which its model needs")
        self.pad_id = self.tokens.known.get("pad", 0)
        self._memo: Memo[Told] = Memo(KEPT, lambda told: 2 * len(told[0]) + 8)

    @property
    def signature(self) -> str:
        """Kind and content hash."""
        return f"hf-{self.kind}:{self.saved.hash}"

    def pseudo_logprobs(
        self, prompts: Sequence[str], completions: Sequence[str], *, within: str, orders: int
    ) -> list[Told]:
        """As `PseudoLanguageModel` has it; rows that were asked for lately are not computed again."""
        keys = [(prompt, text, within, orders) for prompt, text in zip(prompts, completions, strict=True)]

        def read(missing: list[int]) -> list[Told]:
            cuts = self.tokens.cut([prompts[i] for i in missing], [completions[i] for i in missing])
            values = self._read(cuts, within, orders)
            return [(row, cut.ends[cut.first :]) for row, cut in zip(values, cuts, strict=True)]

        return self._memo.values(keys, read)

    def _auto(self) -> Any:
        raise NotImplementedError

    def _read(self, cuts: Sequence[Cut], within: str, orders: int) -> list[Float64[np.ndarray, " _"]]:
        raise NotImplementedError


class _Copy(NamedTuple):
    """A text, or a window of it, with some tokens hidden."""

    row: int
    target: int
    """The token that is asked for."""
    begin: int
    end: int
    hidden: int
    """Tokens from `target` up to here are hidden."""


class MaskedLM(PseudoLM):
    """BERT, RoBERTa and whatever else hides tokens: one copy of the text for each token."""

    kind = "masked"

    def __init__(self, saved: Saved) -> None:
        super().__init__(saved)
        self.longest = longest_input(self.network, self.tokens.longest)

    def _auto(self) -> Any:
        from transformers import AutoModelForMaskedLM

        return AutoModelForMaskedLM

    @torch.inference_mode()
    def _read(self, cuts: Sequence[Cut], within: str, orders: int) -> list[Float64[np.ndarray, " _"]]:
        found = [np.zeros(len(cut.ids) - cut.first) for cut in cuts]
        copies = list(chain.from_iterable(self._copies(row, cut, within) for row, cut in enumerate(cuts)))
        lengths = [copy.end - copy.begin + 2 for copy in copies]
        cls, sep, mask = (self.tokens.known[role] for role in self.needs)
        for batch in batches(self.network, lengths, [1] * len(copies)):
            some = [copies[i] for i in batch]
            rows = []
            for row, target, begin, end, hidden in some:
                ids = cuts[row].ids
                rows.append([cls, *ids[begin:target], *[mask] * (hidden - target), *ids[hidden:end], sep])
            inputs, known = padded(rows, self.pad_id, self.network.device)
            places = (np.arange(len(some)), np.array([1 + copy.target - copy.begin for copy in some]))
            wanted = [cuts[copy.row].ids[copy.target] for copy in some]
            told = logprobs_at(self.network, places, wanted, input_ids=inputs, attention_mask=known)
            for copy, value in zip(some, told.tolist(), strict=True):
                found[copy.row][copy.target - cuts[copy.row].first] = value
        return found

    def _copies(self, row: int, cut: Cut, within: str) -> Iterator[_Copy]:
        length, room = len(cut.ids), self.longest - 2
        for target in range(cut.first, length):
            begin, end = 0, length
            if self.longest and length > room:  # the window, out of a fixed grid, in which it stands most in the middle
                step = max(room // 2, 1)
                begin = min(max(round((target - room / 2) / step), 0) * step, length - room)
                end = begin + room
            hidden = target + 1
            while within == "word_l2r" and hidden < end and cut.words[hidden] == cut.words[target] != -1:
                hidden += 1
            yield _Copy(row, target, begin, end, hidden)


class PermutationLM(PseudoLM):
    """XLNet: one copy of the text for each order, all its tokens at once."""

    kind = "permutation"
    needs = ("sep", "cls")

    def _auto(self) -> Any:
        from transformers import XLNetLMHeadModel

        return XLNetLMHeadModel

    @torch.inference_mode()
    def _read(self, cuts: Sequence[Cut], within: str, orders: int) -> list[Float64[np.ndarray, " _"]]:
        found = [np.zeros(len(cut.ids) - cut.first) for cut in cuts]
        tail = [self.tokens.known[role] for role in self.needs]
        parts = [
            (row, begin, end + 1, first, order)
            for row, cut in enumerate(cuts)
            for begin, end, first in windows(len(cut.ids) - 1, XLNET_WINDOW - 1 - len(tail), cut.first)
            for order in range(orders)
        ]
        lengths = [end - begin + len(tail) for _, begin, end, _, _ in parts]
        # The masks are square, so the longest row decides how many go together, not the tokens alone.
        chosen = [length * max(length // 64, 1) for length in lengths]
        for batch in batches(self.network, lengths, chosen):
            some = [parts[i] for i in batch]
            inputs, known = padded(
                [[*cuts[row].ids[begin:end], *tail] for row, begin, end, _, _ in some], self.pad_id, self.network.device
            )
            ranks = np.full(inputs.shape, -1)
            for rank, (_, begin, end, first, order) in zip(ranks, some, strict=True):
                rank[first - begin : end - begin] = _order(end - first, order)
            places = [(i, t - begin) for i, (_, begin, end, first, _) in enumerate(some) for t in range(first, end)]
            wanted = [cuts[row].ids[t] for row, _, end, first, _ in some for t in range(first, end)]
            told = self._told(inputs, known, ranks, places, wanted)
            cut_at = np.cumsum([end - first for _, _, end, first, _ in some])[:-1]
            for (row, _, end, first, _), values in zip(some, np.split(told, cut_at), strict=True):
                start = cuts[row].first
                found[row][first - start : end - start] += values / orders
        return found

    def _told(
        self,
        inputs: torch.Tensor,
        known: torch.Tensor,
        ranks: Int64[np.ndarray, "R L"],
        places: Sequence[tuple[int, int]],
        wanted: Sequence[int],
    ) -> Float64[np.ndarray, " N"]:
        device, (rows, columns) = self.network.device, np.array(places, dtype=np.int64).reshape(-1, 2).T
        later = torch.from_numpy((ranks[:, None, :] >= ranks[:, :, None]) & (ranks[:, None, :] >= 0)).to(device)
        everywhere = torch.eye(inputs.shape[1], device=device).expand(len(inputs), -1, -1)
        segments = torch.zeros_like(inputs)
        segments[torch.arange(len(inputs)), known.sum(1) - 1] = 2  # the segment of <cls>
        return logprobs_at(
            self.network,
            (rows, columns),
            wanted,
            input_ids=inputs,
            attention_mask=known.float(),
            token_type_ids=segments,
            perm_mask=later.float(),
            target_mapping=everywhere,
            use_mems=False,
        )


def _order(length: int, number: int) -> Int64[np.ndarray, " N"]:
    """When each of `length` tokens is written in the order of that number: the same ones for every text."""
    return np.random.default_rng([number, length]).permutation(length)


def load(name: str) -> PseudoLM:
    """The masked or permutation model of a folder, or of a name on the hub.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: there is no such model, or it is of another kind.
    """
    saved = open_saved(name)
    if not is_bidirectional(saved.config):
        raise CheckpointError(
            f"{name} is a {saved.config.model_type} model, which hides no tokens: write fluency(lm='hf:{name}')"
        )
    return PermutationLM(saved) if saved.config.model_type == "xlnet" else MaskedLM(saved)
