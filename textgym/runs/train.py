"""The main job: pretrain by maximum likelihood, fine-tune on a reward, evaluate before and after."""

import io
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from textgym.envs.tasks import Task, make_task
from textgym.errors import CheckpointError, TextGymError, UnknownNameError
from textgym.models.checkpoint import SIZES, Checkpoint, load_checkpoint, new_model, peek, require_fit, save_checkpoint
from textgym.models.fit import FitConfig, fit
from textgym.models.folder import tokenizer_of
from textgym.reports.blocks import Interval
from textgym.reports.verdict import verdict
from textgym.runs.agents import build_agent, check_agent, environment_of
from textgym.runs.config import TrainConfig, versions
from textgym.runs.curve import draw_curve
from textgym.runs.episodes import save_episodes
from textgym.runs.evaluate import Evaluation, constraints_of, evaluate, evaluate_agent, paired_interval
from textgym.runs.folder import check_folder, clear_folder
from textgym.runs.record import CHECKPOINTS, RunRecord, cannot_write, new_record, record_of, require_same_config
from textgym.sb3.callbacks import RewardLog, cut_rows
from textgym.sb3.checkpoints import TrainingCheckpoint, remove_checkpoints, saved_tokens
from textgym.sb3.checkpoints import resume as resume_training
from textgym.sb3.dual_ascent import DualAscent, bound_rewards
from textgym.sb3.kl_control import RefreshReference
from textgym.sb3.vec_env import make_sb3_env
from textgym.scorers.constrained import multipliers
from textgym.scorers.reward import Reward, bind_reward
from textgym.text.store import write_atomic

_log = logging.getLogger("textgym")

LINE = 64
"""Steps in each row that a line of the metrics of an off-policy agent is about, as those of PPO are."""

Progress = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, note); stages are "pretrain" and the agent's name."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        summary: what `summary.json` holds.
        before: completions of the starting model.
        after: completions of the trained model, of the same prompts with the same seed.
        task: what was trained on.
    """

    summary: dict[str, Any]
    before: Evaluation
    after: Evaluation
    task: Task


def train(
    config: TrainConfig,
    out: Path,
    *,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    checkpoint_every: int = 1,
) -> TrainResult:
    """Runs the main job and saves everything below `out`.

    Args:
        config: the settings.
        out: the folder; made if absent. An earlier run in it is written over, anything else is refused.
        cache_dir: where fitted tokenizers and models are kept; None is the user's cache.
        progress: is told how far the run is.
        resume: goes on with the run that was begun in `out` with these settings, from its last checkpoint: the result
            is that of a run that nothing stopped. What pretraining had done is lost if it was not finished.
        checkpoint_every: rollouts from one checkpoint to the next; 0 for none.

    Raises:
        CheckpointError: there is nothing to resume, or what there is is damaged.
        TaskError: a run that is to be resumed was begun with other settings; or `out` cannot be written.
        KeyboardInterrupt: after saving the model as far as it came.
    """
    begun = time.perf_counter()
    build = check_agent(config)
    earlier = record_of(out) if resume else None
    if earlier is None:
        if config.model is None and config.model_size not in SIZES:
            raise UnknownNameError("model size", config.model_size, SIZES)
        check_folder(out)
    else:
        require_same_config(earlier.config, config, out)
    task = open_task(config, cache_dir)
    reward = bind_reward(config.reward or task.reward, task.context)
    record = new_record(config, task.signature, reward.signature)
    if earlier is not None:
        earlier.require_same(record, out)
    start = starting_model(record, earlier, task, out, progress)
    reference = start.model.to(config.device)
    env = make_sb3_env(
        "TextGen-v0",
        n_envs=config.envs,
        seed=config.seed,
        task=task,
        reward=config.reward,
        delivery=config.delivery,
        **environment_of(build, config),
    )
    agent = build_agent(build, env, str(out / "reference"), config)
    prompts, seed = config.eval_prompts, config.seed
    _log.info("completing held-out prompts with the starting model")
    obeyed = constraints_of(agent, task)
    before = evaluate(reference, reference, task, reward, n=prompts, seed=seed, constrained=obeyed)
    seconds = _learn(agent, config, out, task, progress, resume=resume, every=checkpoint_every)
    _log.info("completing the same prompts with the agent")
    after = evaluate_agent(agent, reference, task, reward, n=prompts, seed=seed)
    summary = _summary(config, task, reward, before, after)
    summary["tokens"] = {"pretrain": start.metadata.get("tokens", 0), "agent": agent.num_timesteps}
    if (drawn := getattr(agent, "drawn", None)) is not None:
        summary["tokens"]["drawn"] = drawn
    summary["seconds"] = {"agent": seconds, "total": time.perf_counter() - begun}
    summary["tokens_per_second"] = agent.num_timesteps / seconds
    if (bound := getattr(agent, "kl_bound", None)) is not None:
        summary["kl_bound"] = bound
    _save(out, summary, before, after)
    return TrainResult(summary, before, after, task)


def open_task(config: TrainConfig, cache_dir: str | Path | None) -> Task:
    """The task that a configuration names; the tokenizer of its starting model, where it has one."""
    tokenizer = config.tokenizer
    if config.model is not None:
        peek(config.model)  # no such model is the better message than no such tokenizer
        tokenizer = tokenizer_of(config.model) if tokenizer == "auto" else tokenizer
    return make_task(
        config.task,
        corpus=config.corpus,
        field=config.field,
        prompts=config.prompts,
        tokenizer=tokenizer,
        vocab_size=config.vocab_size,
        max_new_tokens=config.max_new_tokens,
        max_prompt_tokens=config.max_prompt_tokens,
        cache_dir=cache_dir,
    )


def starting_model(
    record: RunRecord, earlier: RunRecord | None, task: Task, out: Path, progress: Progress | None
) -> Checkpoint:
    """Loads `config.model`, or pretrains one by maximum likelihood; either is saved as `out/reference`.

    What an earlier run left in `out` goes only when everything that was asked for is known to fit. A run that is gone
    on with keeps the model that it had.
    """
    config, folder = record.config, out / "reference"
    if earlier is not None and earlier.reference is not None:
        earlier.save(out)  # a folder that cannot be written is noticed here
        if peek(folder)["weights"] != earlier.reference:
            raise CheckpointError(f"{folder} is no longer the model that the run began with: it cannot be gone on with")
        return load_checkpoint(folder)
    given = None
    if config.model is not None:
        given = load_checkpoint(config.model)
        require_fit(given, task.tokenizer, task.observation_length, config.model)
    if earlier is None:
        clear_folder(out)
    record.save(out)
    if given is None:
        pretrained_model(config, task, folder, progress)
    else:
        save_checkpoint(folder, given.model, task.tokenizer, given.metadata)
    replace(record, reference=peek(folder)["weights"]).save(out)
    return load_checkpoint(folder)


def pretrained_model(
    config: TrainConfig, task: Task, folder: Path, progress: Progress | None, *, half: bool = False
) -> Checkpoint:
    """Fits a new model of `config.model_size` by maximum likelihood and saves it, also when it is interrupted.

    `half` saves its weights as float16.
    """
    tokenizer = task.tokenizer
    banned = (tokenizer.unk_id, tokenizer.sep_id)
    model = new_model(
        config.model_size,
        vocab_size=tokenizer.vocab_size,
        context=task.observation_length,
        banned=banned,
        seed=config.seed,
    ).to(config.device)
    metadata: dict[str, Any] = {"task": task.name, "corpus": task.corpus_hash, "size": config.model_size}
    try:
        report = fit(
            model,
            task.train,
            task.heldout,
            sep_id=tokenizer.sep_id,
            config=FitConfig(tokens=config.pretrain_tokens, seed=config.seed),
            progress=None if progress is None else lambda done, total, note: progress("pretrain", done, total, note),
            device=config.device,
        )
    except KeyboardInterrupt:
        save_checkpoint(folder, model, tokenizer, {**metadata, "interrupted": True}, half=half)
        raise
    metadata |= {"perplexity": report.perplexity, "tokens": report.tokens, "seconds": report.seconds}
    save_checkpoint(folder, model, tokenizer, metadata, half=half)
    return load_checkpoint(folder)


def _learn(
    agent: BaseAlgorithm,
    config: TrainConfig,
    out: Path,
    task: Task,
    progress: Progress | None,
    *,
    resume: bool,
    every: int,
) -> float:
    """Trains and saves, also when it is interrupted; seconds, those before a resumption included."""
    metrics, folder = out / "metrics.jsonl", out / CHECKPOINTS
    callbacks: list[BaseCallback] = [DualAscent()] if any(map(multipliers, bound_rewards(agent.env))) else []
    callbacks.append(RewardLog(path=metrics, reference=out / "reference", every=_rollouts_a_line(agent)))
    if config.reference_every is not None:
        callbacks.append(RefreshReference(every=config.reference_every))
    checkpoint = TrainingCheckpoint(folder, every=every) if every else None
    if checkpoint is not None:
        callbacks.append(checkpoint)
    if progress is not None:
        callbacks.append(_Tell(config.agent, config.steps, progress))
    left = config.steps
    resume = resume and saved_tokens(folder) is not None
    if resume:
        left = resume_training(agent, folder, metrics=metrics)
        _log.info("going on at %s of %s tokens", f"{agent.num_timesteps:,}", f"{config.steps:,}")
    else:
        cut_rows(metrics, 0)
    begun = time.perf_counter()
    try:
        agent.learn(left, callback=CallbackList(callbacks), reset_num_timesteps=not resume)
    except KeyboardInterrupt:
        _save_agent(agent, out, task, interrupted=True)
        raise
    except Exception:
        with suppress(TextGymError, OSError):  # what was the matter says more than that a full disk is still full
            _save_agent(agent, out, task, interrupted=True)
        raise
    _save_agent(agent, out, task, interrupted=False)
    return time.perf_counter() - begun if checkpoint is None else checkpoint.seconds


def _save_agent(agent: BaseAlgorithm, out: Path, task: Task, *, interrupted: bool) -> None:
    metadata: dict[str, Any] = {"task": task.name, "corpus": task.corpus_hash}
    metadata |= {"tokens": agent.num_timesteps, "interrupted": interrupted}
    if (network := getattr(agent.policy, "transformer", None)) is not None:
        save_checkpoint(out / "model", network, task.tokenizer, metadata)
    whole = io.BytesIO()
    agent.save(whole)
    try:
        write_atomic(out / "agent.zip", whole.getvalue())
    except OSError as error:
        raise cannot_write(out, error) from error


def _rollouts_a_line(agent: BaseAlgorithm) -> int:
    """One; of an off-policy algorithm, whose rollouts are a few steps, as many as have `LINE` steps in each row."""
    frequency = getattr(agent.train_freq, "frequency", LINE) if isinstance(agent, OffPolicyAlgorithm) else LINE
    return max(LINE // frequency, 1)


class _Tell(BaseCallback):
    """Passes an agent's progress on, once a vector step."""

    def __init__(self, stage: str, total: int, progress: Progress) -> None:
        super().__init__()
        self._stage, self._total, self._progress = stage, total, progress

    def _on_step(self) -> bool:
        self._progress(self._stage, min(self.num_timesteps, self._total), self._total, "")
        return True

    def _on_rollout_end(self) -> None:
        known = self.logger.name_to_value
        shown = [f"{label} {known[key]:.2f}" for key, label in SHOWN.items() if key in known]
        self._progress(self._stage, min(self.num_timesteps, self._total), self._total, " · ".join(shown))


SHOWN = {"reward/paid": "reward", "kl/reference": "KL"}
"""Which logged values stand beside the progress bar."""


def _summary(config: TrainConfig, task: Task, reward: Reward, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    change = {
        name: dict(zip(("mean", "low", "high"), paired_interval(before.values[name], after.values[name]), strict=True))
        for name in before.values
        if name in after.values
    }
    found = verdict({name: Interval(ends["mean"], ends["low"], ends["high"]) for name, ends in change.items()})
    return {
        "config": config.to_dict(),
        "config_hash": config.hash,
        "versions": versions(),
        "corpus_hash": task.corpus_hash,
        "task_signature": task.signature,
        "reward": {"text": reward.text, "signature": reward.signature, "components": list(reward.components)},
        "before": before.means(),
        "after": after.means(),
        "change": change,
        **({} if found is None else {"verdict": found.to_dict()}),
        "torch_threads": torch.get_num_threads(),
    }


def _save(out: Path, summary: dict[str, Any], before: Evaluation, after: Evaluation) -> None:
    rows = [
        {
            "prompt": prompt,
            "before": before.completions[i],
            "after": after.completions[i],
            "before_scores": {name: float(values[i]) for name, values in before.values.items()},
            "after_scores": {name: float(values[i]) for name, values in after.values.items()},
        }
        for i, prompt in enumerate(before.prompts)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        write_atomic(out / "samples.jsonl", lines.encode())
        save_episodes(out, before, after, steps=summary["tokens"]["agent"], seed=summary["config"]["seed"])
        draw_curve(out / "metrics.jsonl", out / "curve.png")
        write_atomic(out / "summary.json", json.dumps(summary, ensure_ascii=False, indent=2).encode())
        remove_checkpoints(out / CHECKPOINTS)  # the run is finished: what they hold is in the agent
    except OSError as error:
        raise cannot_write(out, error) from error
