"""Classifiers of Hugging Face: any head over classes with names.

Letters: N texts, C classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from textgym.errors import CheckpointError
from textgym.models.hf_files import Saved, open_saved, quiet
from textgym.models.hf_logits import BATCH_TOKENS, longest_input, padded
from textgym.models.layout import similar_lengths
from textgym.models.memo import Memo
from textgym.text.bpe import sound

KEPT = 2**20
"""Numbers that are kept of texts that were asked for before."""


class Classifier:
    """Satisfies `textgym.types.TextClassifier`. Of a long text it reads as many tokens as its model has places for.

    Args:
        saved: where the model lies.

    Raises:
        CheckpointError: it cannot be read, has no trained head, or one that gives a single number.
    """

    tolerance = 1e-5
    """Float rounding depends on which rows share a batch: equal calls differ by at most so much (nats)."""

    def __init__(self, saved: Saved) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.saved = saved
        if saved.config.num_labels < 2:
            raise CheckpointError(
                f"the model {saved.name!r} gives one number, not the probabilities of classes: it is no classifier"
            )
        self.network = saved.network(AutoModelForSequenceClassification, "tell classes")
        self._tokenizer = saved.load(AutoTokenizer)
        says = int(self._tokenizer.model_max_length) if self._tokenizer.model_max_length < 10**9 else 0
        self.longest = longest_input(self.network, says) or BATCH_TOKENS
        self.pad_id = self._pad_id()
        self._memo: Memo[Float64[np.ndarray, " C"]] = Memo(KEPT, lambda row: len(row) + 8)

    @property
    def signature(self) -> str:
        """Kind and content hash."""
        return f"hf-classifier:{self.saved.hash}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the C classes, as its configuration has them."""
        names = self.network.config.id2label
        return tuple(str(names[index]) for index in range(self.network.config.num_labels))

    def logprobs(self, texts: Sequence[str]) -> Float64[np.ndarray, "N C"]:
        """Log-probabilities (N, C): of classes that exclude each other, or of each alone in a multi-label model."""
        rows = self._memo.values(texts, lambda missing: self._read([texts[place] for place in missing]))
        return np.array(rows, dtype=np.float64).reshape(len(texts), len(self.labels))

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> list[Float64[np.ndarray, " C"]]:
        rows = self._cut(texts)
        found = np.zeros((len(texts), len(self.labels)))
        for batch in similar_lengths(np.array([len(ids) for ids, _ in rows], dtype=np.int64), BATCH_TOKENS):
            inputs, known = self._padded([rows[i][0] for i in batch], self.pad_id)
            segments, _ = self._padded([rows[i][1] for i in batch], 0)
            given = {"token_type_ids": segments} if self._segmented else {}
            logits = self.network(input_ids=inputs, attention_mask=known, **given).logits
            found[batch] = self._logprobs(logits.double()).cpu().numpy()
        return list(found)

    def _cut(self, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Ids of each text, special tokens included, and the segment of each; "[SEP]" in a text is these letters."""
        sounds = [sound(text) for text in texts]
        with quiet():
            cut = self._tokenizer(sounds, truncation=True, max_length=self.longest, split_special_tokens=True)
        rows = [ids or [self.pad_id] for ids in cut["input_ids"]]  # a GPT-2 has no token for an empty text
        segments = cut["token_type_ids"] if self._segmented else [[0] * len(ids) for ids in rows]
        return list(zip(rows, segments, strict=True))

    def _padded(self, rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
        """On the right; XLNet reads its last column, and is filled up on the left."""
        if self.network.config.model_type != "xlnet":
            return padded(rows, value, self.network.device)
        ids, known = padded([row[::-1] for row in rows], value, self.network.device)
        return ids.flip(1), known.flip(1)

    @property
    def _segmented(self) -> bool:
        return "token_type_ids" in self._tokenizer.model_input_names

    def _logprobs(self, logits: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Exact also where a probability is nearly 1, so that a logit can be had of it."""
        if self.network.config.problem_type == "multi_label_classification":
            return F.logsigmoid(logits)
        others = logits[:, None, :] - logits[:, :, None]
        others = others.masked_fill(torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device), -torch.inf)
        return -torch.logaddexp(torch.zeros_like(logits), torch.logsumexp(others, -1))

    def _pad_id(self) -> int:
        """What fills a batch up. A causal model finds the end of a text by it, and may have none."""
        config, tokenizer = self.network.config, self._tokenizer
        if config.pad_token_id is None:
            known = [i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None]
            config.pad_token_id = known[0] if known else 0
        return int(config.pad_token_id)


def load(name: str) -> Classifier:
    """The classifier of a folder, or of a name on the hub.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: there is no such model, or it is of another kind.
    """
    return Classifier(open_saved(name))
