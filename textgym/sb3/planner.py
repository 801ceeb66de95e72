"""`PlanningAlgorithm`: agents that learn nothing, and plan what they write. What a trained agent is compared with.

A plan is how a text goes on from a prefix. It is kept under the prefix that it goes on from, never under a row or an
order of calls, and is followed while the text keeps to it; where a text has left its plan, it is planned again.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, Int64
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from textgym.envs.episodes import Episodes
from textgym.errors import SpaceError, TaskError
from textgym.sb3.defaults import attribute_of, environment_gamma
from textgym.types import TokenIds

KEPT = 65_536
"""Prefixes whose plans are kept; the oldest go first. An abandoned text leaves its plan behind."""

Tokens = Int32[np.ndarray, "N L"]
Lengths = Int64[np.ndarray, " N"]
Masks = Bool[np.ndarray, "N V"]


class PlanningAlgorithm(OnPolicyAlgorithm):
    """An agent whose `learn` writes and scores texts and changes no parameter; subclasses say how a text goes on.

    Saved, loaded, called back and logged as any other algorithm of Stable-Baselines3. Beside its rollouts nothing
    happens: there is no buffer and no update, and `predict` is the same before and after.

    Args:
        policy: class of the policy, e.g. `TransformerPolicy`; its network is what is planned with.
        env: from `make_sb3_env`.
        n_steps: steps in each row from one line of the log to the next; not looked at where rows rest.
        policy_kwargs: of the policy.
        stats_window_size: as in Stable-Baselines3.
        tensorboard_log: as in Stable-Baselines3.
        verbose: as in Stable-Baselines3.
        seed: of whatever is drawn.
        device: where the network is.
    """

    def __init__(
        self,
        policy: Any,
        env: VecEnv,
        *,
        n_steps: int = 64,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if n_steps < 1:
            raise TaskError(f"n_steps={n_steps}: at least one step is taken from one line of the log to the next")
        super().__init__(
            policy,
            env,
            learning_rate=0.0,
            n_steps=n_steps,
            gamma=environment_gamma(env) if env is not None else 1.0,  # a saved agent loads without one
            gae_lambda=1.0,
            ent_coef=0.0,
            vf_coef=0.0,
            max_grad_norm=0.0,
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        if _init_setup_model:
            self._setup_model()

    markov: ClassVar[bool] = False
    """Whether the next token is a function of the prefix alone: nothing is drawn, and no plan goes beyond it."""

    @abstractmethod
    def plan(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> list[TokenIds]:
        """How each of N texts goes on.

        Args:
            tokens: prefixes, left-aligned, -1 beyond their end.
            lengths: tokens in each.
            masks: which tokens may come next.

        Returns:
            For each the next tokens: one, or as many as are settled.
        """

    # --- what Stable-Baselines3 calls --------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        made: Any = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = made.to(self.device)
        self.rollout_buffer: Any = None
        self._plans: dict[bytes, list[TokenIds]] = {}

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer | None, n_rollout_steps: int
    ) -> bool:
        """Steps in every row, without a buffer; where rows rest that have ended, one text a row."""
        rests = bool(getattr(env.unwrapped, "rests", False))
        callback.on_rollout_start()
        if rests:
            self._last_obs = env.reset()  # type: ignore[assignment]
        live, steps = np.arange(env.num_envs), 0
        while len(live) and (rests or steps < n_rollout_steps):
            observations: Any = self._last_obs
            actions = np.zeros(env.num_envs, np.int64)
            actions[live], _ = self.predict(observations[live])
            new_obs, rewards, dones, infos = env.step(actions)
            self.num_timesteps += len(live)
            steps += 1
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
            live = live[~dones[live]] if rests else live
        for name, value in self.figures().items():
            self.logger.record(name, value)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Nothing is learned."""

    def figures(self) -> dict[str, float]:
        """What a line of the log says of the plans; their names begin with `plan/`."""
        return {}

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """The next token of each prefix, and `state` as it came.

        Args:
            observation: (L,) or (B, L) token ids, padded with -1.
            state: is not looked at.
            episode_start: is not looked at.
            deterministic: changes nothing; an agent that plans has one way to act.
            action_masks: (V,) or (B, V) which tokens may come next; None asks the environment.
        """
        self.policy.set_training_mode(False)  # the cache of prefixes is used in no other
        found = np.asarray(observation)
        tokens = found.reshape(-1, found.shape[-1]).astype(np.int32)
        lengths = (tokens >= 0).sum(1)
        if int(lengths.min()) < 1:
            raise SpaceError("an observation without a single token: every prefix holds at least the separator")
        chosen = self._next_tokens(tokens, lengths, self._checked_masks(action_masks, tokens, lengths))
        return (chosen[0] if found.ndim == 1 else chosen), state

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_plans"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []

    # --- plans -------------------------------------------------------------------------------------------------------

    def _next_tokens(self, tokens: Tokens, lengths: Lengths, masks: Masks) -> Int64[np.ndarray, " N"]:
        plans = [self._planned(row[:length], mask) for row, length, mask in zip(tokens, lengths, masks, strict=True)]
        rows = np.flatnonzero([plan is None for plan in plans])
        if len(rows):
            for row, plan in zip(rows.tolist(), self.plan(tokens[rows], lengths[rows], masks[rows]), strict=True):
                plans[row] = plan
        followed = [plan for plan in plans if plan is not None]
        for prefix, length, plan in zip(tokens, lengths, followed, strict=True):
            if len(plan) > 1:
                self._keep(np.append(prefix[:length], plan[0]), plan[1:])
        return np.array([plan[0] for plan in followed], np.int64)

    def _planned(self, prefix: TokenIds, mask: Bool[np.ndarray, " V"]) -> TokenIds | None:
        """A plan that was kept for this prefix; rows with the same prefix are alike, so it may be another's."""
        waiting = self._plans.get(prefix.tobytes())
        if not waiting:
            return None
        plan = waiting.pop()
        if not waiting:
            del self._plans[prefix.tobytes()]
        return plan if mask[plan[0]] else None

    def _keep(self, prefix: TokenIds, plan: TokenIds) -> None:
        self._plans.setdefault(prefix.astype(np.int32).tobytes(), []).append(plan)
        if len(self._plans) > KEPT:
            del self._plans[next(iter(self._plans))]

    def state_dict(self) -> dict[str, Any]:
        """The plans of texts that are not finished, which a training that is gone on with needs."""
        kept = [
            [np.frombuffer(at, np.int32).tolist(), [p.tolist() for p in plans]] for at, plans in self._plans.items()
        ]
        return {"plans": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` of such an agent gave."""
        self._plans = {
            np.array(at, np.int32).tobytes(): [np.array(plan, np.int32) for plan in plans]
            for at, plans in state["plans"]
        }

    # --- what plans are made of --------------------------------------------------------------------------------------

    @property
    def episodes(self) -> Episodes:
        """The task with its reward, rules and constraints.

        Raises:
            TaskError: the agent has no environment, or one that is not TextGym's.
        """
        found = attribute_of(self.env, "episodes", None)
        if found is None:
            raise TaskError(
                f"{type(self).__name__} plans by the rules of its environment, and has none: "
                f"{type(self).__name__}.load(path, env=make_sb3_env(...))"
            )
        assert isinstance(found, Episodes)
        return found

    def next_logprobs(self, tokens: Tokens, masks: Masks) -> Float[Tensor, "N V"]:
        """Log-probabilities of the next token among those that may come, in float64; -inf for the others."""
        policy: Any = self.policy
        allowed = torch.as_tensor(masks, device=self.device)
        logits = policy.next_logits(torch.as_tensor(tokens, device=self.device), allowed)
        logprobs: Tensor = logits.double().masked_fill(~allowed, -torch.inf).log_softmax(-1)
        return logprobs

    def starts(self, tokens: Tokens) -> Lengths:
        """Where each completion begins: behind the separator, which stands in a text once."""
        found: Lengths = (tokens == self.episodes.rules.sep_id).argmax(1) + 1
        return found

    def allowed(self, tokens: Tokens, lengths: Lengths, over: Bool[np.ndarray, " N"] | None = None) -> Masks:
        """Which tokens may come next in the environment, in the rows that are not over."""
        over = np.zeros(len(tokens), bool) if over is None else over
        return self.episodes.masks(tokens, lengths, self.starts(tokens), over)

    def _checked_masks(self, given: Any, tokens: Tokens, lengths: Lengths) -> Masks:
        shape = (len(tokens), int(self.action_space.n))  # type: ignore[attr-defined]
        if given is None:
            known = attribute_of(self.env, "episodes", None) is not None
            return self.allowed(tokens, lengths) if known else np.ones(shape, bool)
        masks = np.asarray(given).astype(bool)
        if masks.size != shape[0] * shape[1]:
            raise SpaceError(f"action_masks of shape {masks.shape} for {shape[0]} prefixes: {shape} is due")
        masks = masks.reshape(shape)
        if not masks.any(1).all():
            raise SpaceError(f"action_masks: row {int(masks.any(1).argmin())} allows no token at all")
        return masks


class ModellessPolicy(BasePolicy):
    """The policy of an agent that has no network: it holds the spaces, and acts through its algorithm alone."""

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any) -> None:
        super().__init__(observation_space, action_space)
        self.optimizer = torch.optim.SGD([torch.zeros(0)], lr=0.0)  # checkpoints hold one

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        raise TaskError("this policy has no network: ask the agent, agent.predict(observation)")
