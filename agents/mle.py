"""Maximum likelihood, or behaviour cloning: a language model is fitted to the texts of its task.

    J = sum over the texts of the training split of log p(text | prompt)       (cross-entropy of the next token)

No text is written and no reward is asked for: what other agents begin with, and what they are compared with. The steps
are those of `textgym.models.fit`: Muon and AdamW, warm-up and cosine decay.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from textgym.envs.tasks import Task
from textgym.errors import TaskError
from textgym.models.fit import FitConfig, new_optimizers, perplexity, train_step, training_batches
from textgym.models.layout import Layout
from textgym.sb3 import TransformerPolicy
from textgym.sb3.defaults import attribute_of, environment_gamma

AFRESH = FitConfig.learning_rate
"""At its peak, where the weights are random."""

GOING_ON = AFRESH / 10
"""At its peak, where they are those of a model: they would be lost at the other."""


class MaximumLikelihood(OnPolicyAlgorithm):
    """A language model that is fitted to the training split of its environment's task, as an agent.

    `num_timesteps` counts the tokens that were predicted. The learning rate rises and falls once over a call of
    `learn`. A line of the log has `train/loss` in nats a token, and `train/perplexity` of the held-out texts.

    Args:
        policy: class of the policy.
        env: from `make_sb3_env`; its task has the texts. It is never stepped.
        learning_rate: at its peak; None for 8e-3 on random weights, 8e-4 on those of a model.
        n_steps: batches from one line of the log to the next.
        batch_tokens: tokens of a batch, padding included.
        warmup: share of the training in which the rate rises from 0.
        weight_decay: on matrices only.
        max_grad_norm: norm that gradients are clipped to.
        policy_kwargs: e.g. ``{"model": "small"}``.
        stats_window_size: as in Stable-Baselines3.
        tensorboard_log: folder.
        verbose: 0, 1 or 2.
        seed: of weights, and of the order of the texts.
        device: of the network.

    Raises:
        TaskError: an environment without a task, or a setting out of range.
    """

    def __init__(
        self,
        policy: Any,
        env: VecEnv,
        learning_rate: float | None = None,
        n_steps: int = 16,
        batch_tokens: int = FitConfig.batch_tokens,
        warmup: float = FitConfig.warmup,
        weight_decay: float = FitConfig.weight_decay,
        max_grad_norm: float = FitConfig.clip,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if n_steps < 1:
            raise TaskError(f"n_steps={n_steps}: at least one batch is learned from one line of the log to the next")
        if env is not None and not isinstance(attribute_of(env, "task", None), Task):
            raise TaskError("MaximumLikelihood learns the texts of its environment's task, and this one has no task")
        self.peak = learning_rate
        self.batch_tokens, self.warmup, self.weight_decay = batch_tokens, warmup, weight_decay
        super().__init__(
            policy,
            env,
            learning_rate=0.0,  # of the policy's own optimizer, which is not used
            n_steps=n_steps,
            gamma=environment_gamma(env) if env is not None else 1.0,  # a saved agent loads without one
            gae_lambda=1.0,
            ent_coef=0.0,
            vf_coef=0.0,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        self._fit_config(1)  # refuses what is out of range
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        made: Any = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = made.to(self.device)
        if self.peak is None:
            self.peak = GOING_ON if made.trained else AFRESH
        self.rollout_buffer: Any = None
        self.seen = 0
        self._optimizers: list[torch.optim.Optimizer] = []
        self._batches: Iterator[Layout] | None = None

    def _fit_config(self, tokens: int) -> FitConfig:
        return FitConfig(
            tokens=tokens,
            batch_tokens=self.batch_tokens,
            learning_rate=AFRESH if self.peak is None else self.peak,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            clip=self.max_grad_norm,
            seed=self.seed or 0,
        )

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer | None, n_rollout_steps: int
    ) -> bool:
        """Learns so many batches; whether the callbacks want to go on."""
        network, task = self.network, env.get_attr("task")[0]
        config, losses = self._fit_config(self._total_timesteps), []
        infos: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]  # no episode, which callbacks ask about
        dones = np.zeros(env.num_envs, bool)
        self._prepare(task, config)
        assert self._batches is not None
        self.policy.set_training_mode(True)
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            for group in (group for optimizer in self._optimizers for group in optimizer.param_groups):
                group["lr"] = config.rate(self.num_timesteps)
            loss, tokens = train_step(network, self._optimizers, next(self._batches), config)
            losses.append(loss)
            self.seen += 1
            self.num_timesteps += max(tokens, 1)
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            if self.num_timesteps >= self._total_timesteps:
                break
        self.policy.set_training_mode(False)
        held_out = perplexity(network, task.heldout, sep_id=task.tokenizer.sep_id, max_tokens=4 * self.batch_tokens)
        figures = {
            "loss": float(np.mean(losses)),
            "perplexity": held_out,
            "learning_rate": config.rate(self.num_timesteps),
        }
        for name, value in figures.items():
            self.logger.record(f"train/{name}", value)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    @property
    def network(self) -> Any:
        """The language model."""
        return self.policy.transformer

    def _prepare(self, task: Task, config: FitConfig) -> None:
        """Optimizers and batches, where there are none yet; what was learned before a resumption is left out."""
        self._optimizers = self._optimizers or new_optimizers(self.network, config)
        if self._batches is None:
            every = training_batches(
                task.train, sep_id=task.tokenizer.sep_id, config=config, context=self.network.config.context
            )
            self._batches = islice(every, self.seen, None)

    def train(self) -> None:
        """All is done in `collect_rollouts`."""

    def state_dict(self) -> dict[str, Any]:
        """Where the fit stands: batches learned, and the moments of its optimizers."""
        moments = [optimizer.state_dict()["state"] for optimizer in self._optimizers]
        named = {str(i): {str(index): dict(of) for index, of in each.items()} for i, each in enumerate(moments)}
        return {"seen": self.seen, "moments": named}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` of such an agent gave."""
        self.seen, self._batches = int(state["seen"]), None
        self._optimizers = new_optimizers(self.network, self._fit_config(1)) if state["moments"] else []
        for optimizer, moments in zip(self._optimizers, state["moments"].values(), strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": {int(i): of for i, of in moments.items()}, "param_groups": groups})

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_optimizers", "_batches"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []


def build(
    env: VecEnv,
    model: str | Path,
    *,
    learning_rate: float | None = None,
    n_steps: int = 16,
    batch_tokens: int = FitConfig.batch_tokens,
    warmup: float = FitConfig.warmup,
    weight_decay: float = FitConfig.weight_decay,
    max_grad_norm: float = FitConfig.clip,
    seed: int | None = None,
    device: str = "auto",
) -> MaximumLikelihood:
    """Maximum likelihood from the language model `model` on; settings as in `MaximumLikelihood`.

    Args:
        env: from `make_sb3_env`.
        model: checkpoint folder, or the name of an architecture with random weights.
        learning_rate: see the class, as for all from here on.
        n_steps: batches a line of the log.
        batch_tokens: tokens of a batch.
        warmup: share of the training.
        weight_decay: on matrices.
        max_grad_norm: of gradients.
        seed: of weights and order.
        device: of the network.
    """
    return MaximumLikelihood(
        TransformerPolicy,
        env,
        learning_rate=learning_rate,
        n_steps=n_steps,
        batch_tokens=batch_tokens,
        warmup=warmup,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        policy_kwargs={"model": model},
        seed=seed,
        device=device,
    )
