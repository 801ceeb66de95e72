"""`RewardLog`: what a reward does to a policy, written to Stable-Baselines3's logger once a rollout."""

import json
import math
import os
import time
import warnings
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from textgym.errors import TaskError
from textgym.models.causal_network import CausalNetwork
from textgym.models.checkpoint import load_checkpoint
from textgym.models.likelihood import kl_divergence, logprob_and_entropy
from textgym.models.masks import forbid
from textgym.sb3.defaults import TextGymWarning, attribute_of, check_settings
from textgym.sb3.segments import Segments, hidden_states
from textgym.scorers.base import Scorer
from textgym.scorers.ngrams import Distinct, Repetition
from textgym.types import TextBatch, Tokenizer

ALWAYS: dict[str, Scorer] = {"rollout/rep_4": Repetition(n=4), "rollout/distinct_2": Distinct(n=2)}
"""Looked at whatever the reward is."""
COMPONENT, GOLD = "reward_components/", "gold/"
NOTED = ("train/", "lagrangian/", "plan/")
"""Beginnings of the names of what others have logged, and the rows of the file hold too."""
STDOUT_WIDTH = 33
"""Stable-Baselines3's table cuts longer names, and raises where two of them are then the same."""
CHUNK = 256
"""Steps whose logits over the whole vocabulary stand in memory at a time."""


class RewardLog(BaseCallback):
    """Writes a line of figures a rollout, for TensorBoard, CSV, stdout or any other logger.

    (A2C hands its logger's lines out every 100 rollouts, unless it is told `learn(..., log_interval=1)`.)

    Of the episodes that ended in the rollout: `reward/paid` (mean return that the environment paid, without any KL
    penalty; needs a Monitor), `reward/<component>` (mean of each), `gold/<axis>` where the task knows the truth,
    `reward/failed` (share whose scorer failed, where that is allowed), `rollout/length` (tokens), `rollout/eos_rate`
    (share that chose to end), `rollout/rep_4` and `rollout/distinct_2`. Of a sample of them, exact over the whole
    vocabulary, or over what an agent that looks at masks could choose: `rollout/entropy` (nats a token) and
    `kl/reference` (nats a text). Of all tokens: `kl/penalty` (log pi - log reference, nats a token, where the buffer
    has a reference), `tokens/total` and `tokens/per_second`. Where the penalty's coefficient adapts: `kl/coef`, which
    the rollout was paid with, and `kl/text` (nats a text), which it adapts to.

    The reference is the buffer's, as it was before any refreshment, else the model in the folder `reference`, else a
    frozen copy of the policy's network as it was when training began; it stays the same over later calls of `learn` on
    the same agent. Entropy and KL need a `TransformerPolicy`; with another policy they are left out. When training
    begins, the findings of `check_settings` are issued as warnings.

    Args:
        path: a JSON Lines file that each rollout appends a row to, the figures of the update before, of `DualAscent`
            and of plans included.
        reference: checkpoint folder of the model that KL is measured from. A training that is resumed in another
            process needs it, or a buffer with a reference: its policy is no longer what it began as.
        sample: episodes a rollout that entropy and KL are taken of.
        every: rollouts that a line is about; more than one for off-policy algorithms, whose rollouts are a few steps.
        verbose: as in Stable-Baselines3.

    Raises:
        TaskError: `every` below 1.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        reference: str | Path | None = None,
        sample: int = 8,
        every: int = 1,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if every < 1:
            raise TaskError(f"every={every}: a line is about at least 1 rollout")
        self.every, self._rollouts = every, 0
        self.path = None if path is None else Path(path)
        self.reference = None if reference is None else Path(reference)
        self.sample = sample
        self._ends: list[dict[str, Any]] = []
        self._reference: CausalNetwork | None = None
        self._trained: BaseAlgorithm | None = None
        self._last = (0, 0.0)  # tokens and clock when the last rollout ended

    def _on_training_start(self) -> None:
        if self._trained is not self.model:
            self._trained, self._reference = self.model, self._frozen()
            for finding in check_settings(self.model):
                warnings.warn(finding, TextGymWarning, stacklevel=2)
        self._ends, self._rollouts = [], 0
        self._last = (self.num_timesteps, time.perf_counter())

    def _frozen(self) -> CausalNetwork | None:
        """The weights that KL is measured from; held here alone, so that no agent saves them."""
        buffer = getattr(self.model, "rollout_buffer", None)
        buffer_reference = getattr(buffer, "reference", None)
        if isinstance(buffer_reference, CausalNetwork) and not getattr(buffer, "refreshed", False):
            return buffer_reference
        if self.reference is not None:
            return load_checkpoint(self.reference, self.model.device).model.requires_grad_(False).eval()
        transformer = getattr(self.model.policy, "transformer", None)
        return transformer.frozen() if isinstance(transformer, CausalNetwork) else None

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self._ends += [infos[row] for row in np.flatnonzero(self.locals["dones"]).tolist()]
        return True

    def _on_rollout_end(self) -> None:
        self._rollouts += 1
        if self._rollouts % self.every == 0:
            self._write()

    def _on_training_end(self) -> None:
        if self._rollouts % self.every:
            self._write()

    def state_dict(self) -> dict[str, Any]:
        """What the next line will be about: rollouts so far, and the episodes that ended in them."""
        return {"rollouts": self._rollouts, "ends": {str(i): _as_json(end) for i, end in enumerate(self._ends)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._rollouts, self._ends = int(state["rollouts"]), list(state["ends"].values())

    def _write(self) -> None:
        figures = {**self._of_episodes(), **self._of_policy(), **self._of_tokens()}
        for name, value in figures.items():
            self.logger.record(name, value, exclude="stdout" if len(name) > STDOUT_WIDTH else None)
        self._ends = []
        if self.path is not None:
            update = {k: v for k, v in self.logger.name_to_value.items() if k.startswith(NOTED)}
            try:
                row = {name: _number(value) for name, value in {**figures, **update}.items()}
                append_lines(self.path, (json.dumps(row) + "\n").encode())
            except OSError as error:
                raise TaskError(f"{self.path} cannot be written: {error.strerror}") from error

    def _of_episodes(self) -> dict[str, float]:
        """Means over the episodes that ended; without such, or without such an info, nothing."""
        columns: dict[str, Any] = {
            "reward/paid": [end["episode"]["r"] for end in self._ends if "episode" in end],
            "reward/failed": [end["reward_failed"] for end in self._ends if "reward_failed" in end],
            "rollout/eos_rate": [end["finish_reason"] == "stop" for end in self._ends if "finish_reason" in end],
        }
        for end in self._ends:
            for key in end:
                if key.startswith(COMPONENT):
                    columns.setdefault(f"reward/{key.removeprefix(COMPONENT)}", []).append(end[key])
                elif key.startswith(GOLD):
                    columns.setdefault(key, []).append(end[key])
        texts = self._texts()
        columns["rollout/length"] = [len(end["completion"]) for end in texts]
        task = attribute_of(self.training_env, "task", None)
        if task is not None and texts:
            batch = batch_of(texts, task.tokenizer)
            columns |= {name: scorer.score(batch).values for name, scorer in ALWAYS.items()}
        means = {name: _mean(values) for name, values in columns.items()}
        return {name: mean for name, mean in means.items() if mean is not None}

    def _texts(self) -> list[dict[str, Any]]:
        """The ends of texts; an outside limit ends an episode without one, other environments have none."""
        return [end for end in self._ends if "completion" in end and "terminal_observation" in end]

    def _of_policy(self) -> dict[str, float]:
        """Exact entropy and KL of a sample of texts, and the penalty that the buffer has computed."""
        figures: dict[str, float] = {}
        buffer: Any = getattr(self.model, "rollout_buffer", None)
        if getattr(buffer, "kl_penalty", None) is not None:
            figures["kl/penalty"] = float(buffer.kl_penalty)
        if getattr(buffer, "kl_target", None) is not None:
            figures["kl/coef"] = float(buffer.paid_kl_coef)
            if buffer.kl_text is not None:
                figures["kl/text"] = float(buffer.kl_text)
        texts = self._texts()
        transformer = getattr(self.model.policy, "transformer", None)
        if isinstance(transformer, CausalNetwork) and self._reference is not None and texts:
            # Evenly over the rollout: the first to end are the shortest.
            chosen = np.linspace(0, len(texts) - 1, min(self.sample, len(texts))).astype(int)
            sample = segments_of([texts[i] for i in chosen], self.model.policy.device)
            temperature = getattr(self.model.policy, "temperature", 1.0)
            entropy, kl = entropy_and_kl(transformer, self._reference, sample, self._masks(sample), temperature)
            figures |= {"rollout/entropy": entropy / len(sample.row), "kl/reference": kl / len(chosen)}
        return figures

    def _masks(self, texts: Segments) -> Bool[Tensor, "N V"] | None:
        """What could be chosen in each step of these texts, by an agent that looks at masks; None where everything."""
        episodes = attribute_of(self.training_env, "episodes", None)
        agent: Any = self.model
        if not getattr(episodes, "constraints", ()) and not hasattr(agent, "masks"):
            return None
        if "action_masks" not in signature(agent.predict).parameters:
            return None
        prefixes = texts.prefixes().to(torch.int32)
        lengths, starts = (texts.position + 1).cpu().numpy(), texts.first[texts.row].cpu().numpy()
        masks = episodes.masks(prefixes.cpu().numpy(), lengths, starts, np.zeros(len(lengths), bool))
        if hasattr(agent, "masks"):  # NLPO's own go on top
            masks = agent.masks(prefixes, masks)
        return torch.as_tensor(masks, device=texts.tokens.device)

    def _of_tokens(self) -> dict[str, float]:
        """How much, and how fast: over the update before and this rollout."""
        tokens, clock = self.num_timesteps, time.perf_counter()
        before, then = self._last
        self._last = (tokens, clock)
        return {"tokens/total": tokens, "tokens/per_second": (tokens - before) / max(clock - then, 1e-9)}


def segments_of(ends: Sequence[dict[str, Any]], device: torch.device) -> Segments:
    """The completions of episodes that have ended, from their last infos, as segments to score."""
    observations = torch.as_tensor(np.stack([_last_tokens(end) for end in ends])).long()
    steps = torch.tensor([len(end["completion"]) for end in ends])
    first = (observations >= 0).sum(1) - steps
    return Segments(observations.clamp(min=0).to(device), first.to(device), steps.to(device))


@torch.no_grad()
def entropy_and_kl(
    policy: CausalNetwork,
    reference: CausalNetwork,
    texts: Segments,
    masks: Bool[Tensor, "N V"] | None = None,
    temperature: float = 1.0,
) -> tuple[float, float]:
    """Entropy of the policy, and KL(policy || reference), in nats, summed over every state of these texts.

    Exact in each state. The mean of the second over texts that the policy has written estimates the KL between the two
    distributions over texts (Amini et al. 2025).

    Args:
        policy: the network that writes.
        reference: what it is measured from.
        texts: N steps.
        masks: both distributions are over these tokens alone; None for all.
        temperature: divides the logits of both.
    """
    ours, theirs = hidden_states(policy, texts), hidden_states(reference, texts)
    entropy, kl = 0.0, 0.0
    for i in range(0, len(ours), CHUNK):
        some = slice(i, i + CHUNK)
        logits, reference_logits = policy.logits(ours[some]) / temperature, reference.logits(theirs[some]) / temperature
        if masks is not None:
            logits, reference_logits = forbid(logits, masks[some]), forbid(reference_logits, masks[some])
        entropy += float(logprob_and_entropy(logits, texts.actions[some])[1].sum())
        kl += float(kl_divergence(logits, reference_logits).sum())
    return entropy, kl


def batch_of(ends: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> TextBatch:
    """The texts of episodes that have ended, from their last infos, as scorers take them."""
    completions = [np.asarray(end["completion"], np.int32) for end in ends]
    prefixes = [_last_tokens(end) for end in ends]
    starts = [int((tokens >= 0).sum()) - len(ids) for tokens, ids in zip(prefixes, completions, strict=True)]
    prompts = [tokens[: start - 1].astype(np.int32) for tokens, start in zip(prefixes, starts, strict=True)]
    return TextBatch(prompts, completions, tokenizer)


def _last_tokens(end: dict[str, Any]) -> np.ndarray:
    """The last observation of an episode; in that of `TextGenDict-v0` the tokens are one entry."""
    observation = end["terminal_observation"]
    tokens: np.ndarray = observation["tokens"] if isinstance(observation, dict) else observation
    return tokens


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    """Mean without the failed (NaN) ones; None where nothing is left."""
    numbers = np.asarray(values, np.float64)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if len(numbers) else None


def cut_rows(path: Path, tokens: int) -> None:
    """Cuts a file of `RewardLog` back to the rows of the first `tokens` tokens; a row that was torn off goes too."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        kept = 0
        for line in file:
            if not line.endswith(b"\n") or _tokens_of(line) > tokens:
                break
            kept += len(line)
        file.truncate(kept)


def _tokens_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["tokens/total"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def append_lines(path: Path, data: bytes) -> None:
    """Appends all of it or nothing, also where the disk is full.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(before)
            raise


def _as_json(value: Any) -> Any:
    """An info as a checkpoint takes it: JSON values and arrays."""
    if isinstance(value, dict):
        return {key: _as_json(part) for key, part in value.items()}
    return value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value


def _number(value: Any) -> float | int | None:
    """A figure as JSON knows it: numpy scalars as numbers, NaN as null."""
    number = value.item() if isinstance(value, np.generic) else value
    return None if math.isnan(number) else number
