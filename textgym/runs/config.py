"""What a training run is made of, as one value: hashed, saved, and given back by every results row."""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from textgym import __version__
from textgym.errors import TaskError

DEFAULT_KL = 0.5
"""Coefficient of the KL penalty of an agent that can have one, in reward units a nat."""

KL_IN = ("reward", "loss")
KL_ESTIMATORS = ("k1", "k2", "k3", "full")

PACKAGES = ("gymnasium", "numpy", "stable-baselines3", "tokenizers", "torch", "scikit-learn", "sacrebleu")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `textgym train`.

    Args:
        task: name of a task; None where a corpus is given.
        corpus: a text, CSV, JSON or JSON Lines file, or a folder of text files.
        field: its column or field; of a prompt file "PROMPT:REFERENCE".
        prompts: a file of prompts with references and metadata, in place of a corpus.
        tokenizer: "auto", "char", "word", "bpe" or a tokenizer file.
        vocab_size: most tokens a trained tokenizer may have; None for what suits its kind.
        max_new_tokens: the budget of a completion; None for the task's own.
        max_prompt_tokens: the longest prompt; None for 32 in a corpus and 512 in a prompt file.
        reward: a reward expression or `file.py:function`; None is the task's default.
        delivery: when the reward is paid: "terminal", "per_token" or "shaped". The return and, at the discount of 1
            that runs use, the best policy are the same; per token, an agent is told of what it did sooner.
        agent: name of an agent, e.g. "ppo".
        settings: of the agent, by name, as its builder or its algorithm takes them, e.g. {"n_epochs": 2}.
        constraint: which tokens may come next, as `make_sb3_env` takes it, e.g. {"min_new_tokens": 8}; only agents that
            look at masks obey it.
        group_size: so many completions of each prompt side by side; None is what the agent needs.
        temperature: of the agent's policy; None is the agent's default, 1.
        model: a checkpoint folder to start from; None pretrains.
        model_size: architecture of a pretrained model.
        pretrain_tokens: tokens of maximum-likelihood training.
        steps: environment transitions, which is generated tokens.
        envs: rows of the vector environment.
        kl: coefficient of the KL penalty against the starting model, in reward units a nat; None is 0.5 for an agent
            that can have one.
        kl_target: KL in nats a text that the coefficient is steered to, beginning with `kl`; None leaves it alone.
        kl_in: where the penalty is paid, in the "reward" or in the "loss"; None is the agent's default.
        kl_estimator: of the penalty in the loss: "k1", "k2", "k3" or "full"; None is the agent's default.
        reference_every: rollouts after which the penalty's reference becomes the policy as it is then; None keeps the
            starting model.
        learning_rate: of the agent; None is the agent's default.
        eval_prompts: held-out prompts that are completed before and after.
        seed: of everything.
        device: "cpu", "cuda", ...
    """

    task: str | None = None
    corpus: str | None = None
    field: str | None = None
    prompts: str | None = None
    tokenizer: str = "auto"
    vocab_size: int | None = None
    max_new_tokens: int | None = None
    max_prompt_tokens: int | None = None
    reward: str | None = None
    delivery: str = "per_token"
    agent: str = "ppo"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # `field` is a setting here
    constraint: Mapping[str, Any] | None = None
    group_size: int | None = None
    temperature: float | None = None
    model: str | None = None
    model_size: str = "small"
    pretrain_tokens: int = 1_500_000
    steps: int = 150_000
    envs: int = 64
    kl: float | None = None
    kl_target: float | None = None
    kl_in: str | None = None
    kl_estimator: str | None = None
    reference_every: int | None = None
    learning_rate: float | None = None
    eval_prompts: int = 256
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("pretrain_tokens", "steps", "envs", "eval_prompts"):
            if getattr(self, name) < 1:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("group_size", "reference_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 1")
        if self.kl is not None and self.kl < 0:
            raise TaskError(f"kl={self.kl} would reward distance from the starting model; it must be at least 0")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise TaskError(f"temperature={self.temperature} divides the logits: a number above 0")
        for name, allowed in (("kl_in", KL_IN), ("kl_estimator", KL_ESTIMATORS)):
            if getattr(self, name) not in (None, *allowed):
                raise TaskError(f"{name}={getattr(self, name)!r}: one of {', '.join(allowed)}")
        if self.kl_target is not None and (self.kl_target <= 0 or self.kl == 0):
            raise TaskError(
                f"kl_target={self.kl_target} with kl={self.kl}: the target is above 0, and so is the coefficient that "
                "the steering begins with"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @property
    def hash(self) -> str:
        """Of all settings and the version of this package, 16 hexadecimal digits."""
        text = json.dumps({**self.to_dict(), "textgym": __version__}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"textgym": __version__, "python": platform.python_version()}
    return found | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    """Read once: a benchmark asks for each of hundreds of jobs."""
    return importlib.metadata.version(package)
