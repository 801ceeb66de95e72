"""`TransformerExtractor`: a language model as features, for the algorithms whose policy is not made for text.

    DQN("MlpPolicy", env, policy_kwargs=TransformerExtractor.policy_kwargs("runs/a/model"), buffer_size=20_000)

Runs under DQN and QR-DQN, and under whatever else of Stable-Baselines3 chooses one of V actions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from textgym.errors import CheckpointError, SpaceError
from textgym.models.causal_network import CausalNetwork
from textgym.models.folder import model_folder
from textgym.sb3.network import Model, build_network, holds_tokens, shape_of


class TransformerExtractor(BaseFeaturesExtractor):
    """Features of a prefix: the hidden state after its last token, (B, C).

    What it costs. An extractor sees one observation at a time, so every step scores its whole prefix again, where
    `TransformerPolicy` decodes one token with a KV cache and trains on whole episodes in one pass. Measured for texts
    of 64 tokens (4 layers, width 128): a step costs 12 times as much to act and 80 times as much to train on, and both
    grow with the length. A replay buffer stores two whole prefixes a step, 8 L bytes: at L = 97 the million steps
    that are Stable-Baselines3's default are 776 MB, so set `buffer_size`. The Q head is new: what the model knows of
    the next token is not in it. Exploration draws uniformly from all V tokens, <unk> and the separator too. So this
    is the door to off-policy algorithms on small vocabularies; to improve a language model, use `TransformerPolicy`.

    Args:
        observation_space: Box (L,) of token ids of any dtype, padded with -1; V is its highest id + 1.
        model: a checkpoint folder; or an architecture by name ("tiny", "small", ...) or as a mapping
            (n_layer, n_head, n_embd), with random weights.
        shape: the network's shape, which a saved agent needs where the folder `model` is gone; `policy_kwargs` puts
            it in.
        frozen: whether the network stays as it is, and only what stands on it is trained.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        model: Model = "small",
        shape: Mapping[str, Any] | None = None,
        frozen: bool = False,
    ) -> None:
        if not holds_tokens(observation_space):
            raise SpaceError(
                "TransformerExtractor needs token prefixes, Box(L,) from -1 on, as TextGen-v0 and TextGenFloat-v0 "
                f"have them; given {observation_space}"
            )
        assert isinstance(observation_space, spaces.Box)
        length, vocabulary = observation_space.shape[0], int(observation_space.high.max()) + 1
        missing = None
        try:
            transformer = build_network(model, length=length, vocabulary=vocabulary)
        except CheckpointError as error:
            if shape is None or model_folder(str(model)).exists():
                raise
            # The algorithm may be about to load weights.
            missing, transformer = error, build_network(shape, length=length, vocabulary=vocabulary)
        super().__init__(observation_space, transformer.width)
        self.transformer: CausalNetwork = transformer.requires_grad_(not frozen)
        self.frozen, self._missing = frozen, missing
        self.register_load_state_dict_post_hook(_has_weights)  # type: ignore[no-untyped-call]

    def forward(self, observations: Float[Tensor, "B L"]) -> Float[Tensor, "B C"]:
        """Hidden states after the last token of each prefix; ids may come as floats, which hold them exactly."""
        if self._missing is not None:
            raise self._missing
        tokens = observations.long()
        lengths = (tokens >= 0).sum(1)
        if int(lengths.min()) < 1:
            raise SpaceError("an observation without a single token: every prefix holds at least the separator")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            every: Tensor = self.transformer(tokens[:, : int(lengths.max())].clamp(min=0))
        return every[torch.arange(len(tokens), device=tokens.device), lengths - 1]

    @classmethod
    def policy_kwargs(
        cls, model: str | Path, *, frozen: bool = False, net_arch: list[int] | None = None
    ) -> dict[str, Any]:
        """What DQN and its like take as `policy_kwargs`, so that a saved agent also loads where the folder is gone.

        Args:
            model: a checkpoint folder, or an architecture by name.
            frozen: see the class.
            net_arch: hidden layers between features and Q values; None for none, a linear head.

        Raises:
            CheckpointError: no such model.
        """
        settings = {"model": str(model), "shape": shape_of(str(model)), "frozen": frozen}
        return {"features_extractor_class": cls, "features_extractor_kwargs": settings, "net_arch": net_arch or []}


def _has_weights(extractor: nn.Module, keys: object) -> None:
    assert isinstance(extractor, TransformerExtractor)
    extractor._missing = None
