"""The obvious way: a Transformer over the padded prefix as features extractor, and the default rollout buffer.

The network is the same; but each step runs it over the whole prefix of every row, and each minibatch over a whole
prefix for every single token.
"""

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from textgym.models.transformer import NEW_ACTIVATION, Transformer, TransformerConfig


class PaddedTransformer(BaseFeaturesExtractor):
    """Hidden state of the last token of each padded prefix.

    Args:
        observation_space: Box (L,) of token ids, padded with -1.
        vocab_size: V.
        n_layer: blocks.
        n_head: heads.
        n_embd: width.
    """

    def __init__(self, observation_space: spaces.Box, vocab_size: int, n_layer: int, n_head: int, n_embd: int) -> None:
        super().__init__(observation_space, n_embd)
        context = observation_space.shape[0]
        shape = TransformerConfig(vocab_size, context, n_layer, n_head, n_embd, activation=NEW_ACTIVATION)
        self.transformer = Transformer(shape)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, L) float ids to (B, C)."""
        tokens = observations.long()
        last = (tokens >= 0).sum(1) - 1
        hidden: Tensor = self.transformer(tokens.clamp(min=0))
        return hidden[torch.arange(len(tokens), device=tokens.device), last]
