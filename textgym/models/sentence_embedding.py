"""Sentence embeddings of sentence-transformers, from a folder or a name on the hub.

Letters: N texts, K dimensions.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from textgym.errors import CheckpointError
from textgym.models.hf_files import Saved, device, open_saved, quiet
from textgym.models.memo import Memo
from textgym.text.bpe import sound

KEPT = 2**23
"""Numbers that are kept of texts that were embedded before: 32 MiB, or 20,000 sentences at 384 dimensions."""

BATCH_TEXTS = 64
"""Texts that go through the network together; the library sorts them by length."""


class SentenceEmbedding:
    """Satisfies `textgym.types.Embedding`. Of a long text it reads as many tokens as its model does.

    Sentences that were asked for lately are not embedded again: a repeated prompt, or the sentences before the last one
    of a text that grows, cost nothing.

    Args:
        saved: where the model lies.

    Raises:
        CheckpointError: it cannot be read.
    """

    tolerance = 1e-5
    """Float rounding depends on which texts share a batch: equal calls differ by at most so much."""

    def __init__(self, saved: Saved) -> None:
        from sentence_transformers import SentenceTransformer

        saved.check_weights()
        try:
            with quiet():
                self.network = SentenceTransformer(
                    str(saved.folder),
                    device=str(device()),
                    trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True},
                )
        except Exception as error:  # the libraries' own, of damaged files, have no common base
            raise CheckpointError(f"cannot load the sentence embedding {saved.name!r}: {error}") from error
        self.network = self.network.float().eval().requires_grad_(False)
        self.saved = saved
        self._memo: Memo[Float32[np.ndarray, " K"]] = Memo(KEPT, len)

    @property
    def signature(self) -> str:
        """Kind and content hash."""
        return f"st:{self.saved.hash}"

    def embed(self, texts: Sequence[str]) -> Float64[np.ndarray, "N K"]:
        """Vectors (N, K); a blank text is the zero vector."""
        if not texts:
            return np.zeros((0, 1))
        rows = self._memo.values(texts, lambda missing: self._read([texts[place] for place in missing]))
        return np.array(rows, dtype=np.float64)

    def _read(self, texts: Sequence[str]) -> list[Float32[np.ndarray, " K"]]:
        sounds = [sound(text) for text in texts]
        with quiet():
            vectors = self.network.encode(sounds, batch_size=BATCH_TEXTS, show_progress_bar=False)
        said = np.array([bool(text.strip()) for text in texts])
        return list(np.where(said[:, None], vectors, np.float32(0.0)).astype(np.float32))


def load(name: str) -> SentenceEmbedding:
    """The sentence embedding of a folder, or of a name on the hub.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        CheckpointError: there is no such model.
    """
    return SentenceEmbedding(open_saved(name, extra="embed", package="sentence_transformers"))
