"""The same PPO in bfloat16: weights in float32, network in autocast, keys and values in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from textgym.benchmarks.speed.measure import textgym_ppo
from textgym.benchmarks.speed.setting import Setting
from torch import Tensor

from textgym.models.transformer import KVCache, TransformerConfig
from textgym.sb3 import TransformerPolicy, prefix_cache


class Bfloat16Policy(TransformerPolicy):
    """`TransformerPolicy` whose network runs in bfloat16; what goes to Stable-Baselines3 is float32."""

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As in the base class."""
        with torch.autocast(self.device.type, torch.bfloat16):
            actions, values, logp = super().forward(obs, deterministic, action_masks)
        return actions, values.float(), logp.float()

    def evaluate_actions(self, obs: Any, actions: Tensor, action_masks: Any = None) -> tuple[Tensor, Tensor, Tensor]:
        """As in the base class."""
        with torch.autocast(self.device.type, torch.bfloat16):
            values, logp, entropy = super().evaluate_actions(obs, actions, action_masks)
        return values.float(), logp.float(), entropy.float()

    def predict_values(self, obs: Any) -> Tensor:
        """As in the base class."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return super().predict_values(obs).float()


@contextmanager
def bfloat16_caches() -> Iterator[None]:
    """Prefix caches that are made inside hold bfloat16: theirs is the dtype of the weights, not that of autocast."""

    def cache(config: TransformerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> KVCache:
        return KVCache(config, rows, device, torch.bfloat16)

    owner: Any = prefix_cache
    before, owner.KVCache = owner.KVCache, cache
    try:
        yield
    finally:
        owner.KVCache = before


def textgym_ppo_bfloat16(setting: Setting, iterations: int, device: str = "cuda") -> dict[str, float]:
    """As `measure.textgym_ppo`, in bfloat16; on a CPU too, where it is only a test of this path."""
    with bfloat16_caches():
        return textgym_ppo(setting, iterations, Bfloat16Policy, device)
