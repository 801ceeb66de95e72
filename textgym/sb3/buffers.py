"""`EpisodeRolloutBuffer`: a rollout as episode segments, so that each prefix is stored, and scored, once.

PPO and A2C hand `rollout_data.observations` to the policy without looking at it; here it is a `Segments`.
The KL penalty against a frozen reference, r_t - beta (log pi(a_t) - log pi_ref(a_t)) (Ziegler et al. 2019, eq. 2),
is computed for whole segments at once, after the rollout; beta may adapt to a target (section 2.2).
"""

import copy
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from textgym.errors import CheckpointError, ScoringFailure, SpaceError
from textgym.models.causal_network import CausalNetwork
from textgym.models.checkpoint import load_checkpoint
from textgym.models.folder import model_folder
from textgym.models.likelihood import action_likelihood
from textgym.models.masks import PackedMasks
from textgym.sb3.kl_control import HORIZON, adapted, check_kl_settings
from textgym.sb3.regulariser import Regulariser
from textgym.sb3.segments import Segments, hidden_states

REFERENCE_TOKENS = 4096
"""How many steps the reference model scores in one pass."""


class EpisodeRolloutBuffer(RolloutBuffer):
    """A drop-in `rollout_buffer_class` for observations that are token prefixes.

    Minibatches hold whole segments with about `batch_size` steps together; a small last one is merged into the one
    before. An episode whose reward is NaN (a scorer failed under `on_failure="mask"`) is left out of training.

    Args:
        buffer_size: steps in each row.
        observation_space: Box (L,) of token ids, padded with -1.
        action_space: Discrete (V).
        device: where minibatches go.
        gae_lambda: as in Stable-Baselines3.
        gamma: as in Stable-Baselines3.
        n_envs: rows.
        kl_coef: beta of the KL penalty, in reward units a nat; 0 measures without penalty.
        reference: checkpoint folder of the frozen reference model. A path, not a model: it is saved with the agent.
            Where no such folder is, the first step of a rollout raises `CheckpointError`, not the constructor: a
            saved agent loads, and acts, wherever it is taken.
        kl_target: KL in nats a text that beta is steered to, from `kl_coef` on; None leaves beta alone. The adapted
            beta is `kl_coef` of the buffer: part of the training state, not of a saved agent.
        kl_horizon: texts that the steering takes, see `textgym.sb3.kl_control.adapted`.
        kl_in: "reward": each step is paid its log-ratio less. "loss": the policy's `evaluate_actions` gives
            ent_coef H - beta KL in the place of the entropy, so that an algorithm whose own ent_coef is 1 maximises it.
        kl_estimator: of the KL in the loss, see `textgym.sb3.regulariser`; None for "k3", that of GRPO.
        ent_coef: of the entropy, where the KL is in the loss.
        temperature: of the policy, which the reference shares.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        gae_lambda: float = 1.0,
        gamma: float = 1.0,
        n_envs: int = 1,
        kl_coef: float = 0.0,
        reference: str | Path | None = None,
        kl_target: float | None = None,
        kl_horizon: float = HORIZON,
        kl_in: str = "reward",
        kl_estimator: str | None = None,
        ent_coef: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        check_kl_settings(kl_coef, kl_target, kl_horizon, kl_in, kl_estimator)
        if kl_coef and reference is None:
            raise CheckpointError(f"kl_coef={kl_coef} needs reference=, the checkpoint folder of the frozen model")
        self.kl_coef, self.kl_target, self.kl_horizon = kl_coef, kl_target, kl_horizon
        self.kl_in, self.kl_estimator = kl_in, kl_estimator or ("k1" if kl_in == "reward" else "k3")
        self.ent_coef, self.temperature = ent_coef, temperature
        self.rollouts, self.refreshed = 0, False
        self._unfinished_kl = np.zeros(n_envs)  # log-ratio so far of the text in each row
        self._missing: CheckpointError | None = None
        self.reference = self._load_reference(reference, observation_space, action_space)
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)
        if self.reference is not None:
            self.reference.to(self.device)

    def _load_reference(
        self, name: str | Path | None, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> CausalNetwork | None:
        if name is None:
            return None
        try:
            model = load_checkpoint(name).model.requires_grad_(False).eval()
        except CheckpointError as error:
            if model_folder(name).exists():
                raise
            self._missing = CheckpointError(
                f"the reference of the KL penalty is not there: {error} A saved agent that was moved goes on with "
                f'load(..., rollout_buffer_kwargs={{"kl_coef": {self.kl_coef}, "reference": FOLDER}})'
            )
            return None
        length, vocabulary = observation_space.shape[0], int(action_space.n)  # type: ignore[index,attr-defined]
        if model.config.vocab_size != vocabulary or model.config.context < length:
            raise CheckpointError(
                f"reference {name} has a vocabulary of {model.config.vocab_size:,} and a context of "
                f"{model.config.context}, the environment needs {vocabulary:,} and {length}"
            )
        return model

    def reset(self) -> None:
        """Makes room for a rollout; no observation is stored but the first of each segment."""
        shape = (self.buffer_size, self.n_envs)
        self.actions = np.zeros(shape, np.int32)
        for name in ("rewards", "returns", "episode_starts", "values", "log_probs", "advantages"):
            setattr(self, name, np.zeros(shape, np.float32))
        self.observations = np.zeros(0, np.int32)
        self._begun: list[tuple[int, np.ndarray, np.ndarray]] = []  # (step, rows, their observations)
        self._next = np.full((self.n_envs, 2), -1)  # the length and the last token that must come next
        self.kl_penalty: float | None = None
        self.kl_text: float | None = None
        self.paid_kl_coef = self.kl_coef
        self.dropped = 0
        self.pos = 0
        self.full = False

    def add(
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        episode_start: np.ndarray,
        value: torch.Tensor,
        log_prob: torch.Tensor,
    ) -> None:
        """One step of all rows, as in the base class."""
        if self._missing is not None:
            raise self._missing
        obs, action = np.asarray(obs), np.asarray(action).reshape(self.n_envs)
        begins = np.asarray(episode_start, bool) if self.pos else np.ones(self.n_envs, bool)
        lengths = (obs >= 0).sum(1)
        last = obs[np.arange(self.n_envs), lengths - 1]
        if not (begins | ((lengths == self._next[:, 0]) & (last == self._next[:, 1]))).all():
            raise SpaceError(
                "EpisodeRolloutBuffer: an observation is not the one before plus the chosen token. "
                "Wrappers that change observations (frame stacks, normalisation) do not go with it"
            )
        rows = np.flatnonzero(begins)
        if len(rows):
            self._begun.append((self.pos, rows, obs[rows].astype(np.int32)))
        self._next = np.stack([lengths + 1, action], 1)
        self.actions[self.pos] = action
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.detach().cpu().numpy().reshape(-1)
        self.log_probs[self.pos] = log_prob.detach().cpu().numpy().reshape(-1)
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Subtracts the KL penalty, drops failed episodes, then the base class's GAE."""
        self._close_segments()
        kept = np.array([not np.isnan(self.rewards[t : t + n, row]).any() for t, n, row in self._spans])
        self.dropped = int((~kept).sum())
        self._kept = np.flatnonzero(kept)
        self.rewards[np.isnan(self.rewards)] = 0.0  # of dropped segments only, which nobody trains on
        if self.reference is not None:
            self._charge(dones)
        self.rollouts += 1
        super().compute_returns_and_advantage(last_values, dones)

    def _charge(self, dones: np.ndarray) -> None:
        """Takes the penalty off the rewards, where it is paid there, and lets beta follow it."""
        self.reference_logprobs = self._reference_logprobs()
        log_ratio = self.log_probs - self.reference_logprobs
        self.kl_penalty = float(log_ratio.mean())
        if self.kl_in == "reward":
            self.rewards -= self.kl_coef * log_ratio
        self._adapt(log_ratio, dones)

    def refresh(self, network: CausalNetwork) -> None:
        """Makes a frozen copy of this network the reference; whoever holds the one before keeps it."""
        self.reference = copy.deepcopy(network).requires_grad_(False).eval()
        self.refreshed = True

    def _adapt(self, log_ratio: Float[np.ndarray, "T B"], dones: np.ndarray) -> None:
        """Adds log-ratios up to texts; where some have ended, `kl_text` is their mean, and beta follows it."""
        ended: list[float] = []
        for i, (step, steps, row) in enumerate(self._spans):
            if self.episode_starts[step, row]:
                self._unfinished_kl[row] = 0.0
            self._unfinished_kl[row] += log_ratio[step : step + steps, row].sum(dtype=np.float64)
            last = i + 1 == len(self._spans) or self._spans[i + 1][2] != row
            if not last or dones[row]:
                ended.append(float(self._unfinished_kl[row]))
        if not ended:
            return
        self.kl_text = float(np.mean(ended))
        if self.kl_target is not None:
            self.kl_coef = adapted(
                self.kl_coef, self.kl_text, target=self.kl_target, horizon=self.kl_horizon, texts=len(ended)
            )

    def state_dict(self) -> dict[str, Any]:
        """What outlives a rollout: the coefficient, the log-ratio so far of each row's text, a refreshed reference."""
        state = {"kl_coef": self.kl_coef, "unfinished_kl": self._unfinished_kl.copy(), "rollouts": self.rollouts}
        if self.refreshed:
            assert self.reference is not None
            state["reference"] = dict(self.reference.state_dict())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` of such a buffer gave, between two rollouts."""
        self.kl_coef = float(state["kl_coef"])
        self._unfinished_kl = np.array(state["unfinished_kl"], np.float64)
        self.rollouts = int(state["rollouts"])
        if "reference" in state:
            assert self.reference is not None
            self.refresh(self.reference)  # a copy, since the weights are about to be others
            self.reference.load_state_dict(state["reference"])

    def _close_segments(self) -> None:
        """Lists the segments by row, then time: (first step, steps, row), their tokens and first lengths."""
        starts = sorted(
            (int(row), step, obs) for step, rows, kept in self._begun for row, obs in zip(rows, kept, strict=True)
        )
        length = self.observation_space.shape[0]  # type: ignore[index]
        self._tokens = np.zeros((len(starts), length), np.int32)
        self._first = np.zeros(len(starts), np.int64)
        self._spans: list[tuple[int, int, int]] = []
        for i, (row, step, obs) in enumerate(starts):
            end = starts[i + 1][1] if i + 1 < len(starts) and starts[i + 1][0] == row else self.buffer_size
            first = int((obs >= 0).sum())
            self._tokens[i, :first] = obs[:first]
            self._tokens[i, first : first + end - step] = self.actions[step:end, row]
            self._first[i] = first
            self._spans.append((step, end - step, row))
        self._begun = []

    @property
    def n_segments(self) -> int:
        """How many segments the finished rollout has."""
        return len(self._spans)

    def segments(self, indices: Sequence[int] | np.ndarray) -> Segments:
        """The segments at `indices` (0 .. n_segments - 1), as the policy takes them."""
        index = np.asarray(indices, np.int64)
        return Segments(
            self.to_torch(self._tokens[index]).long(),
            self.to_torch(self._first[index]),
            self.to_torch(np.array([self._spans[i][1] for i in index], np.int64)),
        )

    def _steps(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the steps of these segments stand in the (step, row) arrays, in the order of `Segments`."""
        spans = [self._spans[i] for i in indices]
        time = np.concatenate([np.arange(t, t + n) for t, n, _ in spans])
        return time, np.repeat([row for _, _, row in spans], [n for _, n, _ in spans])

    def _masks(self, steps: tuple[np.ndarray, np.ndarray]) -> PackedMasks | None:
        """Which tokens were allowed in these steps; here, all."""
        return None

    @torch.no_grad()
    def _reference_logprobs(self) -> Float[np.ndarray, "T B"]:
        assert self.reference is not None
        logprobs = np.zeros_like(self.log_probs)
        for indices in self._batches(np.arange(self.n_segments), REFERENCE_TOKENS):
            segments = self.segments(indices)
            hidden = hidden_states(self.reference, segments)
            masks = self._masks(self._steps(indices))
            logp, _ = action_likelihood(self.reference, hidden, segments.actions, masks, self.temperature)
            logprobs[self._steps(indices)] = logp.cpu().numpy()
        return logprobs

    def _batches(self, order: np.ndarray, batch_size: int) -> list[list[int]]:
        """Whole segments, in this order, about `batch_size` steps together; no tail below half of that."""
        batches: list[list[int]] = [[]]
        filled = 0
        for i in order:
            steps = self._spans[i][1]
            if filled > 1 and filled + steps > batch_size:  # one step alone has no standard deviation
                batches.append([])
                filled = 0
            batches[-1].append(int(i))
            filled += steps
        if len(batches) > 1 and filled < max(batch_size / 2, 2):
            batches[-2:] = [batches[-2] + batches[-1]]
        return batches

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Minibatches of whole segments in random order."""
        assert self.full, "the rollout is not finished"
        if not len(self._kept):
            raise ScoringFailure(
                f"none of the {self.n_segments} episodes of this rollout could be scored, so there is nothing to learn "
                'from; on_failure="raise" says why'
            )
        order = np.random.permutation(self._kept)
        for indices in self._batches(order, batch_size or self.buffer_size * self.n_envs):
            yield self._sample(indices)

    def _sample(self, indices: Sequence[int]) -> RolloutBufferSamples:
        """The minibatch of these segments."""
        columns = (self.actions, self.values, self.log_probs, self.advantages, self.returns)
        steps = self._steps(indices)
        flat = (self.to_torch(column[steps].astype(np.float32, copy=False)) for column in columns)
        segments = replace(self.segments(indices), regulariser=self._regulariser(steps))
        return RolloutBufferSamples(segments, *flat)  # type: ignore[arg-type]

    def _regulariser(self, steps: tuple[np.ndarray, np.ndarray]) -> Regulariser | None:
        """What these steps are told of the KL in the loss."""
        if self.kl_in == "reward":
            return None
        told = None if self.reference is None else self.to_torch(self.reference_logprobs[steps])
        return Regulariser(self.ent_coef, self.paid_kl_coef, self.kl_estimator, told, self.reference, self.temperature)
