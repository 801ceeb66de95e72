"""`WholeTextAlgorithm`: what the policy gradients that learn from whole texts share; a subclass is two functions.

A rollout is one text a row, written by the policy as it is, from prompts that the rows of a group share. No text is
cut, and none is left over for the next update, so that a first gradient step is on-policy, and what is unbiased on
paper is unbiased here. A row that has ended rests until all have.

    objective = sum_i sum_t w_i (surrogate(pi(a_it|s_it), A_it) + ent_coef H_it - beta KL_it)

with the weights w_i of `aggregate`: a token counts one over the number of texts ("token_sum": the gradient of J), one
over the number of all tokens ("token_mean"), or its text's share ("sequence_mean", one over texts times its length).
"""

from abc import abstractmethod
from typing import Any, TypedDict, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, RolloutBufferSamples, Schedule
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from textgym.errors import TaskError
from textgym.models.masks import pack
from textgym.models.sampling import Sampling
from textgym.sb3.advantages import Steps
from textgym.sb3.defaults import attribute_of
from textgym.sb3.policies import TransformerPolicy
from textgym.sb3.text_buffer import WholeTextBuffer

AGGREGATES = ("token_sum", "token_mean", "sequence_mean")
"""How the tokens of a minibatch are weighed against each other."""

SHRINK = 0.75
"""Rows that have ended are dropped from the policy's cache when so small a share of its rows is live: it is copied."""

Self = TypeVar("Self", bound="WholeTextAlgorithm")


class WholeTextSettings(TypedDict, total=False):
    """What a subclass hands on to `WholeTextAlgorithm`, which says what each is."""

    n_epochs: int
    batch_size: int | None
    gamma: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float | None
    top_k: int | None
    top_p: float | None
    n_steps: int | None
    rollout_buffer_class: type[WholeTextBuffer]
    rollout_buffer_kwargs: dict[str, Any] | None
    stats_window_size: int
    tensorboard_log: str | None
    policy_kwargs: dict[str, Any] | None
    verbose: int
    seed: int | None
    device: torch.device | str
    _init_setup_model: bool


class WholeTextAlgorithm(OnPolicyAlgorithm):
    """A policy gradient of whole texts, with Stable-Baselines3's interface.

    Args:
        policy: a `TransformerPolicy`.
        env: from `make_sb3_env(..., autoreset=False)`; its `group_size` is that of the algorithm.
        learning_rate: of Adam.
        n_epochs: times that each rollout is used.
        batch_size: tokens of a minibatch, which is one optimizer step; None for the whole rollout.
        gamma: discount; the environment's.
        ent_coef: of the entropy bonus, in reward units a nat. 1 where the KL is in the loss: the buffer has both then.
        vf_coef: of the critic's squared error, where there is a critic.
        max_grad_norm: norm that gradients are clipped to; None for no clipping.
        aggregate: see the module.
        top_k: draw from the k likeliest tokens alone; None for all.
        top_p: draw from the likeliest tokens that together have a probability of p; None for all. What could be drawn
            is stored as masks: log-probability, entropy and KL are those of the distribution that was drawn from.
        n_steps: room for a text; None for the environment's budget, which is the least.
        rollout_buffer_class: a `WholeTextBuffer`.
        rollout_buffer_kwargs: of the KL, see `EpisodeRolloutBuffer`.
        stats_window_size: as in Stable-Baselines3, as for all from here on.
        tensorboard_log: folder.
        policy_kwargs: e.g. ``{"model": "story-small"}``.
        verbose: 0, 1 or 2.
        seed: of weights and draws.
        device: of the network.

    Raises:
        TaskError: rows that go on when they have ended, groups that are too small, a setting out of range.
    """

    MIN_GROUP = 1
    """Texts of one prompt without which the algorithm has nothing to compare."""

    critic: bool = False
    """Whether values are learned."""

    rollout_buffer: WholeTextBuffer

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
        n_epochs: int = 1,
        batch_size: int | None = None,
        gamma: float = 1.0,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float | None = 1.0,
        aggregate: str = "token_sum",
        top_k: int | None = None,
        top_p: float | None = None,
        n_steps: int | None = None,
        rollout_buffer_class: type[WholeTextBuffer] = WholeTextBuffer,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if n_epochs < 1 or (batch_size is not None and batch_size < 1):
            raise TaskError(f"n_epochs={n_epochs}, batch_size={batch_size}: both count, and must be at least 1")
        if aggregate not in AGGREGATES:
            raise TaskError(f"aggregate={aggregate!r}: must be one of {', '.join(AGGREGATES)}")
        self.n_epochs, self.batch_size, self.aggregate = n_epochs, batch_size, aggregate
        self.sampling = Sampling(top_k=top_k, top_p=top_p)
        self.group_size = 1
        super().__init__(
            policy,  # type: ignore[arg-type]
            env,
            learning_rate,
            n_steps=n_steps or 0,
            gamma=gamma,
            gae_lambda=1.0,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=rollout_buffer_class,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
            supported_action_spaces=(spaces.Discrete,),
        )

    # --- what a subclass says ----------------------------------------------------------------------------------------

    @abstractmethod
    def advantages(self, buffer: WholeTextBuffer) -> Steps:
        """How much better each step was than expected, (T, B), from a rollout whose KL has been charged."""

    def surrogate(self, logprobs: Float[Tensor, " N"], sample: RolloutBufferSamples) -> Float[Tensor, " N"]:
        """The objective of each step, to be maximised; here log pi(a|s) A, whose gradient is the policy gradient.

        Args:
            logprobs: of the actions under the policy as it is, with gradient.
            sample: the same steps: `advantages`, `old_log_prob` when they were written.
        """
        return logprobs * sample.advantages

    # --- setting up --------------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        if self.env is not None:
            self._check_environment(self.env)
            self.n_steps = max(self.n_steps, int(attribute_of(self.env, "episodes", None).rules.budget))
        super()._setup_model()
        if not isinstance(self.policy, TransformerPolicy):
            raise TaskError(f"{type(self).__name__} needs a TransformerPolicy, not {type(self.policy).__name__}")
        self.rollout_buffer.group_size = self.group_size
        if self.rollout_buffer.kl_in == "loss" and self.ent_coef != 1:
            raise TaskError(
                f"the KL is in the loss and ent_coef={self.ent_coef}: give ent_coef=1 here, and the coefficient of the "
                "entropy to the buffer, which hands both on as one: rollout_buffer_kwargs={'kl_in': 'loss', "
                "'ent_coef': ...}"
            )

    def _check_environment(self, env: VecEnv) -> None:
        if attribute_of(env, "episodes", None) is None or not getattr(env.unwrapped, "rests", False):
            raise TaskError(
                f"{type(self).__name__} learns from whole texts, one a row, so that a row that has ended must rest: "
                "make the environment with make_sb3_env(..., autoreset=False)"
            )
        self.group_size = int(attribute_of(env, "group_size", 1))
        if self.group_size < self.MIN_GROUP:
            raise TaskError(
                f"{type(self).__name__} compares texts of one prompt: make the environment with "
                f"make_sb3_env(..., group_size=8), at least {self.MIN_GROUP}; it has {self.group_size}"
            )

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in Stable-Baselines3, of environments whose rows rest."""
        super().set_env(env, force_reset)
        assert self.env is not None
        self._check_environment(self.env)

    # --- a rollout ---------------------------------------------------------------------------------------------------

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: WholeTextBuffer, n_rollout_steps: int
    ) -> bool:
        """Writes one text a row; whether the callbacks want to go on."""
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        observations: Any = env.reset()
        masked = bool(getattr(attribute_of(env, "episodes", None), "constraints", ()))
        alive, held = np.ones(env.num_envs, bool), np.arange(env.num_envs)  # who writes; rows of the policy's cache
        while alive.any():
            live, going = np.flatnonzero(alive), alive[held]
            masks = np.stack(env.env_method("action_masks"))[held] if masked else None
            with torch.no_grad():
                inputs = obs_as_tensor(observations[held], self.device)
                drawn, values, logprobs, support = self.policy.act(inputs, self.sampling, masks)  # type: ignore[operator]
            chosen = np.zeros(env.num_envs, np.int64)
            chosen[held] = drawn.cpu().numpy()
            new_observations: Any
            new_observations, rewards, dones, infos = env.step(chosen)
            self.num_timesteps += len(live)
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            bits = None if support is None else pack(support[going].cpu().numpy())
            told = (chosen[live], rewards[live], values[going], logprobs[going])
            rollout_buffer.add_live(live, observations, *told, bits)
            observations, alive[live] = new_observations, ~dones[live]
            self._last_obs, self._last_episode_starts = observations, dones
            if 0 < alive.sum() <= SHRINK * len(held):
                rest = torch.as_tensor(np.flatnonzero(alive[held]), device=self.device)
                held = np.flatnonzero(alive) if self.policy.keep_rows(rest) else held  # type: ignore[operator]
        rollout_buffer.finish()
        rollout_buffer.advantages = self.advantages(rollout_buffer)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    # --- an update ---------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Ascends the objective over the rollout: `n_epochs` passes, an optimizer step a minibatch."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        figures: list[dict[str, float]] = []
        for _ in range(self.n_epochs):
            figures += [self._step(texts) for texts in self.rollout_buffer.minibatches(self.batch_size)]
            self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name in figures[0]:
            self.logger.record(f"train/{name}", float(np.mean([row[name] for row in figures])))

    def _step(self, texts: list[int]) -> dict[str, float]:
        """One optimizer step on these texts; what it saw, in means over texts or tokens."""
        buffer, steps = self.rollout_buffer, self.rollout_buffer.ended[texts]
        tokens = int(steps.sum())
        sums = dict.fromkeys(("policy_loss", "value_loss", "entropy_loss", "approx_kl"), 0.0)
        self.policy.optimizer.zero_grad()
        for sample, masks in buffer.parts(texts):
            weights = self._weights(sample, len(texts), tokens)
            values, logprobs, entropy = self.policy.evaluate_actions(  # type: ignore[call-arg]
                sample.observations, sample.actions, action_masks=masks
            )
            policy_loss = -(weights * self.surrogate(logprobs, sample)).sum()
            assert entropy is not None
            entropy_loss = -(weights * entropy).sum()
            loss = policy_loss + self.ent_coef * entropy_loss if self.ent_coef else policy_loss
            if self.critic:
                value_loss = (values[:, 0] - sample.returns).square().sum() / tokens
                loss = loss + self.vf_coef * value_loss
                sums["value_loss"] += float(value_loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                log_ratio = logprobs - sample.old_log_prob
                sums["approx_kl"] += float((torch.expm1(log_ratio) - log_ratio).sum()) / tokens
            sums["policy_loss"] += float(policy_loss.detach())
            sums["entropy_loss"] += float(entropy_loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm or torch.inf)
        self.policy.optimizer.step()
        if not self.critic:
            del sums["value_loss"]
        return {**sums, "grad_norm": float(norm)}

    def _weights(self, sample: RolloutBufferSamples, texts: int, tokens: int) -> Tensor:
        """What each step counts."""
        segments: Any = sample.observations
        match self.aggregate:
            case "token_sum":
                return torch.full_like(sample.old_log_prob, 1 / texts)
            case "token_mean":
                return torch.full_like(sample.old_log_prob, 1 / tokens)
        lengths: Tensor = segments.steps[segments.row]
        return 1 / (texts * lengths)

    # --- the rest ----------------------------------------------------------------------------------------------------

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """As in Stable-Baselines3; `action_masks` (V,) or (B, V) says which tokens may come next."""
        if action_masks is None:
            return super().predict(observation, state, episode_start, deterministic)
        self.policy.set_training_mode(False)
        prefixes, vectorised = self.policy.obs_to_tensor(observation)
        with torch.no_grad():
            chosen = self.policy._predict(prefixes, deterministic, action_masks)  # type: ignore[call-arg]
        actions: np.ndarray = chosen.cpu().numpy()
        return (actions if vectorised else actions[0]), state

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains until so many tokens are written, and the rollout under way to its end; arguments as in the base."""
        name = tb_log_name or type(self).__name__
        return super().learn(total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)
