"""Constraints that `gym.make` takes: a least length, no repeated n-gram, banned and allowed tokens, the likeliest ones.

All hold together. A rule answers with the few ids that it forbids, row by row, never with a mask over the vocabulary: a
mask of (64, 50k) is then one copy and some thousand writes. Where every token is forbidden, EOS gives way: a text that
cannot go on ends. Only what is likely under a model (`nucleus`) is a mask of its own, taken last, among what the other
rules leave.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64

from textgym.envs.nucleus import Nucleus
from textgym.errors import TaskError, did_you_mean
from textgym.types import Constraint, LanguageModel, Tokenizer


class Forbidden(NamedTuple):
    """K pairs that say which id is forbidden in which row, (K,) each; a pair may occur more than once."""

    rows: Int64[np.ndarray, " K"]
    ids: Int64[np.ndarray, " K"]


@dataclass(frozen=True, eq=False)
class Restrictions:
    """A `types.Constraint` made of rules that all hold.

    Args:
        tokenizer: what the ids mean.
        min_new_tokens: EOS is forbidden until a completion has so many tokens.
        no_repeat_ngram: no n tokens in a row occur twice in a completion; 0 for no such rule.
        banned: texts that no completion may hold, and ids that it may not. A text is banned as it is written, wherever
            it stands and however it is cut into tokens: "cat" is also found in "concatenate", and " cat " is not at
            the end of a text.
        allowed: texts and ids that completions are made of, EOS always; None for all. A text stands for the tokens that
            it is cut into.
        top_p: of the tokens that the other rules leave, only the smallest set that has this probability `under` a
            model; 1 for no such rule.
        under: the language model of `top_p`. In the mapping that `gym.make` takes, a name as in
            ``fluency(lm=...)``: "ngram:4", a folder, a shipped model.

    Raises:
        TaskError: a rule out of range, an empty text, an id that is reserved or outside the vocabulary, a vocabulary
            of EOS alone, a model without `top_p` or of another vocabulary.
    """

    tokenizer: Tokenizer
    min_new_tokens: int = 0
    no_repeat_ngram: int = 0
    banned: Sequence[str | int] = field(default=())
    allowed: Sequence[str | int] | None = None
    top_p: float = 1.0
    under: LanguageModel | None = None

    def __post_init__(self) -> None:
        for name in ("min_new_tokens", "no_repeat_ngram"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise TaskError(f"constraint {name}={value!r}: it counts tokens, an integer of at least 0")
        for name in ("banned", "allowed"):
            items = getattr(self, name)
            if items is None and name == "allowed":
                continue
            if isinstance(items, (str, int)) or not isinstance(items, Sequence):
                raise TaskError(f"constraint {name}={items!r}: a list of texts and token ids is needed")
            for item in items:
                self._check(name, item)
        if self.allowed is not None and self.vocabulary.sum() == 1:
            raise TaskError(f"constraint allowed={self.allowed!r} leaves no token but EOS: every text would be empty")
        self._check_model()

    def _check(self, rule: str, item: Any) -> None:
        tokenizer = self.tokenizer
        if isinstance(item, str) and item:
            if rule == "allowed" and tokenizer.unk_id in tokenizer.encode(item):
                raise TaskError(f"constraint allowed: {item!r} holds what the vocabulary has no token for")
            return
        size, reserved = tokenizer.vocab_size, (tokenizer.unk_id, tokenizer.sep_id)
        if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < size:
            raise TaskError(f"constraint {rule}: {item!r} is neither a text nor a token id from 0 to {size - 1}")
        if item == tokenizer.eos_id and rule == "banned":
            raise TaskError(
                f"constraint banned: {item} is EOS, without which no text ends before its budget. Say so by "
                "min_new_tokens if that is what you want"
            )
        if item in reserved:
            raise TaskError(f"constraint {rule}: {item} is reserved and never allowed; leave it out")

    def _check_model(self) -> None:
        number = isinstance(self.top_p, float | int) and not isinstance(self.top_p, bool)
        if not number or not 0 < self.top_p <= 1:
            raise TaskError(f"constraint top_p={self.top_p!r}: a probability, above 0 and at most 1 (no such rule)")
        if (self.top_p < 1) != (self.under is not None):
            raise TaskError(
                f"constraint top_p={self.top_p}, under={self.under!r}: top_p below 1 and the model that it is taken "
                'under go together, {"top_p": 0.9, "under": "ngram:4"}'
            )
        if self.under is not None and not isinstance(self.under, LanguageModel):
            raise TaskError(f"constraint under={self.under!r}: a language model; a name is for gym.make")
        if self.under is not None and self.under.vocab_size != self.tokenizer.vocab_size:
            raise TaskError(
                f"constraint under: a model with a vocabulary of {self.under.vocab_size:,} tokens, the task's "
                f"tokenizer has {self.tokenizer.vocab_size:,}"
            )

    def __deepcopy__(self, memo: object) -> "Restrictions":
        return self  # never changes; `env.spec` copies its arguments on every access

    @cached_property
    def vocabulary(self) -> Bool[np.ndarray, " V"]:
        """False for ids forbidden everywhere: without text, banned, with a banned text in them, not `allowed`."""
        allowed = ids_to_choose(self.tokenizer)
        if self.allowed is not None:
            known = np.zeros(len(allowed), bool)
            for item in self.allowed:
                known[self.tokenizer.encode(item) if isinstance(item, str) else item] = True
            known[self.tokenizer.eos_id] = True
            allowed &= known
        allowed[[item for item in self.banned if isinstance(item, int)]] = False
        texts = self._texts
        if texts:
            allowed[[i for i, piece in enumerate(self._pieces) if any(text in piece for text in texts)]] = False
        return allowed

    def forbidden(
        self, tokens: Int32[np.ndarray, "B L"], lengths: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"]
    ) -> Forbidden:
        """What is forbidden by what a completion holds already, `top_p` left out; arguments as in `mask`."""
        found = []
        if self.min_new_tokens:
            short = np.flatnonzero(lengths - starts < self.min_new_tokens)
            found.append(Forbidden(short, np.full(len(short), self.tokenizer.eos_id)))
        if self.no_repeat_ngram:
            found.append(_closing_ngrams(self.no_repeat_ngram, tokens, lengths, starts))
        if self._texts:
            found.append(self._closing_texts(tokens, lengths, starts))
        parts = [_NOTHING, *found]
        return Forbidden(np.concatenate([p.rows for p in parts]), np.concatenate([p.ids for p in parts]))

    def mask(
        self, tokens: Int32[np.ndarray, "B L"], lengths: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"]
    ) -> Bool[np.ndarray, "B V"]:
        """True = allowed, shape (B, V); at least one token of every row is."""
        mask = np.repeat(self.vocabulary[None], len(tokens), axis=0)
        restrict(mask, self, tokens, lengths, starts, np.zeros(len(tokens), bool))
        mask[~mask.any(axis=1), self.tokenizer.eos_id] = True
        return mask

    @cached_property
    def nucleus(self) -> Nucleus | None:
        """The likeliest tokens, where `top_p` asks for them."""
        return None if self.under is None else Nucleus(self.under, self.top_p)

    @cached_property
    def _texts(self) -> list[bytes]:
        return [item.encode("utf-8", "surrogatepass") for item in self.banned if isinstance(item, str)]

    @cached_property
    def _pieces(self) -> list[bytes]:
        """What each token adds to a text. In bytes, since a token may be a part of a character."""
        of = getattr(self.tokenizer, "token_bytes", None) or self._decoded
        return [of(token_id) for token_id in range(self.tokenizer.vocab_size)]

    def _decoded(self, token_id: int) -> bytes:
        return self.tokenizer.decode([token_id]).encode("utf-8", "surrogatepass")

    @cached_property
    def _closing(self) -> dict[bytes, Int64[np.ndarray, " K"]]:
        """For every beginning of a banned text: the tokens that complete it, i.e. begin with the rest of the text."""
        order = sorted(range(len(self._pieces)), key=self._pieces.__getitem__)
        pieces, ids = [self._pieces[i] for i in order], np.array(order)
        closing: dict[bytes, Int64[np.ndarray, " K"]] = {}
        for text in self._texts:
            for cut in range(1, len(text)):
                rest = text[cut:]
                low = bisect_left(pieces, rest)
                high = bisect_left(pieces, rest[:-1] + bytes([rest[-1] + 1]), lo=low)  # no byte of UTF-8 is 255
                known = closing.get(text[:cut], np.zeros(0, np.int64))
                closing[text[:cut]] = np.concatenate([known, ids[low:high]])
        return {begun: ids for begun, ids in closing.items() if len(ids)}

    def _closing_texts(self, tokens: np.ndarray, lengths: np.ndarray, starts: np.ndarray) -> Forbidden:
        """The tokens that would complete a banned text of which a completion holds the beginning."""
        closing, pieces = self._closing, self._pieces
        longest = max(map(len, closing), default=0)
        rows: list[int] = []
        ids: list[np.ndarray] = []
        for row, (start, stop) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            tail = b""
            while stop > start and len(tail) < longest:
                stop -= 1
                tail = pieces[tokens[row, stop]] + tail
            for size in range(1, min(longest, len(tail)) + 1):
                found = closing.get(tail[-size:])
                if found is not None:
                    rows.append(row)
                    ids.append(found)
        return Forbidden(
            np.repeat(rows, [len(found) for found in ids]).astype(np.int64), np.concatenate([*ids, _NOTHING.ids])
        )


AT_ONCE = 256
"""Rows whose masks are in memory at a time, where each is asked for one id and thrown away."""

_NOTHING = Forbidden(np.zeros(0, np.int64), np.zeros(0, np.int64))


def ids_to_choose(tokenizer: Tokenizer) -> Bool[np.ndarray, " V"]:
    """False for the ids that no text is made of, (V,): <unk>, the separator, and the tokenizer's `special_ids`."""
    allowed = np.ones(tokenizer.vocab_size, bool)
    allowed[[tokenizer.unk_id, tokenizer.sep_id, *getattr(tokenizer, "special_ids", ())]] = False
    return allowed


def restrict(
    masks: Bool[np.ndarray, "B V"],
    constraint: Constraint,
    tokens: Int32[np.ndarray, "B L"],
    lengths: Int64[np.ndarray, " B"],
    starts: Int64[np.ndarray, " B"],
    over: Bool[np.ndarray, " B"],
) -> None:
    """Takes from masks, in place, what a constraint forbids in the rows that are not over.

    `Restrictions` leave EOS to a row that would have nothing else, if it had EOS before; what they forbid everywhere
    is not looked at here (`Restrictions.vocabulary`).
    """
    live = np.flatnonzero(~over)
    if not isinstance(constraint, Restrictions):
        masks[live] &= constraint.mask(tokens[live], lengths[live], starts[live])
        return
    eos = constraint.tokenizer.eos_id
    before = masks[:, eos].copy()
    rows, ids = constraint.forbidden(tokens[live], lengths[live], starts[live])
    masks[live[rows], ids] = False
    masks[:, eos] |= before & ~masks.any(axis=1)
    if constraint.nucleus is not None:
        masks[live] = constraint.nucleus.narrowed(masks[live], tokens[live], lengths[live], starts[live])


def allows(
    constraint: Constraint,
    tokens: Int32[np.ndarray, "B L"],
    lengths: Int64[np.ndarray, " B"],
    starts: Int64[np.ndarray, " B"],
    chosen: Int32[np.ndarray, " B"],
) -> Bool[np.ndarray, " B"]:
    """Whether a constraint lets one id in each row follow, (B,).

    EOS that gives way (see `restrict`) is not allowed here: whether it did depends on all constraints together. So does
    what is likely among the allowed, which is not looked at here (`Restrictions.nucleus`).
    """
    if isinstance(constraint, Restrictions):
        rows, ids = constraint.forbidden(tokens, lengths, starts)
        allowed = np.ones(len(tokens), bool)
        allowed[rows[ids == chosen[rows]]] = False
        return allowed
    parts = [slice(begin, begin + AT_ONCE) for begin in range(0, len(tokens), AT_ONCE)]
    masks = (constraint.mask(tokens[part], lengths[part], starts[part]) for part in parts)
    return np.concatenate([mask[np.arange(len(mask)), chosen[part]] for mask, part in zip(masks, parts, strict=True)])


def _closing_ngrams(
    n: int,
    tokens: Int32[np.ndarray, "B L"],
    lengths: Int64[np.ndarray, " B"],
    starts: Int64[np.ndarray, " B"],
) -> Forbidden:
    """The tokens that stood behind an earlier occurrence of a completion's last n - 1 tokens."""
    if tokens.shape[1] < n:
        return _NOTHING
    rows, ends = np.arange(len(tokens)), np.arange(n - 1, tokens.shape[1])
    same = (ends >= starts[:, None] + n - 1) & (ends < lengths[:, None])
    for back in range(1, n):
        last = tokens[rows, np.maximum(lengths - back, 0)]
        same &= tokens[:, n - 1 - back : tokens.shape[1] - back] == last[:, None]
    found, places = np.nonzero(same)
    return Forbidden(found, tokens[found, places + n - 1].astype(np.int64))


_RULES = tuple(f.name for f in fields(Restrictions) if f.name != "tokenizer")


def open_constraint(
    given: Any, tokenizer: Tokenizer, max_new_tokens: int, language_model: Callable[[str], LanguageModel] | None = None
) -> Constraint | None:
    """What `gym.make` takes as `constraint`.

    Args:
        given: None; a mapping such as ``{"min_new_tokens": 8, "no_repeat_ngram": 3, "banned": ["foo"]}`` (see
            `Restrictions`), which serialises; or a `types.Constraint`.
        tokenizer: the task's.
        max_new_tokens: the task's budget.
        language_model: gives the model of a name, for ``"under"``: `ScoringContext.language_model`.

    Raises:
        TaskError: neither of them, an unknown rule, or one that cannot hold.
        UnknownNameError: no model has the name of ``"under"``.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        for name in given:
            if name not in _RULES:
                raise TaskError(f"constraint: there is no rule {name!r}. {did_you_mean(str(name), _RULES)}")
        model = given.get("under")
        if isinstance(model, str) and language_model is not None:
            given = {**given, "under": language_model(model)}
        made = Restrictions(tokenizer, **given)
        if made.min_new_tokens > max_new_tokens:
            raise TaskError(
                f"constraint min_new_tokens={made.min_new_tokens} is more than the budget, "
                f"max_new_tokens={max_new_tokens}: lower the one or raise the other"
            )
        return made
    if isinstance(given, Constraint):
        return given
    raise TaskError(
        f"constraint={given!r}: give a mapping of {', '.join(_RULES)}, or an object with a method "
        "mask(tokens, lengths, starts)"
    )
