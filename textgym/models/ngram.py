"""Interpolated modified Kneser-Ney n-grams: the language model that is fitted in a second and scores in microseconds.

    p_k(w | h) = (c(h w) - D(c(h w))) / c(h) + gamma(h) p_{k-1}(w | h'),    gamma(h) = sum_w D(c(h w)) / c(h)

h' is h without its first token, and p_0 = 1 / V. The longest n-grams are counted as they occur, shorter ones by how
many different tokens stand before them, except those at the beginning of a text, which nothing stands before. The
discounts D1, D2, D3+ come from the counts of counts (Kneser & Ney 1995; Chen & Goodman 1998, TR-10-98, section 3).

All n-grams live in a trie of sorted arrays: a k-gram is one integer, its (k-1)-gram's place times the number of symbols
plus its last symbol. So the state of a text is the places of its last 0, 1 .. n-1 tokens, and a token costs n look-ups.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from textgym.errors import CheckpointError, TaskError, TokenizerError
from textgym.types import Arrays, TokenIds

FORMAT = 1
"""Version of the arrays; part of them, so that an old file is refused and not misread."""

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D1, D2, D3+ where a corpus is too small to estimate them (as KenLM's --discount_fallback)."""

_Ids = Int64[np.ndarray, " _"]
_Probabilities = Float64[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class KneserNey:
    """A Kneser-Ney language model: every token has a probability above 0, and those of a context sum to 1.

    A text begins with a marker that is never predicted, so its first tokens have a context too. Order 1 is the relative
    frequency of tokens, discounted by the same rule in favour of the uniform distribution. Probabilities of a row are
    the same, bit for bit, in every batch.

    Attributes:
        vocab_size: V.
        order: length n of the longest n-grams.
        tokenizer_signature: what the ids mean; kept with the model, not interpreted.
        levels: the trie, 1-grams first.
    """

    vocab_size: int
    order: int
    tokenizer_signature: str
    levels: "tuple[_Level, ...]"

    @classmethod
    def fit(
        cls, rows: Sequence[TokenIds], *, vocab_size: int, order: int, tokenizer_signature: str = ""
    ) -> "KneserNey":
        """Counts the n-grams of texts.

        Args:
            rows: ids of each text, with EOS where the text ended by it. No token at all gives the uniform distribution.
            vocab_size: V, at least 1.
            order: length of the longest n-grams, at least 1.
            tokenizer_signature: what the ids mean.

        Raises:
            TaskError: an order or vocabulary size below 1.
            TokenizerError: an id outside 0..V-1.
        """
        if order < 1 or vocab_size < 1:
            raise TaskError(f"KneserNey: order {order} and vocab_size {vocab_size}: both must be at least 1")
        begin, symbols = vocab_size, vocab_size + 1
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        text = np.insert(_flatten(rows, vocab_size), np.cumsum(lengths) - lengths, begin)
        offset = np.arange(len(text)) - np.repeat(np.cumsum(lengths + 1) - lengths - 1, lengths + 1)

        keys: list[_Ids] = []
        counts: list[_Ids] = []
        ids = np.zeros(len(text), dtype=np.int64)
        for k in range(1, order + 1):
            whole = np.flatnonzero(offset >= k - 1)
            parents = ids[whole - 1] if k > 1 else ids[whole]
            found, ids_found, occurrences = np.unique(
                parents * symbols + text[whole], return_inverse=True, return_counts=True
            )
            if k > 1:
                suffixes = np.empty(len(found), dtype=np.int64)
                suffixes[ids_found] = ids[whole]
                before = np.bincount(suffixes, minlength=len(counts[-1]))
                counts[-1] = np.where(before > 0, before, counts[-1])
            ids = np.full(len(text), -1)
            ids[whole] = ids_found
            keys.append(found)
            counts.append(occurrences)
        counts[0] = np.where(keys[0] == begin, 0, counts[0])
        return cls(vocab_size, order, tokenizer_signature, _trie(keys, counts, symbols))

    def to_arrays(self) -> Arrays:
        """The model as named arrays: n-grams and their counts; everything else follows from them."""
        arrays: Arrays = {
            "meta": np.array([FORMAT, self.vocab_size, self.order], dtype=np.int64),
            "tokenizer": np.frombuffer(self.tokenizer_signature.encode(), dtype=np.uint8).copy(),
        }
        for k, level in enumerate(self.levels, 1):
            arrays[f"keys{k}"], arrays[f"counts{k}"] = level.keys, level.counts.astype(np.int32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "KneserNey":
        """The model that `to_arrays` wrote. Raises CheckpointError for arrays of another kind or version."""
        try:
            version, vocab_size, order = (int(number) for number in arrays["meta"])
            keys = [arrays[f"keys{k}"] for k in range(1, order + 1)]
            counts = [arrays[f"counts{k}"] for k in range(1, order + 1)]
            tokenizer_signature = arrays["tokenizer"].tobytes().decode()
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"these arrays hold no n-gram model: {sorted(arrays)}") from error
        if version != FORMAT:
            raise CheckpointError(f"an n-gram model of format {version}; this version reads {FORMAT}: fit it again")
        return cls(vocab_size, order, tokenizer_signature, _trie(keys, counts, vocab_size + 1))

    @cached_property
    def signature(self) -> str:
        """Kind, order, vocabulary size and content hash, e.g. ``ngram:4:2048:3f1c9a02``."""
        digest = hashlib.sha256()
        for name, array in sorted(self.to_arrays().items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return f"ngram:{self.order}:{self.vocab_size}:{digest.hexdigest()[:8]}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "KneserNey":
        return self

    def __repr__(self) -> str:
        return f"KneserNey({self.signature}, {sum(len(level.keys) for level in self.levels):,} n-grams)"

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        """Gives log p(completion_t | prompt, completion_<t) in nats, shape (B, T), 0 beyond a row's end.

        Raises:
            TokenizerError: an id outside 0..V-1.
        """
        text, _, scored = self._lay_out(prompts, completions)
        # An n-gram that ends at a scored token never reaches into the row before: its context is there, or a begin
        # marker is, which continues nothing.
        ids = np.zeros(len(text), dtype=np.int64)
        p = np.full(len(text), 1.0 / self.vocab_size)
        for k, level in enumerate(self.levels, 1):
            contexts = np.roll(ids, 1) if k > 1 else ids
            ids = level.find(contexts, text)
            p = level.interpolate(contexts, ids, p)
        lengths = np.array([len(ids) for ids in completions], dtype=np.int64)
        out = np.zeros((len(lengths), int(lengths.max(initial=0))))
        out[np.arange(out.shape[1]) < lengths[:, None]] = np.log(p[scored])
        return out

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        """Gives log p(. | prompt, completion) in nats, shape (B, V). Raises TokenizerError for ids outside 0..V-1."""
        return self.stream([np.concatenate(pair) for pair in zip(prompts, completions, strict=True)]).next_logprobs()

    def stream(self, prompts: Sequence[TokenIds]) -> "NGramStream":
        """Texts that grow token by token, one row a prompt; equal to `logprobs` bit for bit."""
        return NGramStream(self, prompts)

    def sample(
        self,
        prompts: Sequence[TokenIds],
        max_new_tokens: int,
        eos_id: int,
        rng: np.random.Generator,
        temperature: float = 1.0,
    ) -> list[TokenIds]:
        """Continues prompts until EOS or the budget.

        Args:
            prompts: B prompts without separator.
            max_new_tokens: the budget.
            eos_id: the id that ends a text; it is the last id of a row that it ended.
            rng: source of randomness; a row's draws do not depend on when other rows end.
            temperature: the distribution is p^(1/temperature), renormalised; above 0.

        Returns:
            B completions as int32 ids.

        Raises:
            TaskError: a temperature that is not above 0.
        """
        if not temperature > 0:
            raise TaskError(f"temperature {temperature}: it must be above 0")
        stream = self.stream(prompts)
        drawn = np.full((len(prompts), max_new_tokens), -1, dtype=np.int64)
        alive = np.ones(len(prompts), dtype=bool)
        for t in range(max_new_tokens):
            logits = stream.next_logprobs() / temperature
            cumulative = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
            chosen = np.argmax(cumulative > rng.random((len(prompts), 1)) * cumulative[:, -1:], axis=1)
            drawn[:, t] = np.where(alive, chosen, -1)
            stream.advance(drawn[:, t])
            alive &= chosen != eos_id
            if not alive.any():
                break
        return [row[row >= 0].astype(np.int32) for row in drawn]

    def _lay_out(
        self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]
    ) -> tuple[_Ids, _Ids, Bool[np.ndarray, " _"]]:
        """All rows in a line, each after as much context as is used: symbols, width of each row, what to score."""
        tails = [prompt[max(len(prompt) + 1 - self.order, 0) :] for prompt in prompts]
        text = _flatten([part for row in zip(tails, completions, strict=True) for part in row], self.vocab_size)
        marked = np.array([len(prompt) < self.order - 1 for prompt in prompts], dtype=bool)
        context = np.array([len(tail) for tail in tails], dtype=np.int64)
        width = context + np.array([len(ids) for ids in completions], dtype=np.int64)
        text = np.insert(text, (np.cumsum(width) - width)[marked], self.vocab_size)
        context, width = context + marked, width + marked
        scored = np.repeat(np.tile([False, True], len(width)), np.stack([context, width - context], axis=1).ravel())
        return text, width, scored

    def _contexts(self, prompts: Sequence[TokenIds]) -> Int64[np.ndarray, "B n"]:
        """Places of the last 0, 1 .. n-1 tokens of each prompt, -1 where they were never seen."""
        contexts = np.full((len(prompts), self.order), -1, dtype=np.int64)
        contexts[:, 0] = 0
        nothing: list[TokenIds] = [np.empty(0, dtype=np.int32)] * len(prompts)
        text, width, _ = self._lay_out(prompts, nothing)
        symbols = np.full((len(prompts), self.order - 1), -1, dtype=np.int64)
        symbols[np.arange(self.order - 1) < width[:, None]] = text
        for column in symbols.T:
            contexts, _ = self._step(contexts, column)
        return contexts

    def _step(
        self, contexts: Int64[np.ndarray, "B n"], symbols: _Ids
    ) -> tuple[Int64[np.ndarray, "B n"], _Probabilities]:
        """Contexts after one more symbol a row, and its probability. Rows with symbol -1 stay as they are."""
        following = contexts.copy()
        live = symbols >= 0
        p = np.full(len(symbols), 1.0 / self.vocab_size)
        for k, level in enumerate(self.levels, 1):
            ids = level.find(contexts[:, k - 1], symbols)
            p = level.interpolate(contexts[:, k - 1], ids, p)
            if k < self.order:
                following[live, k] = ids[live]
        return following, np.where(live, p, 1.0)

    def _distribution(self, contexts: Int64[np.ndarray, "B n"]) -> Float64[np.ndarray, "B V"]:
        """p(. | context) of each row: the same sums as in `_step`, for all tokens at once."""
        p = np.full((len(contexts), self.vocab_size + 1), 1.0 / self.vocab_size)
        for k, level in enumerate(self.levels, 1):
            p *= level.gamma[contexts[:, k - 1], None]
            rows, symbols, ids = level.children(contexts[:, k - 1])
            p[rows, symbols] += level.alpha[ids]
        return np.ascontiguousarray(p[:, : self.vocab_size])


class NGramStream:
    """Texts that grow token by token under a `KneserNey` model, O(1) a token.

    Args:
        model: the language model.
        prompts: the text so far of each row, without separator.
    """

    def __init__(self, model: KneserNey, prompts: Sequence[TokenIds]) -> None:
        self._model = model
        self._contexts = model._contexts(prompts)

    def advance(self, tokens: Int[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
        """Adds one token to each row and returns its log-probability in nats, shape (B,).

        A row whose token is -1 rests: it stays as it is and gets 0.

        Raises:
            TokenizerError: an id outside -1..V-1.
        """
        symbols = np.asarray(tokens, dtype=np.int64)
        _check(symbols[symbols != -1], self._model.vocab_size)
        self._contexts, p = self._model._step(self._contexts, symbols)
        logprobs: Float64[np.ndarray, " B"] = np.log(p)
        return logprobs

    def next_logprobs(self) -> Float64[np.ndarray, "B V"]:
        """Log-probabilities of whatever token may come next, in nats, shape (B, V)."""
        logprobs: Float64[np.ndarray, "B V"] = np.log(self._model._distribution(self._contexts))
        return logprobs

    def restart(self, rows: Int[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> None:
        """Begins these rows again, each from a prompt of its own."""
        self._contexts[rows] = self._model._contexts(prompts)


@dataclass(frozen=True, eq=False)
class _Level:
    """The k-grams of a model, sorted by key = place of the first k-1 tokens * symbols + last token.

    Attributes:
        keys: (N,) the k-grams.
        counts: (N,) how often each occurs, or how many different tokens stand before it.
        symbols: V + 1.
        sought: (N + 1,) the keys and one that is above all others.
        alpha: (N + 1,) discounted relative frequencies; the last entry, index -1, is that of an unseen k-gram: 0.
        gamma: (C + 1,) what each of the C contexts leaves to shorter ones; index -1, an unseen context, leaves all: 1.
    """

    keys: _Ids
    counts: _Ids
    symbols: int
    sought: _Ids
    alpha: _Probabilities
    gamma: _Probabilities

    @classmethod
    def count(cls, keys: _Ids, counts: _Ids, symbols: int, contexts: int) -> "_Level":
        """A level from its counts; `contexts` is the size C of the level above it."""
        parents = keys // symbols
        discount = _discounts(counts)[np.minimum(counts, 3)]
        total = np.bincount(parents, weights=counts, minlength=contexts)
        left_over = np.bincount(parents, weights=discount, minlength=contexts)
        seen = total > 0
        gamma = np.divide(left_over, total, out=np.ones(contexts), where=seen)
        alpha = np.divide(counts - discount, total[parents], out=np.zeros(len(keys)), where=seen[parents])
        sought = np.append(keys, np.iinfo(np.int64).max)
        return cls(keys, counts, symbols, sought, np.append(alpha, 0.0), np.append(gamma, 1.0))

    def find(self, contexts: _Ids, tokens: _Ids) -> _Ids:
        """Places of k-grams, -1 where never seen (or where the context, -1, never was)."""
        wanted = contexts * self.symbols + tokens
        places = np.searchsorted(self.keys, wanted)
        found: _Ids = np.where(self.sought[places] == wanted, places, -1)
        return found

    def interpolate(self, contexts: _Ids, ids: _Ids, shorter: _Probabilities) -> _Probabilities:
        """p_k from p_{k-1}."""
        p: _Probabilities = self.alpha[ids] + self.gamma[contexts] * shorter
        return p

    def children(self, contexts: _Ids) -> tuple[_Ids, _Ids, _Ids]:
        """All k-grams that begin with one of the contexts: the row each belongs to, its last token, its place."""
        begin = np.searchsorted(self.keys, contexts * self.symbols)
        width = np.searchsorted(self.keys, (contexts + 1) * self.symbols) - begin
        rows = np.repeat(np.arange(len(contexts)), width)
        ids = np.arange(len(rows)) + np.repeat(begin - (np.cumsum(width) - width), width)
        return rows, self.keys[ids] - contexts[rows] * self.symbols, ids


def _trie(keys: Sequence[_Ids], counts: Sequence[np.ndarray], symbols: int) -> tuple[_Level, ...]:
    """Levels 1..n; the context of a 1-gram is the one empty text."""
    contexts = [1] + [len(level) for level in keys[:-1]]
    return tuple(
        _Level.count(key.astype(np.int64), count.astype(np.int64), symbols, parents)
        for key, count, parents in zip(keys, counts, contexts, strict=True)
    )


def _discounts(counts: _Ids) -> Float64[np.ndarray, "4"]:
    """[0, D1, D2, D3+] of one level, from how many n-grams occur once, twice, 3 and 4 times (equation 26).

    They must lie inside 0 < Dk < k, so that what is left over is neither negative nor nothing.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == k)) for k in (1, 2, 3, 4))
    discounts = FALLBACK_DISCOUNTS
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        estimate = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 < d < k for k, d in enumerate(estimate, 1)):
            discounts = estimate
    return np.array([0.0, *discounts])


def _flatten(rows: Iterable[TokenIds], vocab_size: int) -> _Ids:
    """The ids of all rows in one array, checked."""
    text: _Ids = np.concatenate([np.empty(0, dtype=np.int64), *rows]).astype(np.int64)
    _check(text, vocab_size)
    return text


def _check(ids: _Ids, vocab_size: int) -> None:
    if len(ids) and not (ids.min() >= 0 and ids.max() < vocab_size):
        wrong = int(ids[(ids < 0) | (ids >= vocab_size)][0])
        raise TokenizerError(
            f"token id {wrong} is outside 0..{vocab_size - 1}, the vocabulary of {vocab_size:,} that this n-gram model "
            "was made for: use the tokenizer that it was fitted with"
        )
