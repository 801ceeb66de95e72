"""What the rooms pass to each other: batches of text, their scores, and the protocols they meet through.

Letters in shapes: B = batch rows, T = completion length in tokens, V = vocabulary size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

TextModel = TypeVar("TextModel")
"""A protocol of models that read plain text: `TextLanguageModel`, `TextClassifier`, `PreferenceModel` ..."""

TokenIds = Int32[np.ndarray, " _"]
"""Token ids of one text, shape (T,); a batch is a list of them, each with a T of its own."""

Arrays = dict[str, np.ndarray]
"""What the store keeps: named arrays."""


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back. Three ids are reserved in every vocabulary: unknown, separator, end of text."""

    unk_id: int
    sep_id: int
    eos_id: int

    @property
    def vocab_size(self) -> int:
        """V, the three reserved ids included."""

    @property
    def signature(self) -> str:
        """Kind, size and content hash, e.g. ``bpe:2048:3f1c9a…``: equal iff every text gets equal ids."""

    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,). Never yields the separator or EOS, whatever the text holds."""

    def decode(self, ids: Sequence[int] | TokenIds) -> str:
        """Text of ids; reserved ids leave no trace. Raises TokenizerError for ids outside 0..V-1."""

    def token(self, token_id: int) -> str:
        """One token as a person should see it; reserved ids as ``<unk>``, ``<sep>``, ``<eos>``."""


@dataclass(frozen=True)
class TextBatch:
    """B prompts with one completion each; texts are decoded once, when first asked for.

    Attributes:
        prompts: ids of the prompts, without separator.
        completions: ids of the completions; the last id is EOS where the text was ended by it.
        tokenizer: what the ids mean.
        references: for each row the texts a good completion may resemble (may be empty).
        metadata: for each row whatever the prompt source knows beside (may be empty).
    """

    prompts: Sequence[TokenIds]
    completions: Sequence[TokenIds]
    tokenizer: Tokenizer
    references: Sequence[Sequence[str]] = ()
    metadata: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        for name in ("completions", "references", "metadata"):
            rows = len(getattr(self, name))
            if rows != len(self.prompts) and (rows or name == "completions"):
                raise ValueError(f"TextBatch: {rows} {name} for {len(self.prompts)} prompts")

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def prompt_texts(self) -> list[str]:
        """The prompts as text, B strings."""
        return [self.tokenizer.decode(ids) for ids in self.prompts]

    @cached_property
    def completion_texts(self) -> list[str]:
        """The completions as text without EOS, B strings; prompt text + completion text is the whole text."""
        return [self.tokenizer.decode(ids) for ids in self.completions]

    @cached_property
    def content(self) -> list[TokenIds]:
        """The completions without a final EOS."""
        eos = self.tokenizer.eos_id
        return [ids[:-1] if len(ids) and ids[-1] == eos else ids for ids in self.completions]

    def row(self, index: int) -> "TextBatch":
        """Row `index` as a batch of one."""
        return self.rows([index])

    def rows(self, indices: Sequence[int]) -> "TextBatch":
        """The rows at `indices` as a batch."""
        return TextBatch(
            [self.prompts[i] for i in indices],
            [self.completions[i] for i in indices],
            self.tokenizer,
            [self.references[i] for i in indices] if self.references else (),
            [self.metadata[i] for i in indices] if self.metadata else (),
        )


@dataclass(frozen=True)
class Scores:
    """What a scorer says of a batch.

    Attributes:
        values: (B,) float64. Rows that are not valid hold 0 and mean nothing.
        valid: (B,) bool; False is "not applicable", which is not zero.
        tokens: (B, T) float64, what each token contributed, 0 beyond a row's end; None where no such split exists.
        components: the raw values (B,) of every named scorer that took part.
    """

    values: Float64[np.ndarray, " B"]
    valid: Bool[np.ndarray, " B"] = field(default=None)  # type: ignore[arg-type]
    tokens: Float64[np.ndarray, "B T"] | None = None
    components: Mapping[str, Float64[np.ndarray, " B"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        valid = np.ones(self.values.shape, bool) if self.valid is None else np.asarray(self.valid, dtype=bool)
        object.__setattr__(self, "valid", valid)


@runtime_checkable
class LanguageModel(Protocol):
    """P(w) = prod_t P(w_t | w_<t) over token ids: numpy in, numpy out, natural logarithms.

    Prompts come without separator; a model that was trained with one puts it in itself.
    """

    @property
    def vocab_size(self) -> int:
        """V."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        """Log-probabilities log p(completion_t | prompt, completion_<t), shape (B, T), 0 beyond a row's end."""

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        """Log-probabilities log p(. | prompt, completion), shape (B, V); each row's exponentials sum to 1."""


@runtime_checkable
class TokenStream(Protocol):
    """B texts that grow token by token under a language model, at a cost that does not grow with them.

    A language model that can has a method ``stream(prompts) -> TokenStream``.
    """

    def advance(self, tokens: Int64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
        """Adds one token to each row, -1 for none; its log-probability (B,), 0 for none."""

    def restart(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> None:
        """Begins these rows again, each from a prompt of its own."""


@runtime_checkable
class Embedding(Protocol):
    """Texts as vectors, so that a cosine means likeness."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    def embed(self, texts: Sequence[str]) -> Float64[np.ndarray, "N K"]:
        """Vectors (N, K); a text without a known word is the zero vector. Row i depends on text i alone."""


@runtime_checkable
class OrderModel(Protocol):
    """Tells the real order of sentences from a shuffled one."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    def log_odds(self, texts: Sequence[Sequence[str]]) -> Float64[np.ndarray, " N"]:
        """How much likelier each text, a list of sentences, is in order than shuffled, (N,), in nats; 0 for one."""


@runtime_checkable
class TextLanguageModel(Protocol):
    """A language model with a tokenizer of its own: what it is asked about is text, not ids of a task."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    def text_logprobs(
        self, prompts: Sequence[str], completions: Sequence[str], ended: Sequence[bool]
    ) -> list[tuple[Float64[np.ndarray, " _"], Int64[np.ndarray, " _"]]]:
        """For each text the log-probabilities of the model's own tokens of the completion, and where each token ends.

        Places count characters of the completion. An end of text, where `ended` asks for it and the model has such a
        token, is the last token, and ends one place behind the text; a completion without any other token has that one.
        """


@runtime_checkable
class PseudoLanguageModel(Protocol):
    """A model that sees both sides of a token: what it says of the tokens of a text is no probability of the text."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    def pseudo_logprobs(
        self, prompts: Sequence[str], completions: Sequence[str], *, within: str, orders: int
    ) -> list[tuple[Float64[np.ndarray, " _"], Int64[np.ndarray, " _"]]]:
        """For each text what the model's own tokens of the completion score, and where each token ends.

        Args:
            prompts: what stands before each completion, never masked.
            completions: the texts.
            within: what a masked model hides beside the token: ``word_l2r`` the rest of its word, ``original`` nothing.
            orders: how many factorisation orders a permutation model is averaged over.
        """


@runtime_checkable
class TextClassifier(Protocol):
    """Texts in, probabilities of named classes out."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the C classes, in the order of the columns."""

    def logprobs(self, texts: Sequence[str]) -> Float64[np.ndarray, "N C"]:
        """Log-probabilities (N, C). Row i depends on text i alone.

        Each row's exponentials sum to 1 where the classes exclude each other; each is a probability of its own where a
        text may belong to several.
        """


@runtime_checkable
class PreferenceModel(Protocol):
    """The strength of a completion in the sense of Bradley and Terry: P(a beats b) = 1 / (1 + exp(r_b - r_a))."""

    @property
    def signature(self) -> str:
        """Kind, settings and content hash."""

    def strengths(self, prompts: Sequence[str], completions: Sequence[str]) -> Float64[np.ndarray, " N"]:
        """Strength r of each completion after its prompt, (N,), in nats. Row i depends on text i alone."""


@runtime_checkable
class Constraint(Protocol):
    """Which tokens may come next."""

    def mask(
        self, tokens: Int32[np.ndarray, "B L"], lengths: Int64[np.ndarray, " B"], starts: Int64[np.ndarray, " B"]
    ) -> Bool[np.ndarray, "B V"]:
        """True = allowed, shape (B, V).

        Args:
            tokens: (B, L) prefixes, left-aligned, -1 beyond their end.
            lengths: (B,) tokens in each prefix, prompt and separator included.
            starts: (B,) where each completion begins.
        """


@runtime_checkable
class ScoringContext(Protocol):
    """What a task hands to a scorer that is bound to it."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The task's tokenizer."""

    @property
    def signature(self) -> str:
        """Content hash of all that the task hands out."""

    @property
    def empty_prompts(self) -> bool:
        """Whether an episode of this task may begin with an empty prompt."""

    def references(self) -> TextBatch:
        """The task's own texts, a fixed sample of its training split: the yardstick of `standard`."""

    def language_model(self, name: str) -> LanguageModel:
        """A model by spec, e.g. ``ngram:4``, ``unigram`` or a model folder; fitted and cached when needed."""

    def embedding(self, name: str) -> Embedding:
        """An embedding by spec, e.g. ``lsa:64``; fitted and cached when needed."""

    def order_model(self, name: str) -> OrderModel:
        """A model of sentence order by spec: ``order:lsa:64``, ``entity_grid``; fitted and cached when needed."""

    def text_model(self, kind: "type[TextModel]", name: str) -> "TextModel":
        """A saved model that reads plain text, by spec: ``hf:NAME_OR_FOLDER``, or a folder; loaded once.

        Args:
            kind: the protocol that it is to satisfy, e.g. `TextClassifier`.
            name: the spec.
        """

    def cached(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays by key: from the store, else made and stored."""
