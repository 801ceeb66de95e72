"""DQN (Mnih et al. 2015) on a language model, among the tokens that may come next.

    y = r + gamma max_a' Q-(s', a'),   a' in allowed(s')          (algorithm 1, where the mask has been put in)

The mask is a function of the prefix, so that it is not stored with a step but asked for again. Q is a linear head on
the hidden state of the last token. Replayed are whole texts: one causal pass gives Q in all of their prefixes, another
that of the target network; a step at a time would score each prefix anew. There is no language model left to sample
from, and no KL to one: an agent to compare with, on small vocabularies.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import QNetwork
from torch import Tensor
from torch.nn import functional as F

from textgym.errors import CheckpointError, TaskError
from textgym.models.masks import forbid
from textgym.sb3.defaults import attribute_of, environment_gamma
from textgym.sb3.extractor import TransformerExtractor
from textgym.sb3.prefix_cache import PrefixCache
from textgym.sb3.replay import PrefixReplayBuffer, TextSamples
from textgym.sb3.segments import Segments, hidden_states

DQN_DEFAULTS: dict[str, Any] = {
    "gamma": 1.0,  # as for PPO: a text is worth its score however long it is
    "buffer_size": 20_000,  # steps: 8 MB at L = 97, where the default of a million would be 388
    "learning_starts": 1_000,  # tokens at random before the first update
    "train_freq": 8,  # steps of all rows from one training to the next
    "gradient_steps": 32,  # updates each time: with 64 rows a token is replayed 16 times
    "batch_size": 256,  # tokens, of whole texts
    "learning_rate": 3e-4,  # of trunk and head; 1e-3 did not settle
    "target_update_interval": 1_000,  # tokens; a reward at the end moves one token towards the beginning each time
    "exploration_fraction": 0.5,  # of the training, in which epsilon falls from 1
    "exploration_final_eps": 0.05,  # an epsilon a token: of 64 tokens 3 are still drawn at random
    "max_grad_norm": 1.0,  # as for PPO
    "replay_buffer_class": PrefixReplayBuffer,  # each prefix once
}
"""Keyword arguments for `MaskableDQN`."""


class MaskableDQN(DQN):
    """DQN that explores, chooses and bootstraps among the allowed tokens alone; its arguments are DQN's.

    Where no masks are given, those of its environment hold; an agent without an environment takes all tokens as
    allowed. Epsilon is drawn for each row and step. The step whose scorer failed is not learned from.

    Raises:
        TaskError: features other than `TransformerExtractor`'s, or a buffer other than `PrefixReplayBuffer`.
    """

    def _setup_model(self) -> None:
        self.replay_buffer_class = self.replay_buffer_class or PrefixReplayBuffer
        super()._setup_model()
        self._cache = PrefixCache()
        if not isinstance(self.replay_buffer, PrefixReplayBuffer) or self.n_steps != 1:
            raise TaskError("MaskableDQN replays whole texts, a step at a time: PrefixReplayBuffer, n_steps=1")
        if not isinstance(self.q_net.features_extractor, TransformerExtractor):
            raise TaskError("MaskableDQN needs policy_kwargs=TransformerExtractor.policy_kwargs(MODEL)")

    def allowed(self, observations: np.ndarray, over: Bool[np.ndarray, " B"] | None = None) -> Bool[np.ndarray, "B V"]:
        """Which tokens may follow these prefixes (B, L), by the environment's rules; `over` are no longer asked of."""
        episodes = attribute_of(self.env, "episodes", None)
        if episodes is None:
            return np.ones((len(observations), self.q_net.action_space.n), bool)
        tokens = observations.astype(np.int32)
        starts = (tokens == episodes.rules.sep_id).argmax(1) + 1  # it stands once, behind the prompt
        over = np.zeros(len(tokens), bool) if over is None else over
        masks: Bool[np.ndarray, "B V"] = episodes.masks(tokens, (tokens >= 0).sum(1), starts, over)
        return masks

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """The allowed token of the highest value; with probability epsilon any allowed one, unless `deterministic`."""
        given, one = np.atleast_2d(observation), observation.ndim == 1
        masks = self.allowed(given) if action_masks is None else np.asarray(action_masks, bool).reshape(len(given), -1)
        actions = self._greedy(given, masks)
        if not deterministic:
            explores = np.random.rand(len(given)) < self.exploration_rate
            actions = np.where(explores, _any_of(masks), actions)
        return (actions[0] if one else actions), state

    @torch.no_grad()
    def _greedy(self, observations: np.ndarray, masks: Bool[np.ndarray, "B V"]) -> np.ndarray:
        self.policy.set_training_mode(False)
        tokens = torch.as_tensor(observations, device=self.device).long()
        network: Any = self.q_net.features_extractor
        values = self.q_net.q_net(self._cache.hidden(network.transformer, tokens, (tokens >= 0).sum(1)))
        chosen: np.ndarray = forbid(values, torch.as_tensor(masks, device=self.device)).argmax(1).cpu().numpy()
        return chosen

    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self._last_obs, np.ndarray)
        if self.num_timesteps < learning_starts:
            actions = _any_of(self.allowed(self._last_obs))
        else:
            actions, _ = self.predict(self._last_obs)
        return actions, actions

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """So many updates by the Huber loss of (Q - y); as in the base class, but for the masks."""
        assert isinstance(self.replay_buffer, PrefixReplayBuffer)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        samples = (self.replay_buffer.sample_texts(batch_size, self._vec_normalize_env) for _ in range(gradient_steps))
        losses = [self._update(texts) for texts in samples if texts is not None]
        self._cache.clear()
        self._n_updates += len(losses)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if losses:
            self.logger.record("train/loss", np.mean(losses))

    def _update(self, texts: TextSamples) -> float:
        scored = ~texts.rewards.isnan()
        target = texts.rewards + self.gamma * torch.where(texts.ended, 0.0, self._values_after(texts))
        chosen = _values(self.q_net, texts.segments).gather(1, texts.segments.actions[:, None])[:, 0]
        loss = F.smooth_l1_loss(chosen[scored], target[scored])
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def _values_after(self, texts: TextSamples) -> Float[Tensor, " N"]:
        """What the target network expects of the best allowed token behind each step."""
        segments = texts.segments
        after = Segments(segments.tokens, segments.first + 1, segments.steps)
        beyond = torch.arange(segments.tokens.shape[1], device=self.device) > after.position[:, None]
        prefixes = segments.tokens[segments.row].masked_fill(beyond, -1).cpu().numpy()
        masks = torch.as_tensor(self.allowed(prefixes, texts.ended.cpu().numpy()), device=self.device)
        best: Tensor = forbid(_values(self.q_net_target, after), masks).amax(1)
        return best

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_cache"]


def _values(network: QNetwork, segments: Segments) -> Float[Tensor, "N V"]:
    """Q in every prefix of these texts."""
    extractor: Any = network.features_extractor
    with torch.set_grad_enabled(torch.is_grad_enabled() and not extractor.frozen):
        hidden = hidden_states(extractor.transformer, segments)
    values: Tensor = network.q_net(hidden)
    return values


def _any_of(masks: Bool[np.ndarray, "B V"]) -> np.ndarray:
    """An allowed token of each row, each as likely."""
    which = (np.random.rand(len(masks)) * masks.sum(1)).astype(int)
    found: np.ndarray = (masks.cumsum(1) > which[:, None]).argmax(1)
    return found


def build(
    env: VecEnv,
    model: str | Path,
    *,
    kl_coef: float = 0.0,
    kl_target: float | None = None,
    gamma: float | None = None,
    learning_rate: float | None = None,
    frozen: bool = False,
    net_arch: list[int] | None = None,
    **settings: Any,
) -> MaskableDQN:
    """A DQN agent whose features are those of the language model `model`.

    Args:
        env: from `make_sb3_env`.
        model: checkpoint folder, or the name of an architecture with random weights.
        kl_coef: must be 0: an agent that is greedy has no distribution to hold near a model.
        kl_target: must be None.
        gamma: discount; None takes the environment's, a different one is refused.
        learning_rate: step size; None takes that of `DQN_DEFAULTS`.
        frozen: whether the network stays as it is, and only the Q head is trained.
        net_arch: hidden layers between features and Q values; None for a linear head.
        **settings: DQN's own (seed, device, buffer_size ...), before `DQN_DEFAULTS`.

    Raises:
        TaskError: a gamma that the environment does not have.
        CheckpointError: a model that does not fit the environment, or a KL penalty.
    """
    if kl_coef or kl_target is not None:
        raise CheckpointError(
            f"kl_coef={kl_coef}, kl_target={kl_target}: DQN is greedy, and has no distribution to hold near a model. "
            "Leave both away, or take an agent that has one (ppo, grpo ...)"
        )
    chosen = {**DQN_DEFAULTS, "gamma": environment_gamma(env, gamma), **settings}
    if learning_rate is not None:
        chosen["learning_rate"] = learning_rate
    extracting = TransformerExtractor.policy_kwargs(model, frozen=frozen, net_arch=net_arch)
    policy_kwargs = {"optimizer_kwargs": {"fused": True}, **extracting, **chosen.pop("policy_kwargs", {})}
    return MaskableDQN("MlpPolicy", env, policy_kwargs=policy_kwargs, **chosen)
