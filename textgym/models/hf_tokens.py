"""Text as a model of Hugging Face reads it: its own tokens, and where each ends.

Prompt and completion are cut together, as the model saw text in training. A token belongs to the completion if it ends
in it, also where it began in the prompt, as " cat" does after a prompt that ends in a blank.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from textgym.errors import CheckpointError
from textgym.models.hf_files import Saved
from textgym.text.bpe import sound


@dataclass(frozen=True)
class Cut:
    """One prompt and completion as tokens.

    Attributes:
        ids: of both, (N,), without special tokens.
        ends: where each ends, in characters of the completion; 0 or less in the prompt.
        words: which word of the text each is a part of.
        first: the first token of the completion.
    """

    ids: list[int]
    ends: Int64[np.ndarray, " N"]
    words: list[int]
    first: int


class ModelTokens:
    """The tokenizer of a saved model.

    Args:
        saved: where it lies.

    Attributes:
        known: the ids of its special tokens by role ("bos", "eos", "cls", "sep", "mask", "pad"); a role that it does
            not have is not there.
        longest: how many tokens it says the model reads at most; 0 where it does not say.

    Raises:
        CheckpointError: there is none, or it cannot say where its tokens stand in the text.
    """

    def __init__(self, saved: Saved) -> None:
        from transformers import AutoTokenizer

        loaded = saved.load(AutoTokenizer)
        backend = getattr(loaded, "backend_tokenizer", None)
        if backend is None:
            raise CheckpointError(f"the tokenizer of {saved.name!r} has no fast version (tokenizer.json)")
        roles = ("bos", "eos", "cls", "sep", "mask", "pad")
        ids = {role: getattr(loaded, f"{role}_token_id", None) for role in roles}
        self.known: dict[str, int] = {role: int(index) for role, index in ids.items() if index is not None}
        self.longest = int(loaded.model_max_length) if loaded.model_max_length < 10**9 else 0
        self._backend = _bare(backend)

    def cut(self, prompts: Sequence[str], completions: Sequence[str]) -> list[Cut]:
        """Prompts and completions as tokens, a row each."""
        prompts, completions = [sound(prompt) for prompt in prompts], [sound(text) for text in completions]
        texts = [prompt + text for prompt, text in zip(prompts, completions, strict=True)]
        rows = []
        for encoding, prompt in zip(self._backend.encode_batch(texts, add_special_tokens=False), prompts, strict=True):
            ends = np.array([end for _, end in encoding.offsets], dtype=np.int64) - len(prompt)
            first = int(np.argmax(ends > 0)) if (ends > 0).any() else len(ends)
            words = [-1 if word is None else word for word in encoding.word_ids]
            rows.append(Cut(encoding.ids, ends, words, first if prompt else 0))
        return rows


def _bare(backend: Any) -> Any:
    """The library's tokenizer without what cuts, pads or trims; "</s>" in a text is these letters."""
    from tokenizers import Tokenizer

    definition = json.loads(backend.to_str()) | {"truncation": None, "padding": None, "post_processor": None}
    bare = Tokenizer.from_str(json.dumps(definition))
    bare.encode_special_tokens = True
    return bare
