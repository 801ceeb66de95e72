"""Causal language models of Hugging Face (GPT-2 and its like) for scorers.

Letters: B rows, T tokens of the longest completion, V vocabulary, N tokens of the model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64

from textgym.errors import CheckpointError, TextGymError
from textgym.models.hf_files import Saved, is_bidirectional, open_saved
from textgym.models.hf_logits import batches, logits_at, logprobs_at, longest_input, padded, windows
from textgym.models.hf_tokens import ModelTokens
from textgym.models.memo import Memo
from textgym.text.hugging_face import HuggingFaceTokenizer, open_hugging_face
from textgym.types import LanguageModel, TokenIds, Tokenizer

LOWEST_LOGPROB = -30.0
"""What a token gets that the model does not have, such as a separator of the task's."""

KEPT = 2**22
"""Numbers that are kept of rows that were asked for before: 32 MiB."""

Told = tuple[Float64[np.ndarray, " _"], Int64[np.ndarray, " _"]]
"""Log-probabilities of the tokens of a completion, and where each ends."""


class CausalLM:
    """Satisfies `textgym.types.TextLanguageModel`.

    A text begins behind the model's beginning-of-text token, or its end-of-text token where it has no other. A text
    that is longer than the model reads is read in windows that overlap by half, so that every token is predicted from
    half a window at least.

    Args:
        saved: where the model lies.

    Raises:
        CheckpointError: it cannot be read, or is no causal language model.
    """

    tolerance = 1e-5
    """Float rounding depends on which rows share a batch: equal calls differ by at most so much (nats)."""

    def __init__(self, saved: Saved) -> None:
        from transformers import AutoModelForCausalLM

        _check_kind(saved)
        self.saved, self.tokens = saved, ModelTokens(saved)
        self.network = saved.network(AutoModelForCausalLM, "predict the next token")
        self.longest = longest_input(self.network, self.tokens.longest)
        known, size = self.tokens.known, self.network.config.vocab_size
        ends = [known[role] for role in ("bos", "eos") if known.get(role, size) < size]
        if not ends:
            raise CheckpointError(
                f"the tokenizer of {saved.name!r} names no beginning and no end of text that the model has, so that no "
                "text can begin or end: set bos_token and eos_token in its tokenizer_config.json"
            )
        self.bos_id, self.eos_id = ends[0], ends[-1]
        self.pad_id = known.get("pad", 0)
        self._memo: Memo[Told] = Memo(KEPT, _size)

    @property
    def signature(self) -> str:
        """Kind and content hash."""
        return f"hf-causal:{self.saved.hash}"

    def text_logprobs(self, prompts: Sequence[str], completions: Sequence[str], ended: Sequence[bool]) -> list[Told]:
        """As `TextLanguageModel` has it; rows that were asked for lately are not computed again."""
        keys = list(zip(prompts, completions, map(bool, ended), strict=True))
        return self._memo.values(keys, lambda missing: self._read([keys[place] for place in missing]))

    def _read(self, rows: Sequence[tuple[str, str, bool]]) -> list[Told]:
        cuts = self.tokens.cut([prompt for prompt, _, _ in rows], [text for _, text, _ in rows])
        closed = [ended or cut.first == len(cut.ids) for cut, (_, _, ended) in zip(cuts, rows, strict=True)]
        ids = [[self.bos_id, *cut.ids, *[self.eos_id] * end] for cut, end in zip(cuts, closed, strict=True)]
        found = self.ids_logprobs(ids, [cut.first + 1 for cut in cuts])
        ends = [
            np.append(cut.ends[cut.first :], [len(text) + 1] * end).astype(np.int64)
            for cut, end, (_, text, _) in zip(cuts, closed, rows, strict=True)
        ]
        return list(zip(found, ends, strict=True))

    @torch.inference_mode()
    def ids_logprobs(self, rows: Sequence[Sequence[int]], firsts: Sequence[int]) -> list[Float64[np.ndarray, " _"]]:
        """Log-probabilities, in nats, of the ids of each row from `firsts` on, each given those before it."""
        found = [np.zeros(len(row) - first) for row, first in zip(rows, firsts, strict=True)]
        parts = [
            (row, *part)
            for row, (ids, first) in enumerate(zip(rows, firsts, strict=True))
            for part in windows(len(ids) - 1, self.longest, first)
        ]
        lengths, chosen = [end - begin for _, begin, end, _ in parts], [end - first + 1 for _, _, end, first in parts]
        for batch in batches(self.network, lengths, chosen):
            some = [parts[i] for i in batch]
            inputs, within = padded([rows[row][begin:end] for row, begin, end, _ in some], self.pad_id, self._device)
            places = [
                (i, t - 1 - begin) for i, (_, begin, end, first) in enumerate(some) for t in range(first, end + 1)
            ]
            wanted = [rows[row][t] for row, _, end, first in some for t in range(first, end + 1)]
            told = logprobs_at(
                self.network, _columns(places), wanted, input_ids=inputs, attention_mask=within, use_cache=False
            )
            cuts = np.cumsum([end - first + 1 for _, _, end, first in some])[:-1]
            for (row, _, end, first), values in zip(some, np.split(told, cuts), strict=True):
                found[row][first - firsts[row] : end + 1 - firsts[row]] = values
        return found

    @torch.inference_mode()
    def next_logits(self, rows: Sequence[Sequence[int]]) -> list[Float64[np.ndarray, " _"]]:
        """Logits of what comes behind the ids of each row."""
        rows = [row[-self.longest :] if self.longest else row for row in rows]
        found: list[Float64[np.ndarray, " _"]] = [np.zeros(0)] * len(rows)
        for batch in batches(self.network, [len(row) for row in rows], [1] * len(rows)):
            some = [rows[i] for i in batch]
            inputs, within = padded(some, self.pad_id, self._device)
            places = _columns([(i, len(row) - 1) for i, row in enumerate(some)])
            logits = logits_at(self.network, places, input_ids=inputs, attention_mask=within, use_cache=False)
            for place, row in zip(batch, logits.double().cpu().numpy(), strict=True):
                found[place] = row
        return found

    def over(self, tokenizer: Tokenizer) -> LanguageModel | None:
        """The same model over the ids of a tokenizer that is its own; None if they are another's."""
        if not isinstance(tokenizer, HuggingFaceTokenizer):
            return None
        try:
            own = open_hugging_face(self.saved.folder)
        except TextGymError:  # it loses something, so no task has it
            return None
        same = own.definition == tokenizer.definition and own.eos_id == tokenizer.eos_id == self.eos_id
        return CausalLMOverIds(self, tokenizer) if same else None

    @property
    def _device(self) -> torch.device:
        found: torch.device = self.network.device
        return found


class CausalLMOverIds:
    """A `CausalLM` for a task whose tokens are its own: satisfies `textgym.types.LanguageModel`.

    Args:
        model: the model.
        tokenizer: the task's. Its EOS is the model's end of text, and its ids that the model lacks are never said.
    """

    tolerance = CausalLM.tolerance

    def __init__(self, model: CausalLM, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._known = int(model.network.config.vocab_size)
        self._memo: Memo[Float64[np.ndarray, " _"]] = Memo(KEPT, lambda row: len(row) + 8)

    @property
    def vocab_size(self) -> int:
        """V, of model or tokenizer, whichever has more."""
        return max(self._known, self._tokenizer.vocab_size)

    @property
    def signature(self) -> str:
        """Kind and content hash."""
        return f"{self._model.signature} over ids"

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        """Gives log p(completion_t | prompt, completion_<t) in nats, (B, T), 0 beyond a row's end."""
        rows = [(prompt.tobytes(), ids.tobytes()) for prompt, ids in zip(prompts, completions, strict=True)]
        found = self._memo.values(
            rows, lambda missing: self._read([prompts[i] for i in missing], [completions[i] for i in missing])
        )
        result = np.zeros((len(rows), max(map(len, completions), default=0)))
        for row, values in zip(result, found, strict=True):
            row[: len(values)] = values
        return result

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        """Gives log p(. | prompt, completion) in nats, (B, V); exponentials sum to 1."""
        rows = [self._row(prompt, ids) for prompt, ids in zip(prompts, completions, strict=True)]
        result = np.full((len(rows), self.vocab_size), LOWEST_LOGPROB)
        for row, logits in zip(result, self._model.next_logits(rows), strict=True):
            row[: self._known] = np.maximum(logits - np.logaddexp.reduce(logits), LOWEST_LOGPROB)
        return result

    def _read(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> list[Float64[np.ndarray, " _"]]:
        rows = [self._row(prompt, ids) for prompt, ids in zip(prompts, completions, strict=True)]
        found = self._model.ids_logprobs(rows, [1 + len(prompt) for prompt in prompts])
        return [
            np.where(ids < self._known, np.maximum(row, LOWEST_LOGPROB), LOWEST_LOGPROB)
            for row, ids in zip(found, completions, strict=True)
        ]

    def _row(self, prompt: TokenIds, completion: TokenIds) -> list[int]:
        ids = np.concatenate([prompt, completion])
        return [self._model.bos_id, *np.where(ids < self._known, ids, self._model.eos_id).tolist()]


def load(name: str) -> CausalLM:
    """The causal language model of a folder, or of a name on the hub.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: there is no such model, or it is of another kind.
    """
    return CausalLM(open_saved(name))


def _check_kind(saved: Saved) -> None:
    """A masked model would load as a causal one, and say nonsense."""
    if is_bidirectional(saved.config):
        raise CheckpointError(
            f"{saved.name} is a {saved.config.model_type} model, which reads both sides of a token and gives a text no "
            f"probability: write pseudo_fluency(model='hf:{saved.name}')"
        )


def _columns(places: Sequence[tuple[int, int]]) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    rows, columns = np.array(places, dtype=np.int64).reshape(-1, 2).T
    return rows, columns


def _size(row: Told) -> int:
    return 2 * len(row[0]) + 8
