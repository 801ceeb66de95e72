"""TextGen-v0 for clients that want other observations: as float32, or as a dict that holds the action mask too.

Which client wants which, in Stable-Baselines3 and elsewhere:

- `TextGen-v0`: everything that looks ids up: an `nn.Embedding`, the policies of `textgym.sb3`. The default.
- `TextGenFloat-v0`: whatever feeds observations straight into a linear layer without a cast, as most one-file
  implementations do. SB3's "MlpPolicy" casts for itself and takes either.
- `TextGenDict-v0`: whatever reads the mask from the observation, as policies of one's own under SB3's
  "MultiInputPolicy" or RLlib do. sb3-contrib's MaskablePPO does not: it calls `action_masks()`, which all three have.

Only observations differ; rewards, flags, infos, masks and every constructor keyword are those of TextGen-v0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Int32

from textgym.envs.episodes import Episodes
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv


class _Float:
    """The same values in float32, which holds ids up to 2^24 exactly."""

    def _space(self, tokens: spaces.Box) -> spaces.Box:
        return spaces.Box(tokens.low.min(), tokens.high.max(), tokens.shape, np.float32)

    def _observed(
        self, tokens: Int32[np.ndarray, "*B L"], masks: Callable[[], Bool[np.ndarray, "*B V"]]
    ) -> Float32[np.ndarray, "*B L"]:
        return tokens.astype(np.float32)


class _Dict:
    """The prefix and the mask, in int8 as `Discrete.sample` takes it."""

    episodes: Episodes

    def _space(self, tokens: spaces.Box) -> spaces.Space[Any]:
        mask = spaces.Box(0, 1, (self.episodes.rules.vocab_size,), np.int8)
        return spaces.Dict({"action_mask": mask, "tokens": tokens})

    def _observed(
        self, tokens: Int32[np.ndarray, "*B L"], masks: Callable[[], Bool[np.ndarray, "*B V"]]
    ) -> dict[str, np.ndarray]:
        return {"action_mask": masks().astype(np.int8), "tokens": tokens.copy()}


class TextGenFloatEnv(_Float, TextGenEnv):
    """`TextGenFloat-v0`: a `TextGenEnv` whose observations are float32, shape (L,), with the same values."""


class TextGenFloatVectorEnv(_Float, TextGenVectorEnv):
    """B texts at a time with float32 observations, shape (B, L); otherwise a `TextGenVectorEnv`."""


class TextGenDictEnv(_Dict, TextGenEnv):
    """`TextGenDict-v0`: a `TextGenEnv` whose observations are dicts.

    `tokens` is the observation of TextGen-v0, int32 (L,). `action_mask` is int8 (V,): 1 where a token may come next,
    as `action_masks()` says at that moment; once a text is over, 1 for every token that has a text, and EOS.
    """


class TextGenDictVectorEnv(_Dict, TextGenVectorEnv):
    """B texts at a time with dict observations: `tokens` int32 (B, L), `action_mask` int8 (B, V).

    In mode SAME_STEP `infos["final_obs"]` holds one dict for each row that ended, as Gymnasium's own vector
    environments have it. Otherwise a `TextGenVectorEnv`.
    """
