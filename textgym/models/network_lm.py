"""A network as a language model for scorers: numpy in, numpy out.

Letters: B rows, T tokens of the longest completion, V vocabulary.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from safetensors.torch import save as tensors_to_bytes

from textgym.models.causal_network import CausalNetwork
from textgym.models.layout import Layout, lay_out, negative_logprobs, similar_lengths
from textgym.types import TokenIds

LOWEST_LOGPROB = -30.0
"""What a token gets that the model never gives (<unk>, the separator): e^-30 a token is as good as 0, and still a
number that one odd word does not turn a mean into nonsense with."""


def weights_bytes(model: CausalNetwork, dtype: torch.dtype | None = None) -> bytes:
    """The weights as a safetensors file, in another type if one is given; equal weights give equal bytes."""
    kept: dict[int, str] = {}  # weights that are tied have several names, and one place
    for name, tensor in model.state_dict().items():
        kept.setdefault(tensor.data_ptr(), name)
    state = {name: model.state_dict()[name] for name in kept.values()}
    return tensors_to_bytes({name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items()})


def bytes_hash(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class NetworkLM:
    """Satisfies `textgym.types.LanguageModel`.

    Args:
        model: the network; must not change afterwards, since the signature is taken once.
        sep_id: put between prompt and completion.
        batch_tokens: tokens of a batch, padding included.
    """

    tolerance = 1e-5
    """Float rounding depends on which rows share a batch: equal calls differ by at most so much (nats)."""

    def __init__(self, model: CausalNetwork, *, sep_id: int, batch_tokens: int = 8192) -> None:
        self.model, self.sep_id, self.batch_tokens = model, sep_id, batch_tokens
        content = json.dumps([model.config.to_dict(), sep_id]).encode() + weights_bytes(model)
        self._signature = f"{model.kind}:{model.config.vocab_size}:{bytes_hash(content)[:16]}"

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.model.config.vocab_size

    @property
    def signature(self) -> str:
        """Kind, vocabulary size and hash of shape, separator and weights."""
        return self._signature

    @torch.inference_mode()
    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        """Gives log p(completion_t | prompt, separator, completion_<t) in nats, (B, T), 0 beyond a row's end.

        Raises:
            CheckpointError: where a row does not fit the model's context.
        """
        sizes = np.array([len(row) for row in completions], dtype=np.int64)
        result = np.zeros((len(prompts), int(sizes.max(initial=0))))
        for rows, layout in self._batches(prompts, completions):
            losses = negative_logprobs(self.model, layout.tokens, layout.completions())
            within = np.arange(result.shape[1]) < sizes[rows, None]
            block = np.zeros(within.shape)
            block[within] = np.maximum(-losses.double().cpu().numpy(), LOWEST_LOGPROB)
            result[rows] = block
        return result

    @torch.inference_mode()
    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        """Gives log p(. | prompt, separator, completion) in nats, (B, V); exponentials sum to 1 (to 1e-5)."""
        result = np.zeros((len(prompts), self.vocab_size))
        for rows, layout in self._batches(prompts, completions):
            last = self.model(layout.tokens)[torch.arange(len(rows)), layout.lengths - 1]
            result[rows] = self.model.logits(last).double().log_softmax(-1).clamp(min=LOWEST_LOGPROB).cpu().numpy()
        return result

    def stream(self, prompts: Sequence[TokenIds]) -> "NetworkStream":
        """Texts that grow token by token, one row a prompt; equal to `logprobs` within `tolerance`."""
        return NetworkStream(self, prompts)

    def _batches(
        self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]
    ) -> Iterator[tuple[Int64[np.ndarray, " R"], Layout]]:
        pairs = list(zip(prompts, completions, strict=True))
        lengths = np.array([len(prompt) + 1 + len(completion) for prompt, completion in pairs], dtype=np.int64)
        for rows in similar_lengths(lengths, self.batch_tokens):
            batch = [pairs[i] for i in rows]
            texts = [p for p, _ in batch], [c for _, c in batch]
            yield rows, lay_out(*texts, sep_id=self.sep_id, device=self.model.device)


class NetworkStream:
    """Texts that grow token by token under a `NetworkLM`, with a KV cache: `textgym.types.TokenStream`.

    Args:
        lm: the language model.
        prompts: the text so far of each row, without separator.
    """

    def __init__(self, lm: NetworkLM, prompts: Sequence[TokenIds]) -> None:
        self._lm, self._model = lm, lm.model
        self._cache = lm.model.new_cache(len(prompts), lm.model.config.context)
        self._hidden = torch.zeros((len(prompts), lm.model.width), device=lm.model.device, dtype=lm.model.dtype)
        self.restart(np.arange(len(prompts)), prompts)

    @torch.inference_mode()
    def restart(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> None:
        """Begins these rows again, each from a prompt of its own."""
        nothing = [np.empty(0, dtype=np.int32)] * len(prompts)
        layout = lay_out(prompts, nothing, sep_id=self._lm.sep_id, device=self._hidden.device)
        chosen = torch.as_tensor(rows, device=self._hidden.device)
        states = self._model.prefill(layout.tokens, layout.lengths, self._cache, chosen)
        self._hidden[chosen] = states[torch.arange(len(rows)), layout.lengths - 1]

    @torch.inference_mode()
    def advance(self, tokens: Int64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
        """Adds one token to each row and returns its log-probability in nats, (B,); -1 adds none and gives 0."""
        chosen = torch.as_tensor(tokens, device=self._hidden.device)
        live, lengths = chosen >= 0, self._cache.lengths
        chosen = chosen.clamp(min=0)
        table = self._model.logits(self._hidden).double().log_softmax(-1)
        logprobs = table.gather(1, chosen[:, None])[:, 0].clamp(min=LOWEST_LOGPROB) * live
        # A resting row writes into a slot that its next token writes over, if there is a slot left.
        self._cache.lengths = torch.where(live, lengths, lengths.clamp(max=self._model.config.context - 1))
        states = self._model.decode(chosen, self._cache)
        self._cache.lengths = torch.where(live, lengths + 1, lengths)
        self._hidden = torch.where(live[:, None], states, self._hidden)
        result: Float64[np.ndarray, " B"] = logprobs.cpu().numpy()
        return result
