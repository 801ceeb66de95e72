"""A small task for scorer tests: word tokens, a hand-made bigram model, word-vector embedding, six reference texts."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.errors import UnknownNameError
from textgym.scorers.plain import OpenVocabulary
from textgym.types import (
    Arrays,
    PreferenceModel,
    PseudoLanguageModel,
    TextBatch,
    TextClassifier,
    TextLanguageModel,
    TokenIds,
)

REFERENCES = (
    "the cat sat on the mat. the cat slept.",
    "a dog ran. a dog ran and ran. the cat sat.",
    "the mat is red.",
    "the dog sat on the cat. a mat ran!",
    "red red red red red",
    "is the cat on the mat? the dog is.",
)
PROMPTS = ("the cat", "a dog", "the", "the mat", "red", "is")


class FakeModel:
    """Bigram probabilities from a table (V, V); `given` rows count what came last, the separator first of all."""

    def __init__(self, name: str, table: Float64[np.ndarray, "V V"], sep_id: int = 1) -> None:
        self.signature = f"fake:{name}"
        self.table = table
        self.sep_id = sep_id
        self.calls = 0

    @property
    def vocab_size(self) -> int:
        return len(self.table)

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        self.calls += 1
        out = np.zeros((len(completions), max(map(len, completions), default=0)))
        for row, (prompt, ids) in enumerate(zip(prompts, completions, strict=True)):
            before = [prompt[-1] if len(prompt) else self.sep_id, *ids[:-1]]
            out[row, : len(ids)] = self.table[before[: len(ids)], ids]
        return out

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        last = [[self.sep_id, *p, *c][-1] for p, c in zip(prompts, completions, strict=True)]
        return self.table[last]


def random_model(name: str, size: int, *, unigram: bool = False) -> FakeModel:
    rng = np.random.default_rng(len(name) + size)
    logits = np.repeat(rng.normal(size=(1, size)), size, axis=0) if unigram else rng.normal(size=(size, size))
    return FakeModel(name, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


class FakeEmbedding:
    """The sum of fixed word vectors; words without one count nothing."""

    signature = "fake:words"
    vectors = {
        "cat": (1.0, 0.0),
        "dog": (0.0, 1.0),
        "mat": (1.0, 1.0),
        "ran": (-1.0, 2.0),
        "red": (3.0, -1.0),
    }

    def embed(self, texts: Sequence[str]) -> Float64[np.ndarray, "N K"]:
        out = np.zeros((len(texts), 2))
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", "").replace("!", "").replace("?", "").split():
                out[row] += self.vectors.get(word, (0.0, 0.0))
        return out


class FakeClassifier:
    """The share of each vowel among the vowels of a text, one of each given."""

    signature = "fake:vowels"
    labels = ("acceptable", "Positive", "toxic")

    def logprobs(self, texts: Sequence[str]) -> Float64[np.ndarray, "N C"]:
        counts = np.array([[1.0 + text.count(vowel) for vowel in "aeo"] for text in texts]).reshape(-1, 3)
        return np.log(counts / counts.sum(axis=1, keepdims=True))


class FakeTextModel:
    """Characters in pairs are its tokens, a character's code decides what it is worth; it reads prompts."""

    signature = "fake:pairs"

    def __init__(self) -> None:
        self.calls = 0

    def text_logprobs(self, prompts, completions, ended):
        self.calls += 1
        return [self._row(*row) for row in zip(prompts, completions, ended, strict=True)]

    def pseudo_logprobs(self, prompts, completions, *, within, orders):
        self.calls += 1
        return [self._row(prompt, text, None) for prompt, text in zip(prompts, completions, strict=True)]

    def _row(self, prompt, text, ended):
        pairs = [text[i : i + 2] for i in range(0, len(text), 2)]
        values = [-1.0 - (sum(map(ord, pair)) + len(prompt)) % 7 for pair in pairs]
        ends = [min(2 * i + 2, len(text)) for i in range(len(pairs))]
        if ended or (ended is not None and not pairs):
            values, ends = [*values, -0.5], [*ends, len(text) + 1]
        return np.array(values, dtype=np.float64), np.array(ends, dtype=np.int64)


class FakePreference:
    """Prefers short completions of long prompts."""

    signature = "fake:brevity"

    def strengths(self, prompts: Sequence[str], completions: Sequence[str]) -> Float64[np.ndarray, " N"]:
        return np.array([len(prompt) - len(text) / 7 for prompt, text in zip(prompts, completions, strict=True)])


class FakeOrder:
    """Longer sentences are to follow shorter ones."""

    signature = "fake:order"

    def log_odds(self, texts: Sequence[Sequence[str]]) -> Float64[np.ndarray, " N"]:
        rises = [[len(b) - len(a) for a, b in pairwise(text)] for text in texts]
        return np.array([sum(row) / max(1, len(row)) for row in rises], dtype=np.float64)


class FakeContext:
    """Satisfies `textgym.types.ScoringContext`; counts what it is asked for."""

    def __init__(self, *, empty_prompts: bool = False, references: bool = True, signature: str = "fake:1") -> None:
        self.tokenizer = OpenVocabulary([*REFERENCES, *PROMPTS, "dog. mat. cat. on. is."])
        self.signature = signature
        self.empty_prompts = empty_prompts
        self.has_references = references
        self.store: dict[tuple[str, str], Arrays] = {}
        self.made: list[str] = []
        self.text_models: dict[tuple[type, str], Any] = {
            (TextClassifier, "fake"): FakeClassifier(),
            (PreferenceModel, "fake"): FakePreference(),
            (TextLanguageModel, "hf:fake"): FakeTextModel(),
            (PseudoLanguageModel, "hf:fake"): FakeTextModel(),
        }
        self.models = {
            "ngram:4": random_model("ngram:4", self.tokenizer.vocab_size),
            "unigram": random_model("unigram", self.tokenizer.vocab_size, unigram=True),
        }

    def batch(self, texts: Sequence[str], prompts: Sequence[str] | None = None, *, ended: bool = True) -> TextBatch:
        end = [self.tokenizer.eos_id] if ended else []
        prompts = ["the cat"] * len(texts) if prompts is None else prompts
        return TextBatch(
            [self.tokenizer.encode(prompt) for prompt in prompts],
            [np.array([*self.tokenizer.encode(text), *end], np.int32) for text in texts],
            self.tokenizer,
        )

    def references(self) -> TextBatch:
        batch = self.batch(REFERENCES, PROMPTS)
        rows = [[text] for text in REFERENCES] if self.has_references else ()
        return TextBatch(batch.prompts, batch.completions, self.tokenizer, rows)

    def language_model(self, name: str) -> FakeModel:
        return self.models[name]

    def embedding(self, name: str) -> FakeEmbedding:
        return FakeEmbedding()

    def order_model(self, name: str) -> "FakeOrder":
        return FakeOrder()

    def text_model(self, kind: type, name: str) -> Any:
        if (kind, name) not in self.text_models:
            raise UnknownNameError(kind.__name__, name, [known for _, known in self.text_models])
        return self.text_models[kind, name]

    def cached(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        if (kind, key) not in self.store:
            self.made.append(key)
            self.store[kind, key] = make()
        return self.store[kind, key]
