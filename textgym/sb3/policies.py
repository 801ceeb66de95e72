"""`TransformerPolicy`: a language model as an actor-critic policy of Stable-Baselines3.

Rollouts decode one token a step with a KV cache; training scores whole episode segments in one causal pass
(see `segments` and `buffers`). PPO, A2C and TRPO run on it unmodified; `maskable` has its twin for MaskablePPO.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, Int
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from textgym.errors import CheckpointError, SpaceError
from textgym.models.causal_network import BANNED_LOGIT, CausalNetwork
from textgym.models.folder import model_folder
from textgym.models.kinds import config_of, network_of
from textgym.models.likelihood import action_likelihood
from textgym.models.masks import Masks, PackedMasks, forbid
from textgym.models.sampling import Sampling, draw, warp
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3.network import Model, build_network, holds_tokens, is_folder, require_fit
from textgym.sb3.prefix_cache import PrefixCache
from textgym.sb3.regulariser import Regulariser, full_kl
from textgym.sb3.segments import Segments, hidden_states
from textgym.sb3.value_head import ValueHead

TRAINABLE = ("all", "vectors")
"""Which weights of the network are trained."""

DTYPES = ("float32", "bfloat16")
"""In which the network may run; weights, values and what Stable-Baselines3 is given are float32 in any case."""


class TransformerActorCritic(BasePolicy):
    """What `TransformerPolicy` and `MaskableTransformerPolicy` share: all but the base class their algorithm asks for.

    Where `action_masks` are given, distribution, log-probability and entropy are those over the allowed tokens alone.
    """

    action_dist: Any

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        model: Model = "small",
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        use_sde: bool = False,
        dtype: str = "float32",
        cuda_graph: bool = True,
        temperature: float = 1.0,
        lora: Mapping[str, Any] | None = None,
        trainable: str = "all",
    ) -> None:
        if not isinstance(action_space, spaces.Discrete) or not holds_tokens(observation_space):
            raise SpaceError(
                f"{type(self).__name__} needs token prefixes, Box(L,) -> Discrete(V), as TextGen-v0 has them; "
                f"given {observation_space} -> {action_space}"
            )
        if use_sde:
            raise SpaceError(f"{type(self).__name__} chooses tokens: use_sde is for continuous actions")
        if dtype not in DTYPES:
            raise SpaceError(f"dtype={dtype!r}: the network runs in {' or '.join(DTYPES)}")
        if not (math.isfinite(temperature) and temperature > 0):
            raise SpaceError(f"temperature={temperature!r}: the logits are divided by it, so it is a number above 0")
        if trainable not in TRAINABLE or (trainable != "all" and lora is not None):
            raise SpaceError(
                f"trainable={trainable!r} with lora={lora!r}: {' or '.join(map(repr, TRAINABLE))}; and where there are "
                "adapters, they are all that is trained"
            )
        self.trainable = trainable
        self._model, self._lora, self._dtype, self._cuda_graph = model, lora, dtype, cuda_graph
        self.temperature = temperature
        self._rollout_cache, self._predict_cache = PrefixCache(cuda_graph), PrefixCache(cuda_graph)
        self._missing: CheckpointError | None = None
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        """Called by the base class: network, value head, optimizer."""
        length, vocabulary = self._sizes()
        self.trained = False
        try:
            transformer = build_network(self._model, length=length, vocabulary=vocabulary, lora=self._lora)
            self.trained = is_folder(self._model)
        except CheckpointError as error:
            if not is_folder(self._model) or model_folder(str(self._model)).exists():
                raise
            # The algorithm may be about to load weights, which bring their own shape.
            self._missing = error
            transformer = Transformer(TransformerConfig(vocabulary, length, 1, 1, 1))
        self._adopt(transformer, lr_schedule(1))

    def _sizes(self) -> tuple[int, int]:
        return self.observation_space.shape[0], int(self.action_space.n)  # type: ignore[index,attr-defined]

    def _adopt(self, transformer: CausalNetwork, learning_rate: float) -> None:
        self.transformer = transformer
        if self.trainable == "vectors":
            for parameter in transformer.parameters():
                parameter.requires_grad_(parameter.ndim < 2)
        self.value_head = ValueHead(transformer.width)
        self.clear_caches()
        options = {"fused": True, **self.optimizer_kwargs} if self._fusable() else self.optimizer_kwargs
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizer = self.optimizer_class(trained, lr=learning_rate, **options)  # type: ignore[call-arg]

    def _fusable(self) -> bool:
        return self.optimizer_class in (torch.optim.Adam, torch.optim.AdamW)

    # What Stable-Baselines3 calls -------------------------------------------------------------------------------

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One action a row: (actions (B,), values (B, 1), log-probabilities (B,))."""
        hidden = self._hidden(obs, self._rollout_cache)
        actions, logp = _choose(self._logits(hidden, action_masks), deterministic)
        return actions, self.value_head(hidden), logp

    def act(
        self, obs: Tensor, sampling: Sampling, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """One action a row, drawn from the likeliest tokens alone where `sampling` says so.

        Args:
            obs: prefixes (B, L).
            sampling: top_k and top_p; the temperature is the policy's own.
            action_masks: what may be chosen, as in `forward`.

        Returns:
            Actions (B,), values (B,), log-probabilities (B,) in the distribution that was really drawn from, and its
            support (B, V), bool; None where it is that of the policy and no mask was given.
        """
        hidden = self._hidden(obs, self._rollout_cache)
        logits = self._logits(hidden, action_masks)
        warped = warp(logits, sampling)
        actions, logp = _choose(warped, deterministic=False)
        support = None if warped is logits else warped != BANNED_LOGIT
        masks = self._checked_masks(action_masks, len(hidden))
        if masks is not None:
            allowed = masks.unpack() if isinstance(masks, PackedMasks) else masks
            support = allowed if support is None else support & allowed
        return actions, self.value_head(hidden)[:, 0], logp, support

    def keep_rows(self, rows: Int[Tensor, " K"]) -> bool:
        """Goes on with these rows of the rollout alone, where the cache can; whether it did."""
        return self._rollout_cache.keep(rows)

    def evaluate_actions(
        self, obs: PyTorchObs | Segments, actions: Int[Tensor, " N"], action_masks: Any = None
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, " N"], Float[Tensor, " N"]]:
        """Values, log-probabilities and entropies of N steps, with gradient.

        Where the buffer pays the KL in the loss, the entropies come as the whole regulariser of each step, see
        `EpisodeRolloutBuffer`.
        """
        hidden = self._hidden(obs)
        masks = self._checked_masks(action_masks, len(hidden))
        with self._precision():
            logp, entropy = action_likelihood(
                self.transformer, hidden, actions.long().flatten(), masks, self.temperature
            )
            if isinstance(obs, Segments) and obs.regulariser is not None:
                entropy = self._regularised(obs, obs.regulariser, hidden, logp, entropy, masks)
        return self.value_head(hidden), logp, entropy

    def _regularised(
        self,
        segments: Segments,
        regulariser: Regulariser,
        hidden: Float[Tensor, "N C"],
        logp: Float[Tensor, " N"],
        entropy: Float[Tensor, " N"],
        masks: Masks | None,
    ) -> Float[Tensor, " N"]:
        """The entropy bonus less the price of the KL."""
        bonus = regulariser.sampled(entropy, logp)
        if not regulariser.kl_coef or regulariser.estimator != "full":
            return bonus
        reference = regulariser.reference
        assert reference is not None
        with torch.no_grad():
            theirs = hidden_states(reference, segments)
        kl = full_kl(self.transformer, hidden, reference, theirs, masks, self.temperature)
        return bonus - regulariser.kl_coef * kl

    def get_distribution(self, obs: PyTorchObs | Segments, action_masks: Any = None) -> Any:
        """The next-token distribution of each prefix or step; twice differentiable, as TRPO needs it."""
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):  # its LSTM is once differentiable
            logits = self._logits(self._hidden(obs), action_masks)
        return self.action_dist.proba_distribution(logits)

    def predict_values(self, obs: PyTorchObs | Segments) -> Float[Tensor, "N 1"]:
        """State values of each prefix or step."""
        values: Tensor = self.value_head(self._hidden(obs, self._rollout_cache))
        return values

    @torch.no_grad()
    def next_logits(self, obs: PyTorchObs, action_masks: Any = None) -> Float[Tensor, "B V"]:
        """Logits of the next token of each prefix, for whoever looks ahead: without gradient, and cached."""
        return self._logits(self._hidden(obs, self._predict_cache), action_masks)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False, action_masks: Any = None) -> Tensor:
        hidden = self._hidden(observation, self._predict_cache)
        return _choose(self._logits(hidden, action_masks), deterministic)[0]

    # Masks ------------------------------------------------------------------------------------------------------

    def _logits(self, hidden: Float[Tensor, "N C"], action_masks: Any) -> Float[Tensor, "N V"]:
        masks = self._checked_masks(action_masks, len(hidden))
        with self._precision():
            logits = self.transformer.logits(hidden)
        logits = logits.to(hidden.dtype)
        if self.temperature != 1:
            logits = logits / self.temperature
        return logits if masks is None else forbid(logits, masks)

    def _checked_masks(self, given: Any, rows: int) -> Masks | None:
        """What came as `action_masks`: nothing, packed bits of our buffer, or an array (rows, V), 0 = forbidden."""
        if given is None or isinstance(given, PackedMasks):
            return given
        masks = torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given), device=self.device).bool()
        vocabulary = self.transformer.config.vocab_size
        if masks.numel() != rows * vocabulary:
            raise SpaceError(
                f"action_masks of shape {tuple(masks.shape)} for {rows} prefixes: they are of shape "
                f"({rows}, {vocabulary}), one row a prefix, True where a token may come next"
            )
        masks = masks.reshape(rows, vocabulary)
        if not bool(masks.any(1).all()):
            raise SpaceError(f"action_masks: row {int(masks.any(1).int().argmin())} allows no token at all")
        return masks

    # Hidden states ----------------------------------------------------------------------------------------------

    def _precision(self) -> AbstractContextManager[Any]:
        """What the network runs in; where a value or a log-probability is computed from its output, float32 is back."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._dtype == "bfloat16" else nullcontext()

    def _hidden(self, obs: Any, cache: PrefixCache | None = None) -> Float[Tensor, "N C"]:
        if self._missing is not None:
            raise self._missing
        with self._precision():
            return self._states(obs, cache)

    def _states(self, obs: Any, cache: PrefixCache | None) -> Float[Tensor, "N C"]:
        if isinstance(obs, Segments):
            return hidden_states(self.transformer, obs)
        tokens = obs.long()
        lengths = (tokens >= 0).sum(1)
        if int(lengths.min()) < 1:
            raise SpaceError("an observation without a single token: every prefix holds at least the separator")
        # A cache is right only while parameters rest; TRPO moves them behind autograd's back while it trains.
        if cache is not None and not self.training and not torch.is_grad_enabled():
            return cache.hidden(self.transformer, tokens, lengths)
        every: Tensor = self.transformer(tokens[:, : int(lengths.max())].clamp(min=0))
        return every[torch.arange(len(tokens), device=tokens.device), lengths - 1]

    def clear_caches(self) -> None:
        """Forgets all keys and values; called whenever the parameters may have changed."""
        self._rollout_cache.clear()
        self._predict_cache.clear()

    def train(self, mode: bool = True) -> "TransformerActorCritic":
        """As `nn.Module.train`; a switch empties the caches."""
        if mode != self.training:
            self.clear_caches()
        super().train(mode)
        return self

    def set_training_mode(self, mode: bool) -> None:
        """As in the base class; a switch empties the caches."""
        self.train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> "TransformerActorCritic":
        self.clear_caches()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    # Saving and loading -----------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        """The shape of the network, saved among the weights."""
        return self.transformer.config.to_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing is left to do: `load_state_dict` has used it."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; takes over the saved network's shape where it differs."""
        shape = state_dict.get("_extra_state")
        if shape is not None and config_of(shape) != self.transformer.config:
            config = config_of(shape)
            length, vocabulary = self._sizes()
            require_fit(config, length=length, vocabulary=vocabulary, name="the saved policy")
            self._adopt(network_of(config).to(self.device), self.optimizer.param_groups[0]["lr"])
            self.value_head.to(self.device)
        self._missing, self.trained = None, True
        self.clear_caches()
        return super().load_state_dict(state_dict, strict, assign)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "model": self.transformer.config.to_dict(),
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            "dtype": self._dtype,
            "cuda_graph": self._cuda_graph,
            "temperature": self.temperature,
            "trainable": self.trainable,
        }


class TransformerPolicy(TransformerActorCritic, ActorCriticPolicy):
    """Actor and critic on one language model: its next-token distribution, and a `ValueHead` on its hidden states.

    Args:
        observation_space: Box (L,) of token ids, padded with -1.
        action_space: Discrete (V).
        lr_schedule: learning rate by remaining progress, from the algorithm.
        model: a checkpoint folder; ``hf:NAME_OR_FOLDER``, a causal model of Hugging Face; or an architecture by name
            ("tiny", "lstm-small", ...) or as a mapping (n_layer, n_head, n_embd), with random weights.
        optimizer_class: as in Stable-Baselines3.
        optimizer_kwargs: as in Stable-Baselines3.
        use_sde: is refused.
        dtype: "float32", or "bfloat16": the network then runs in autocast, and keys and values are bfloat16.
        cuda_graph: on a CUDA device, decode by CUDA graph.
        temperature: divides the logits: of what is sampled, of log-probabilities and of entropies alike.
        lora: settings of `peft.LoraConfig`, e.g. {"r": 8}: adapters are all of a model of Hugging Face that is trained.
        trainable: "all" of the network; or its "vectors" alone, which are the biases and the scales of its norms, as in
            BitFit (Ben Zaken et al. 2022): about a hundredth of the weights, whose gradients cost less to make.

    A policy that was saved loads where its checkpoint folder is gone: the shape of the network travels with the
    weights. Only a policy whose model is missing *and* that never receives weights raises `CheckpointError`, when
    it is first used.
    """


def _choose(logits: Float[Tensor, "B V"], deterministic: bool) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Actions and their log-probabilities; one uniform number a row, which is ten times cheaper than multinomial."""
    if deterministic:
        actions = logits.argmax(-1)
        return actions, logits.log_softmax(-1).gather(1, actions[:, None])[:, 0]
    return draw(logits, torch.rand(len(logits), dtype=torch.float64, device=logits.device))
