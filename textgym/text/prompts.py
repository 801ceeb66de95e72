"""Prompts: the first words of sentences and lines, and what follows them in the document.

A document is cut into sentences and lines; one that is too short to prompt with is joined to the next. Each is the
beginning of a passage: its first words are the prompt, and the rest of it, with as many whole sentences after it as fit
into the budget, is the reference completion. Documents, not passages, are split into training and held-out.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Final, Literal, get_args

import numpy as np
from jaxtyping import Bool, Int32, Int64

from textgym.errors import CorpusError, TaskError
from textgym.text.corpora import Corpus
from textgym.text.sentences import CJK, split_units
from textgym.types import Arrays, TokenIds, Tokenizer

OnLongPrompt = Literal["error", "truncate", "skip"]

PROMPT_WORDS: Final = 5
"""Words in a prompt: a hemistich with its comma in classical Chinese verse, a clause's beginning in English."""

HELDOUT_SHARE: Final = 0.1

_MARK = rf"(?:(?![{CJK}])[^\w\s])"
_PROMPT_WORD = re.compile(rf"\s*(?:{_MARK}*[{CJK}](?:(?![「『（《〈【“‘]){_MARK})*|(?:(?![{CJK}])\S)+)")


@dataclass(frozen=True)
class PromptSet:
    """N passages of a corpus as flat arrays; M >= N rows in all, see `tiling`.

    Every sentence stands in `opening` as it is written at the beginning of a text (its prompt, then its rest) and in
    `following` as it is written after another (with the whitespace before it). Row i's prompt is
    ``opening[begin:cut]``, its reference ``opening[cut:end] + following[then:until]``, and EOS where `ended`.

    Attributes:
        opening: token ids of all sentences as openings.
        following: token ids of all sentences as continuations.
        begin: where the prompt begins in `opening`.
        cut: where the prompt ends and the reference begins.
        end: where the reference leaves `opening`.
        then: where the reference goes on in `following`.
        until: where it ends there.
        ended: whether the reference ends with a sentence, and so with EOS.
        document: the number of the document in the corpus.
        tiles: rows that cover the documents without overlap.
        size: N, one number.
        eos: the id of EOS, one number.
    """

    opening: Int32[np.ndarray, " S"]
    following: Int32[np.ndarray, " F"]
    begin: Int64[np.ndarray, " M"]
    cut: Int64[np.ndarray, " M"]
    end: Int64[np.ndarray, " M"]
    then: Int64[np.ndarray, " M"]
    until: Int64[np.ndarray, " M"]
    ended: Bool[np.ndarray, " M"]
    document: Int64[np.ndarray, " M"]
    tiles: Int64[np.ndarray, " K"]
    size: Int64[np.ndarray, " 1"]
    eos: Int64[np.ndarray, " 1"]

    def __len__(self) -> int:
        return int(self.size[0])

    def prompt(self, index: int) -> TokenIds:
        """Ids of the prompt, without separator, shape (P,)."""
        return self.opening[self.begin[index] : self.cut[index]]

    def reference(self, index: int) -> TokenIds:
        """Ids of what follows the prompt in the document, shape (T,); the last is EOS where a sentence ends there."""
        own = self.opening[self.cut[index] : self.end[index]]
        after = self.following[self.then[index] : self.until[index]]
        return np.concatenate([own, after, self.eos[: int(self.ended[index])]], dtype=np.int32)

    def prompt_text(self, index: int, tokenizer: Tokenizer) -> str:
        """The prompt as text; prompt text + reference text is the document's text verbatim (up to unknown pieces)."""
        return tokenizer.decode(self.prompt(index))

    def reference_text(self, index: int, tokenizer: Tokenizer) -> str:
        """The reference as text."""
        return tokenizer.decode(self.reference(index))

    def references(self, index: int, tokenizer: Tokenizer) -> tuple[str, ...]:
        """Texts that a good completion may resemble: what follows the prompt in the document."""
        return (self.reference_text(index, tokenizer),)

    def metadata(self, index: int) -> Mapping[str, Any]:
        """What the source knows of a prompt beside: nothing, where it is a corpus."""
        return {}

    def passage(self, index: int) -> TokenIds:
        """What a model of text is fitted to: prompt and reference in one, as they stand in the document."""
        return np.concatenate([self.prompt(index), self.reference(index)])

    @property
    def prompt_lengths(self) -> Int64[np.ndarray, " N"]:
        """Tokens in each of the N prompts."""
        lengths: np.ndarray = self.cut - self.begin
        return lengths[: len(self)]

    @property
    def reference_lengths(self) -> Int64[np.ndarray, " N"]:
        """Tokens in each of the N references, EOS included."""
        lengths: np.ndarray = self.end - self.cut + self.until - self.then + self.ended
        return lengths[: len(self)]

    def tiling(self) -> Int64[np.ndarray, " K"]:
        """Rows that do not overlap and together cover the documents: what a language model trains on.

        Rows from N on begin in mid-sentence, where a sentence is longer than the budget; they are no prompts to start
        an episode from, but `prompt` and `reference` take them.
        """
        return self.tiles

    def to_arrays(self) -> Arrays:
        """The arrays by their names, for the store."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "PromptSet":
        """What `to_arrays` gave."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def build_prompts(
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    max_new_tokens: int,
    max_prompt_tokens: int | None = None,
    on_long_prompt: OnLongPrompt = "error",
    prompt_words: int = PROMPT_WORDS,
) -> dict[str, PromptSet]:
    """The passages of a corpus as ``{"train": PromptSet, "heldout": PromptSet}``.

    Args:
        corpus: the documents; see `split_documents` for which are held out.
        tokenizer: gives the ids.
        max_new_tokens: the budget: no reference is longer, EOS included.
        max_prompt_tokens: the longest prompt allowed; None for no limit.
        on_long_prompt: what to do with a longer one: "error", "truncate" (its end moves to the reference) or "skip".
        prompt_words: words in a prompt; a Chinese or Japanese character with the punctuation behind it is one.

    Raises:
        CorpusError: fewer than two different documents hold a passage.
        TaskError: a setting out of range, or a prompt too long under "error".
    """
    for name, value in (("max_new_tokens", max_new_tokens), ("prompt_words", prompt_words)):
        if value < 1:
            raise TaskError(f"{name}={value}: must be at least 1")
    if max_prompt_tokens is not None and max_prompt_tokens < 1:
        raise TaskError(f"max_prompt_tokens={max_prompt_tokens}: must be at least 1, or None for no limit")
    if on_long_prompt not in get_args(OnLongPrompt):
        raise TaskError(f"on_long_prompt={on_long_prompt!r}: use one of {', '.join(get_args(OnLongPrompt))}")
    split = split_documents(corpus, prompt_words=prompt_words)
    sets = {}
    for name, numbers in split.items():
        table = _Table.of([corpus.documents[number] for number in numbers], tokenizer, prompt_words)
        limited = table.limit_prompts(max_prompt_tokens, on_long_prompt, tokenizer, corpus.name)
        sets[name] = limited.passages(max_new_tokens, np.array(numbers, dtype=np.int64), tokenizer.eos_id)
        if not len(sets[name]):
            raise CorpusError(
                f"every {name} prompt of {corpus.name} is longer than max_prompt_tokens={max_prompt_tokens} and was "
                'skipped: raise it, or use on_long_prompt="truncate"'
            )
    return sets


def split_documents(corpus: Corpus, *, prompt_words: int = PROMPT_WORDS) -> dict[str, list[int]]:
    """The numbers of the training and of the held-out documents, ``{"train": [...], "heldout": [...]}``.

    A tenth of the distinct documents is held out, at least one, by the hash of their text alone: independent of their
    order, and equal documents never stand on both sides. Documents too short for one prompt and one word after it are
    in neither.

    Raises:
        CorpusError: fewer than two distinct documents are long enough.
    """
    numbers = [i for i, text in enumerate(corpus.documents) if _count_words(text, prompt_words + 1) > prompt_words]
    digests = {i: hashlib.sha256(corpus.documents[i].encode("utf-8", "surrogatepass")).digest() for i in numbers}
    ranked = sorted(set(digests.values()))
    if len(ranked) < 2:
        found = f"{sum(map(len, corpus.documents)):,} characters in {len(corpus.documents)} documents"
        raise CorpusError(
            f"the corpus {corpus.name} is shorter than one training and one held-out prompt: it has {found}, of which "
            f"{len(ranked)} distinct ones hold more than {prompt_words} words. Two are needed: give more text "
            "or separate documents by blank lines"
        )
    heldout = set(ranked[: max(1, round(HELDOUT_SHARE * len(ranked)))])
    return {
        "train": [i for i in numbers if digests[i] not in heldout],
        "heldout": [i for i in numbers if digests[i] in heldout],
    }


def _count_words(text: str, limit: int) -> int:
    return sum(1 for _ in islice(_PROMPT_WORD.finditer(text), limit))


def _sentences(document: str, prompt_words: int) -> list[str]:
    """The units of a document, each long enough for a prompt and a word after it; a short tail joins the last one."""
    grouped: list[str] = []
    pending = ""
    for unit in split_units(document.strip()):
        pending += unit
        if _count_words(pending, prompt_words + 1) > prompt_words:
            grouped.append(pending)
            pending = ""
    if pending and grouped:
        grouped[-1] += pending
    return grouped


@dataclass(frozen=True)
class _Table:
    """G sentences in the order of the documents: where each stands in `opening` and `following`."""

    opening: np.ndarray  # ids
    following: np.ndarray  # ids
    begin: np.ndarray  # (G + 1,) sentence g is opening[begin[g]:begin[g + 1]]
    cut: np.ndarray  # (G,) where its prompt ends there
    then: np.ndarray  # (G + 1,) sentence g is following[then[g]:then[g + 1]]
    last: np.ndarray  # (G,) one beyond the last sentence of the same document
    proper: np.ndarray  # (G,) whether episodes may start from its prompt
    document: np.ndarray  # (G,)

    @classmethod
    def of(cls, documents: Sequence[str], tokenizer: Tokenizer, prompt_words: int) -> "_Table":
        """Cuts and tokenises; each text in the three forms in which it can be met, all in one call."""
        prompts, rests, continuations, owner, last = [], [], [], [], []
        for number, document in enumerate(documents):
            grouped = _sentences(document, prompt_words)
            blank = ""
            for text in grouped:
                visible = text.rstrip()
                *_, final = islice(_PROMPT_WORD.finditer(visible), prompt_words)
                prompts.append(visible[: final.end()])
                rests.append(visible[final.end() :])
                continuations.append(blank + visible)
                blank = text[len(visible) :]
            owner += [number] * len(grouped)
            last += [len(owner)] * len(grouped)
        ids = encode_all(tokenizer, [*prompts, *rests, *continuations])
        count = len(prompts)
        halves = [half for pair in zip(ids[:count], ids[count : 2 * count], strict=True) for half in pair]
        edges = _offsets(halves)
        return cls(
            opening=_joined(halves),
            following=_joined(ids[2 * count :]),
            begin=edges[::2],
            cut=edges[1::2],
            then=_offsets(ids[2 * count :]),
            last=np.array(last, dtype=np.int64),
            proper=np.ones(count, dtype=bool),
            document=np.array(owner, dtype=np.int64),
        )

    def limit_prompts(self, limit: int | None, rule: OnLongPrompt, tokenizer: Tokenizer, name: str) -> "_Table":
        """The table with no prompt over `limit` tokens: those are shortened, and under "skip" not proper prompts."""
        if limit is None:
            return self
        lengths = self.cut - self.begin[:-1]
        long = lengths > limit
        if rule == "error" and long.any():
            worst = int(lengths.argmax())
            text = tokenizer.decode(self.opening[self.begin[worst] : self.cut[worst]])
            raise TaskError(
                f"{int(long.sum())} of {len(long)} prompts of {name} have more than max_prompt_tokens={limit} tokens; "
                f"the longest has {int(lengths[worst])}: {text[:60]!r}. Raise the limit, or use "
                'on_long_prompt="truncate" or "skip"'
            )
        cut = np.minimum(self.cut, self.begin[:-1] + limit)
        proper = self.proper & ~long if rule == "skip" else self.proper
        return _Table(self.opening, self.following, self.begin, cut, self.then, self.last, proper, self.document)

    def passages(self, budget: int, numbers: np.ndarray, eos: int) -> PromptSet:
        """One row a sentence, then the rows in mid-sentence that the tiling needs."""
        rows: list[tuple[int, int, int, int, int, int, int]] = []
        then, last = self.then.tolist(), self.last.tolist()

        def add(g: int, begin: int, cut: int, stop: int) -> tuple[int, int]:
            """Appends the row that starts at `begin` of sentence g; gives (next sentence, where its own part ends)."""
            room = budget - 1 - (stop - cut)
            if room < 0:
                end = min(cut + budget, stop)
                rows.append((begin, cut, end, then[g + 1], then[g + 1], 0, g))
                return (g, end) if end < stop else (g + 1, stop)
            after = min(bisect_right(then, then[g + 1] + room, lo=g + 1) - 1, last[g])
            rows.append((begin, cut, stop, then[g + 1], then[after], 1, g))
            return after, stop

        starts, cuts = self.begin.tolist(), self.cut.tolist()
        nexts = [add(g, starts[g], cuts[g], starts[g + 1]) for g in range(len(cuts))]
        tiles, g = [], 0
        while g < len(cuts):
            tiles.append(g)
            ahead, position = nexts[g]
            while ahead == g:
                tiles.append(len(rows))
                stop = starts[g + 1]
                ahead, position = add(g, position, min(position + cuts[g] - starts[g], stop), stop)
            g = ahead
        return self._ordered(np.array(rows, dtype=np.int64).reshape(-1, 7), np.array(tiles, np.int64), numbers, eos)

    def _ordered(self, rows: np.ndarray, tiles: np.ndarray, numbers: np.ndarray, eos: int) -> PromptSet:
        """The rows with the proper prompts first."""
        proper = np.concatenate([self.proper, np.zeros(len(rows) - len(self.proper), dtype=bool)])
        order = np.argsort(~proper, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        begin, cut, end, then, until, ended, sentence = rows[order].T.copy()
        return PromptSet(
            opening=self.opening,
            following=self.following,
            begin=begin,
            cut=cut,
            end=end,
            then=then,
            until=until,
            ended=ended.astype(bool),
            document=numbers[self.document[sentence]],
            tiles=place[tiles],
            size=np.array([proper.sum()], dtype=np.int64),
            eos=np.array([eos], dtype=np.int64),
        )


def encode_all(tokenizer: Tokenizer, texts: list[str]) -> list[TokenIds]:
    """Ids of many texts, in one call where the tokenizer has one for it."""
    batch = getattr(tokenizer, "encode_batch", None)
    ids: list[TokenIds] = batch(texts) if batch is not None else [tokenizer.encode(text) for text in texts]
    return ids


def _joined(rows: Sequence[TokenIds]) -> np.ndarray:
    return np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32)


def _offsets(rows: Sequence[TokenIds]) -> np.ndarray:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return offsets
