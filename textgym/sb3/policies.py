"""`TransformerPolicy`: a language model as an actor-critic policy of Stable-Baselines3.

Rollouts decode one token a step with a KV cache; training scores whole episode segments in one causal pass
(see `segments` and `buffers`). PPO, A2C and TRPO run on it unmodified.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float, Int
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from textgym.errors import CheckpointError, SpaceError
from textgym.models.checkpoint import SIZES, load_checkpoint
from textgym.models.likelihood import logprob_and_entropy
from textgym.models.sampling import draw
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3.prefix_cache import PrefixCache
from textgym.sb3.segments import Segments, hidden_states
from textgym.sb3.value_head import ValueHead

RESERVED = (0, 1)
"""<unk> and the separator: no text, so a policy made from an architecture never says them."""


class TransformerPolicy(ActorCriticPolicy):
    """Actor and critic on one Transformer: its next-token distribution, and a `ValueHead` on its hidden states.

    Args:
        observation_space: Box (L,) of token ids, padded with -1.
        action_space: Discrete (V).
        lr_schedule: learning rate by remaining progress, from the algorithm.
        model: a checkpoint folder; or an architecture by name ("tiny", "small", ...) or as a mapping
            (n_layer, n_head, n_embd), with random weights.
        optimizer_class: as in Stable-Baselines3.
        optimizer_kwargs: as in Stable-Baselines3.

    A policy that was saved loads where its checkpoint folder is gone: the shape of the network travels with the
    weights. Only a policy whose model is missing *and* that never receives weights raises `CheckpointError`, when
    it is first used.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        model: str | Path | Mapping[str, Any] = "small",
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        use_sde: bool = False,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete) or not _holds_tokens(observation_space):
            raise SpaceError(
                f"TransformerPolicy needs token prefixes, Box(L,) -> Discrete(V), as TextGen-v0 has them; "
                f"given {observation_space} -> {action_space}"
            )
        if use_sde:
            raise SpaceError("TransformerPolicy chooses tokens: use_sde is for continuous actions")
        self._model = model
        self._rollout_cache, self._predict_cache = PrefixCache(), PrefixCache()
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
        length, vocabulary = self.observation_space.shape[0], int(self.action_space.n)  # type: ignore[index,attr-defined]
        self.trained = False
        try:
            transformer = self._resolve(length, vocabulary)
        except CheckpointError as error:
            if isinstance(self._model, Mapping) or Path(self._model).exists():
                raise
            # The algorithm may be about to load weights, which bring their own shape.
            self._missing = error
            transformer = Transformer(TransformerConfig(vocabulary, length, 1, 1, 1))
        self._adopt(transformer, lr_schedule(1))

    def _resolve(self, length: int, vocabulary: int) -> Transformer:
        if isinstance(self._model, Mapping):
            shape = {"vocab_size": vocabulary, "context": length, "banned": RESERVED, **self._model}
        elif str(self._model) in SIZES:
            shape = {"vocab_size": vocabulary, "context": length, "banned": RESERVED, **SIZES[str(self._model)]}
        else:
            checkpoint = load_checkpoint(Path(self._model))
            _require_fit(checkpoint.model.config, length, vocabulary, str(self._model))
            self.trained = True
            return checkpoint.model
        try:
            config = TransformerConfig(**shape)
        except TypeError as error:
            raise CheckpointError(f"model={self._model!r}: {error}") from error
        _require_fit(config, length, vocabulary, str(self._model))
        return Transformer(config)

    def _adopt(self, transformer: Transformer, learning_rate: float) -> None:
        self.transformer = transformer
        self.value_head = ValueHead(transformer.config.n_embd)
        self.clear_caches()
        options = {"fused": True, **self.optimizer_kwargs} if self._fusable() else self.optimizer_kwargs
        self.optimizer = self.optimizer_class(self.parameters(), lr=learning_rate, **options)  # type: ignore[call-arg]

    def _fusable(self) -> bool:
        return self.optimizer_class in (torch.optim.Adam, torch.optim.AdamW)

    # What Stable-Baselines3 calls -------------------------------------------------------------------------------

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """One action a row: (actions (B,), values (B, 1), log-probabilities (B,))."""
        hidden = self._hidden(obs, self._rollout_cache)
        actions, logp = _choose(self.transformer.logits(hidden), deterministic)
        return actions, self.value_head(hidden), logp

    def evaluate_actions(  # type: ignore[override]
        self, obs: Tensor | Segments, actions: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, " N"], Float[Tensor, " N"]]:
        """Values, log-probabilities and entropies of N steps, with gradient."""
        hidden = self._hidden(obs)
        logp, entropy = logprob_and_entropy(self.transformer.logits(hidden), actions.long().flatten())
        return self.value_head(hidden), logp, entropy

    def get_distribution(self, obs: PyTorchObs | Segments) -> CategoricalDistribution:
        """The next-token distribution of each prefix or step; twice differentiable, as TRPO needs it."""
        with sdpa_kernel(SDPBackend.MATH):
            logits = self.transformer.logits(self._hidden(obs))
        distribution = self.action_dist.proba_distribution(logits)
        assert isinstance(distribution, CategoricalDistribution)
        return distribution

    def predict_values(self, obs: PyTorchObs | Segments) -> Float[Tensor, "N 1"]:
        """State values of each prefix or step."""
        values: Tensor = self.value_head(self._hidden(obs, self._rollout_cache))
        return values

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return _choose(self.transformer.logits(self._hidden(observation, self._predict_cache)), deterministic)[0]

    # Hidden states ----------------------------------------------------------------------------------------------

    def _hidden(self, obs: Any, cache: PrefixCache | None = None) -> Float[Tensor, "N C"]:
        if self._missing is not None:
            raise self._missing
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

    def train(self, mode: bool = True) -> "TransformerPolicy":
        """As `nn.Module.train`; a switch empties the caches."""
        if mode != self.training:
            self.clear_caches()
        super().train(mode)
        return self

    def set_training_mode(self, mode: bool) -> None:
        """As in the base class; a switch empties the caches."""
        self.train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> "TransformerPolicy":
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
        if shape is not None and TransformerConfig(**shape) != self.transformer.config:
            config = TransformerConfig(**shape)
            _require_fit(config, self.observation_space.shape[0], int(self.action_space.n), "the saved policy")  # type: ignore[index,attr-defined]
            self._adopt(Transformer(config).to(self.device), self.optimizer.param_groups[0]["lr"])
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
        }


def _choose(logits: Float[Tensor, "B V"], deterministic: bool) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Actions and their log-probabilities; one uniform number a row, which is ten times cheaper than multinomial."""
    if deterministic:
        actions = logits.argmax(-1)
        return actions, logits.log_softmax(-1).gather(1, actions[:, None])[:, 0]
    return draw(logits, torch.rand(len(logits), dtype=torch.float64, device=logits.device))


def _holds_tokens(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 1 and bool((space.low == -1).all())


def _require_fit(config: TransformerConfig, length: int, vocabulary: int, name: str) -> None:
    if config.vocab_size != vocabulary:
        raise CheckpointError(
            f"{name} has a vocabulary of {config.vocab_size:,} tokens, the environment has {vocabulary:,}. "
            "Make the environment with the model's own tokenizer: tokenizer='.../tokenizer.json'"
        )
    if config.context < length:
        raise CheckpointError(
            f"{name} has a context of {config.context} tokens, the environment's observations have {length}. "
            "Train a longer one, or lower max_new_tokens or max_prompt_tokens"
        )
