"""TRL's GRPOTrainer at the same shapes: a GPT-2 configuration with random weights, a tokenizer made on the spot.

Like our PPO it makes `rows` completions of T tokens, then passes over them `epochs` times in minibatches. What TRL
would do by default and what costs time is off: gradient checkpointing, bfloat16 on a CPU, logging, checkpoints. It
has no critic. Nothing is downloaded. The network is transformers' GPT-2 as it comes, whose tanh-GELU is eight
operations with as many gradients; with `exact` it has the one operation that ours has.
"""

import importlib.util
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from textgym.benchmarks.speed.measure import clock_of
from textgym.benchmarks.speed.setting import Setting
from tokenizers import Tokenizer, models, pre_tokenizers

from textgym.errors import MissingExtraError

GENERATIONS = 8
"""Completions of one prompt, TRL's default."""


def missing_peer() -> str | None:
    """Why TRL cannot be measured here; None where it can."""
    if all(importlib.util.find_spec(name) for name in ("trl", "transformers", "datasets", "accelerate")):
        return None
    return str(MissingExtraError("trl", "peers", "the comparison with TRL"))


def trl_grpo(
    setting: Setting, iterations: int, *, whole: bool = False, exact: bool = False, device: str = "cpu"
) -> dict[str, float]:
    """GRPOTrainer with `num_iterations` = epochs, after one generation batch to warm up.

    Args:
        setting: the shapes.
        iterations: generation batches of `rows` completions.
        whole: one minibatch with all completions in place of minibatches of `batch_size` tokens.
        exact: exact GELU in place of GPT-2's.
        device: "cpu", in float32, or "cuda", in bfloat16.

    Raises:
        MissingExtraError: TRL is not installed.
    """
    if missing_peer() is not None:
        raise MissingExtraError("trl", "peers", "the comparison with TRL")
    with _offline(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # transformers deprecates what TRL still uses
        trainer, watch = _trainer(setting, iterations, whole, exact, device, folder)
        trainer.train()
    seconds = watch.end - watch.begin
    return {
        "tokens": watch.tokens,
        "seconds": seconds,
        "tokens_per_second": watch.tokens / seconds,
        "rollout_tokens_per_second": watch.tokens / watch.rollout,
        "training_tokens_per_second": watch.tokens / (seconds - watch.rollout),
        "optimizer_steps": watch.steps,
    }


@contextmanager
def _offline() -> Iterator[None]:
    """No look at the hub, and no line from loggers; the caller's environment afterwards."""
    before = {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")}
    os.environ.update(dict.fromkeys(before, "1"))
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class _Watch:
    """What TRL really did: when the measured part began and ended, tokens, and seconds of generation."""

    def __init__(self, warm_up: int, device: str) -> None:
        self._warm_up, self._now = warm_up, clock_of(device)
        self.begin = self.end = self.rollout = 0.0
        self.tokens = self.steps = 0

    def stepped(self, step: int) -> None:
        """After each optimizer step."""
        self.end, self.steps = self._now(), step - self._warm_up
        if step <= self._warm_up:
            self.begin, self.tokens, self.rollout = self._now(), 0, 0.0

    def reward(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        """A reward that costs nothing and differs between completions."""
        self.tokens += sum(map(len, completion_ids))
        return [ids[0] / (1 + max(ids)) for ids in completion_ids]

    def around(self, generate: Any) -> Any:
        """Times generation, the reward and the old log-probabilities."""

        def timed(inputs: Any) -> Any:
            began = time.perf_counter()
            made = generate(inputs)
            self.rollout += self._now() - began
            return made

        return timed


def _trainer(
    setting: Setting, iterations: int, whole: bool, exact: bool, device: str, folder: str
) -> tuple[Any, _Watch]:
    transformers: Any = import_module("transformers")
    trl: Any = import_module("trl")
    batch = setting.rows if whole else max(1, min(setting.rows, setting.batch_size // setting.max_new_tokens))
    steps = setting.rows // batch * setting.epochs  # optimizer steps for one generation batch
    watch = _Watch(steps, device)

    class Steps(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.stepped(state.global_step)

    config = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=batch,
        steps_per_generation=setting.rows // batch,
        num_iterations=setting.epochs,
        num_generations=min(GENERATIONS, setting.rows),
        max_completion_length=setting.max_new_tokens,
        max_steps=steps * (1 + iterations),
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        bf16=device != "cpu",
        use_cpu=device == "cpu",
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        seed=setting.seed,
    )
    model, tokenizer, data = _model(setting, exact), _tokenizer(setting), _prompts(setting)
    trainer = trl.GRPOTrainer(model, watch.reward, args=config, train_dataset=data, processing_class=tokenizer)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(Steps())
    trainer._generate_and_score_completions = watch.around(trainer._generate_and_score_completions)
    return trainer, watch


def _model(setting: Setting, exact: bool) -> Any:
    transformers: Any = import_module("transformers")
    shape = transformers.GPT2Config(
        vocab_size=setting.vocab_size,
        n_positions=setting.prompt + setting.max_new_tokens,
        **setting.architecture,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        **({"activation_function": "gelu"} if exact else {}),
    )
    return transformers.GPT2LMHeadModel(shape)


def _tokenizer(setting: Setting) -> Any:
    """A word a token; its EOS is one id beyond the model's, so that no text ends early and nothing is padded."""
    transformers: Any = import_module("transformers")
    words = {f"w{i}": i for i in range(setting.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel({**words, "<end>": setting.vocab_size}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def _prompts(setting: Setting) -> Any:
    datasets: Any = import_module("datasets")
    ids = np.random.default_rng(setting.seed).integers(3, setting.vocab_size, (256, setting.prompt))
    return datasets.Dataset.from_dict({"prompt": [" ".join(f"w{i}" for i in row) for row in ids.tolist()]})
