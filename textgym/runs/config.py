"""What a training run is made of, as one value: hashed, saved, and given back by every results row."""

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass
from typing import Any

from textgym import __version__
from textgym.errors import TaskError

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
        model: a checkpoint folder to start from; None pretrains.
        model_size: architecture of a pretrained model.
        pretrain_tokens: tokens of maximum-likelihood training.
        steps: environment transitions, which is generated tokens.
        envs: rows of the vector environment.
        kl: coefficient of the KL penalty against the starting model, in reward units a nat.
        kl_target: KL in nats a text that the coefficient is steered to, beginning with `kl`; None leaves it alone.
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
    model: str | None = None
    model_size: str = "small"
    pretrain_tokens: int = 1_500_000
    steps: int = 150_000
    envs: int = 64
    kl: float = 0.5
    kl_target: float | None = None
    learning_rate: float | None = None
    eval_prompts: int = 256
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("pretrain_tokens", "steps", "envs", "eval_prompts"):
            if getattr(self, name) < 1:
                raise TaskError(f"{name}={getattr(self, name)} must be at least 1")
        if self.kl < 0:
            raise TaskError(f"kl={self.kl} would reward distance from the starting model; it must be at least 0")
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
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}
