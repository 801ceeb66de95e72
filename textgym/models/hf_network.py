"""Any causal model of Hugging Face as a network: GPT-2, Llama and their like, decoded with rows at mixed positions.

**The separator.** The environment writes prompt + separator + completion; these models know no separator, and begin a
text with a token of their own. So they read beginning + prompt + completion, which is as long: up to the separator
every token is read one place later. From there on each state predicts the next token, as `hf:` models do when they
score; inside a prompt it predicts nothing, so a fit learns from completions alone.

**Ids.** V is the tokenizer's. Ids that the model lacks, ids that are no text (<unk>, the separator, [CLS] ...) never
come out; where such an id stands in a prefix, the model reads its end of text. Rows of the model's table beyond V, as
paddings leave them, are cut off.

Letters: B rows, T tokens, C width, V vocabulary, N rows of the model's own table.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from textgym.errors import CheckpointError, MissingExtraError
from textgym.models.causal_network import BANNED_LOGIT, CausalNetwork, bias_of
from textgym.models.lora import add_adapters, change_nothing, merged, without_adapters

if TYPE_CHECKING:
    from textgym.models.hf_cache import RowCache

VARYING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""What a definition says of where it was made, and not of the network."""


@dataclass(frozen=True)
class HuggingFaceConfig:
    """Everything that gives the network its shape.

    Args:
        vocab_size: V, of the tokenizer.
        context: longest prefix in tokens.
        definition: the configuration of transformers, as JSON values.
        bos_id: begins every text.
        eos_id: ends it, and stands for ids that the model lacks.
        sep_id: what the environment writes between prompt and completion.
        banned: ids that never come out, beside those that the model lacks.
        lora: settings of adapters, which are then all that is trained, see `textgym.models.lora`; None for none.
    """

    vocab_size: int
    context: int
    definition: Mapping[str, Any]
    bos_id: int
    eos_id: int
    sep_id: int
    banned: Sequence[int] = ()
    lora: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        cleaned = {name: value for name, value in self.definition.items() if name not in VARYING}
        object.__setattr__(self, "definition", json.loads(json.dumps(cleaned)))
        object.__setattr__(self, "banned", tuple(int(i) for i in self.banned))
        if not isinstance(cleaned.get("model_type"), str):
            raise CheckpointError("HuggingFaceConfig: the definition names no model_type")
        if max(self.bos_id, self.eos_id) >= self.vocab_size or self.eos_id in self.banned:
            raise CheckpointError(
                f"HuggingFaceConfig: bos_id={self.bos_id} and eos_id={self.eos_id} must be ids below "
                f"{self.vocab_size}, and the end of text must not be banned"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {"kind": HuggingFaceNetwork.kind, **asdict(self), "banned": list(self.banned)}


class HuggingFaceNetwork(CausalNetwork):
    """The network; its cache is a `textgym.models.hf_cache.RowCache`.

    Inside it is always in evaluation mode, so that no dropout is in it.

    Args:
        config: its shape.
        network: an `AutoModelForCausalLM` of that shape; None makes one with random weights.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: transformers knows no such architecture, or its logits are no linear function of its states.
    """

    kind: ClassVar[str] = "hf"
    predicts_prompts: ClassVar[bool] = False
    config: HuggingFaceConfig

    def __init__(self, config: HuggingFaceConfig, network: Any = None) -> None:
        super().__init__()
        self.config = config
        self.network: nn.Module = (_new(config) if network is None else network).float().eval()
        head = self._head
        if not isinstance(getattr(head, "weight", None), Tensor):
            raise CheckpointError(f"{type(self.network).__name__} has no head over a vocabulary")
        self.known = min(len(head.weight), config.vocab_size)
        """How many ids of the tokenizer the model has."""
        if max(config.bos_id, config.eos_id) >= self.known:
            raise CheckpointError(
                f"beginning ({config.bos_id}) and end of text ({config.eos_id}) are beyond the {self.known:,} tokens "
                "that the model has, so that no text can begin or end"
            )
        if config.lora is not None:
            add_adapters(self.network, config.lora)
            self.network.eval()
        self._adapted = config.lora is not None
        bias = bias_of(tuple(config.banned), config.vocab_size)
        bias[self.known :] = BANNED_LOGIT
        self.register_buffer("banned_bias", bias, persistent=False)

    @property
    def width(self) -> int:
        """C."""
        return int(self._head.weight.shape[1])

    @property
    def head(self) -> Float[Tensor, "V C"]:
        """The model's, cut to V rows; rows of zeros for what it lacks."""
        weight: Tensor = self._head.weight[: self.known]
        return F.pad(weight, (0, 0, 0, self.config.vocab_size - self.known))

    @property
    def head_bias(self) -> Float[Tensor, " V"]:
        """What is added then, bans included."""
        own = getattr(self._head, "bias", None)
        if own is None:
            return self.banned_bias
        return self.banned_bias + F.pad(own[: self.known], (0, self.config.vocab_size - self.known))

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Next-token logits; banned tokens are so low that their probability is 0."""
        # Not by `head`, which copies the whole table where the model lacks an id.
        scores = F.linear(hidden, self._head.weight[: self.known], self.head_bias[: self.known])
        return F.pad(scores, (0, self.config.vocab_size - self.known), value=BANNED_LOGIT)

    def new_cache(self, rows: int, slots: int) -> "RowCache":
        """A `RowCache`."""
        from textgym.models.hf_cache import RowCache

        return RowCache(rows, slots, self.device)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """Hidden state after each token of left-aligned rows; what stands at padding means nothing."""
        self._check(tokens.shape[1])
        if not tokens.numel():  # a separator alone, whose last place predicts nothing that is asked for
            return self.banned_bias.new_zeros((*tokens.shape, self.width))
        return self._run(input_ids=self._read(tokens), use_cache=False)

    def prefill(
        self, tokens: Int[Tensor, "R T"], lengths: Int[Tensor, " R"], cache: "RowCache", rows: Int[Tensor, " R"]
    ) -> Float[Tensor, "R T C"]:
        """As `CausalNetwork.prefill`; what stands beyond a row's length is written over before it is looked at."""
        self._check(tokens.shape[1])
        cache.fill(rows, tokens)
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        states = self._run(input_ids=self._read(tokens), position_ids=positions, past_key_values=cache, use_cache=True)
        cache.lengths[rows] = lengths
        return states

    def decode(self, tokens: Int[Tensor, " B"], cache: "RowCache") -> Float[Tensor, "B C"]:
        """Hidden state after one more token in every row; each is written at its row's own position."""
        positions = cache.lengths
        seen = int(positions.max()) + 1
        self._check(seen)
        cache.extend(tokens, seen)
        shown = torch.arange(seen, device=tokens.device) <= positions[:, None]
        mask = torch.zeros(shown.shape, dtype=self.dtype, device=tokens.device).masked_fill_(~shown, float("-inf"))
        read = self._read(cache.tokens[:, :seen]).gather(1, positions[:, None])
        states = self._run(
            input_ids=read,
            position_ids=positions[:, None],
            attention_mask=mask[:, None, None],
            past_key_values=cache,
            use_cache=True,
        )
        cache.lengths = positions + 1
        return states[:, 0]

    def train(self, mode: bool = True) -> "HuggingFaceNetwork":
        """As `nn.Module.train`, but for what is inside."""
        super().train(mode)
        self.network.eval()
        return self

    def merged(self) -> Any:
        """The model of transformers, as it is saved: adapters are in its matrices."""
        return self.network if self.config.lora is None else merged(self.network)

    def with_adapters(self, settings: Mapping[str, Any]) -> "HuggingFaceNetwork":
        """This network, in place, with LoRA adapters that are all that is trained from now on."""
        return HuggingFaceNetwork(replace(self.config, lora=dict(settings)), self.network)

    def frozen(self) -> CausalNetwork:
        """As `CausalNetwork.frozen`; while its adapters change nothing, it is this network without them: no copy."""
        if self.config.lora is None or not change_nothing(self.network):
            return super().frozen()
        view = copy.copy(self)  # shares every weight
        view._adapted = False
        return view

    def _read(self, tokens: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """What the model reads at each place: up to the separator what stands one place before it."""
        separators = (tokens == self.config.sep_id).long()
        before = separators.cumsum(1) == separators  # none in front of this place
        first = torch.full_like(tokens[:, :1], self.config.bos_id)
        read = torch.where(before, torch.cat([first, tokens[:, :-1]], 1), tokens)
        return torch.where((read < self.known) & (read >= 0), read, self.config.eos_id)

    @property
    def _head(self) -> Any:
        return self.network.get_output_embeddings()  # type: ignore[operator]

    def _run(self, **inputs: Any) -> Tensor:
        unused = self.config.lora is not None and not self._adapted
        with without_adapters(self.network) if unused else nullcontext():
            states: Tensor = self.network.base_model(**inputs).last_hidden_state  # type: ignore[operator]
        return states

    def _check(self, length: int) -> None:
        if length > self.config.context:
            raise CheckpointError(f"a prefix of {length} tokens does not fit a context of {self.config.context}")


@torch.no_grad()
def require_decodable(network: HuggingFaceNetwork, name: str) -> None:
    """Checks on a few tokens that states, head and cache are those of the model, whatever its architecture.

    Raises:
        CheckpointError: they are not; or the model cannot be asked so.
    """
    config, count = network.config, min(8, network.config.context)
    usual = torch.arange(network.known, device=network.device)[network.banned_bias[: network.known] == 0]
    tokens = usual[torch.arange(3 * count, device=network.device).reshape(3, count) % len(usual)]
    tokens[:, 0] = config.sep_id
    try:
        whole = network(tokens)
        theirs = network.network(input_ids=network._read(tokens), use_cache=False).logits[..., usual]
        cache = network.new_cache(3, count)
        lengths = torch.tensor([1, count - 1, count // 2], device=network.device)
        network.prefill(tokens[:, : count - 1], lengths, cache, torch.arange(3, device=network.device))
        stepped = network.decode(tokens.gather(1, lengths[:, None])[:, 0], cache)
    except Exception as error:  # architectures fail in ways of their own
        raise CheckpointError(
            f"{name}: a {config.definition['model_type']} model cannot be decoded with rows at positions of their own "
            f"({type(error).__name__}: {str(error).strip().splitlines()[:1]}). GPT-2, Llama and most others can"
        ) from error
    expected = whole[torch.arange(3, device=network.device), lengths]
    if not torch.allclose(network.logits(whole)[..., usual], theirs, rtol=1e-3, atol=1e-3):
        raise CheckpointError(
            f"{name}: the logits of this {config.definition['model_type']} model are no linear function of its states "
            "(they are scaled or capped), which policies cannot train on here"
        )
    if not torch.allclose(stepped, expected, rtol=1e-3, atol=1e-3):
        raise CheckpointError(
            f"{name}: a {config.definition['model_type']} model gives other states with a cache than without one, so "
            "it cannot be decoded with rows at positions of their own. GPT-2, Llama and most others can"
        )


def _new(config: HuggingFaceConfig) -> Any:
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise MissingExtraError("transformers", "hf", "a network of Hugging Face") from None
    from textgym.models.hf_files import quiet

    definition = copy.deepcopy(dict(config.definition))
    try:
        with quiet():
            made: Any = AutoConfig.for_model(definition.pop("model_type"), **definition)
            auto: Any = AutoModelForCausalLM
            return auto.from_config(made)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"transformers cannot make the network: {str(error).strip().splitlines()[0]}") from error
