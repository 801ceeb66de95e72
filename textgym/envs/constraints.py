"""Constraints that `gym.make` takes: a least length, no repeated n-gram, banned texts and tokens; all hold together.

A rule answers with the few ids that it forbids, row by row, never with a mask over the vocabulary: a mask of (64, 50k)
is then one copy and some thousand writes. Where every token is forbidden, EOS gives way: a text that cannot go on ends.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64

from textgym.errors import TaskError, did_you_mean
from textgym.types import Constraint, Tokenizer


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

    Raises:
        TaskError: a rule out of range, an empty text, an id that is reserved or outside the vocabulary.
    """

    tokenizer: Tokenizer
    min_new_tokens: int = 0
    no_repeat_ngram: int = 0
    banned: Sequence[str | int] = field(default=())

    def __post_init__(self) -> None:
        for name in ("min_new_tokens", "no_repeat_ngram"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise TaskError(f"constraint {name}={value!r}: it counts tokens, an integer of at least 0")
        if isinstance(self.banned, (str, int)) or not isinstance(self.banned, Sequence):
            raise TaskError(f"constraint banned={self.banned!r}: a list of texts and token ids is needed")
        for item in self.banned:
            self._check(item)

    def _check(self, item: Any) -> None:
        if isinstance(item, str) and item:
            return
        size, reserved = self.tokenizer.vocab_size, (self.tokenizer.unk_id, self.tokenizer.sep_id)
        if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < size:
            raise TaskError(f"constraint banned: {item!r} is neither a text nor a token id from 0 to {size - 1}")
        if item == self.tokenizer.eos_id:
            raise TaskError(
                f"constraint banned: {item} is EOS, without which no text ends before its budget. Say so by "
                "min_new_tokens if that is what you want"
            )
        if item in reserved:
            raise TaskError(f"constraint banned: {item} is reserved and never allowed; leave it out")

    def __deepcopy__(self, memo: object) -> "Restrictions":
        return self  # never changes; `env.spec` copies its arguments on every access

    @cached_property
    def allowed(self) -> Bool[np.ndarray, " V"]:
        """False for ids that are forbidden everywhere: those without text, banned ids, tokens with a banned text."""
        allowed = ids_to_choose(self.tokenizer)
        allowed[[item for item in self.banned if isinstance(item, int)]] = False
        texts = self._texts
        if texts:
            allowed[[i for i, piece in enumerate(self._pieces) if any(text in piece for text in texts)]] = False
        return allowed

    def forbidden(
        self, tokens: Int32[np.ndarray, "B L"], lengths: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"]
    ) -> Forbidden:
        """What is forbidden beyond `allowed`, by what a completion holds already; arguments as in `mask`."""
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
        mask = np.repeat(self.allowed[None], len(tokens), axis=0)
        rows, ids = self.forbidden(tokens, lengths, starts)
        mask[rows, ids] = False
        mask[~mask.any(axis=1), self.tokenizer.eos_id] = True
        return mask

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


_AT_ONCE = 256
"""Rows that a constraint of the user's gets in one call of `allows`, whose masks are thrown away."""

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
    is not looked at here (`Restrictions.allowed`).
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


def allows(
    constraint: Constraint,
    tokens: Int32[np.ndarray, "B L"],
    lengths: Int64[np.ndarray, " B"],
    starts: Int64[np.ndarray, " B"],
    chosen: Int32[np.ndarray, " B"],
) -> Bool[np.ndarray, " B"]:
    """Whether a constraint lets one id in each row follow, (B,).

    EOS that gives way (see `restrict`) is not allowed here: whether it did depends on all constraints together.
    """
    if isinstance(constraint, Restrictions):
        rows, ids = constraint.forbidden(tokens, lengths, starts)
        allowed = np.ones(len(tokens), bool)
        allowed[rows[ids == chosen[rows]]] = False
        return allowed
    parts = [slice(begin, begin + _AT_ONCE) for begin in range(0, len(tokens), _AT_ONCE)]
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


def open_constraint(given: Any, tokenizer: Tokenizer, max_new_tokens: int) -> Constraint | None:
    """What `gym.make` takes as `constraint`.

    Args:
        given: None; a mapping such as ``{"min_new_tokens": 8, "no_repeat_ngram": 3, "banned": ["foo"]}`` (see
            `Restrictions`), which serialises; or a `types.Constraint`.
        tokenizer: the task's.
        max_new_tokens: the task's budget.

    Raises:
        TaskError: neither of them, an unknown rule, or one that cannot hold.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        for name in given:
            if name not in _RULES:
                raise TaskError(f"constraint: there is no rule {name!r}. {did_you_mean(str(name), _RULES)}")
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
