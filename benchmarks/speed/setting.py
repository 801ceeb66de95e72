"""Setting A: a GPT-2-shaped model and an environment whose texts have one length and whose reward costs nothing."""

from dataclasses import dataclass
from itertools import islice, product
from string import ascii_lowercase

import numpy as np

from textgym.envs.context import TaskContext
from textgym.envs.tasks import Task
from textgym.text.prompts import PromptSet
from textgym.text.store import ArrayStore
from textgym.text.tokenizers import train_tokenizer


@dataclass(frozen=True)
class Setting:
    """The shape of the model and of the rollouts.

    Args:
        n_layer: blocks.
        n_head: heads.
        n_embd: width.
        vocab_size: V.
        prompt: tokens of a prompt, the separator included.
        max_new_tokens: T.
        rows: vector environments.
        epochs: passes over a rollout.
        batch_size: tokens in a minibatch.
        threads: of torch.
    """

    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    vocab_size: int = 512
    prompt: int = 8
    max_new_tokens: int = 64
    rows: int = 64
    epochs: int = 4
    batch_size: int = 1024
    threads: int = 2

    @property
    def architecture(self) -> dict[str, int]:
        """What `TransformerPolicy` takes as model."""
        return {"n_layer": self.n_layer, "n_head": self.n_head, "n_embd": self.n_embd}

    def task(self, prompts: int = 256, seed: int = 0) -> Task:
        """Random prompts of one length over V words."""
        words = islice(product(ascii_lowercase, repeat=4), self.vocab_size)
        tokenizer = train_tokenizer("word", ["".join(f" {''.join(word)}" for word in words)], self.vocab_size)
        length = self.prompt - 1  # the environment adds the separator
        ids = np.random.default_rng(seed).integers(3, self.vocab_size, prompts * length).astype(np.int32)
        cut = np.arange(1, prompts + 1) * length
        none = np.zeros(prompts, np.int64)
        split = PromptSet(
            opening=ids,
            following=ids[:0],
            begin=cut - length,
            cut=cut,
            end=cut,
            then=none,
            until=none,
            ended=none.astype(bool),
            document=np.arange(prompts),
            tiles=np.arange(prompts),
            size=np.array([prompts]),
            eos=np.array([tokenizer.eos_id]),
        )
        sets = {"train": split, "heldout": split}
        context = TaskContext("speed", tokenizer, sets, f"speed:{self.vocab_size}:{seed}", ArrayStore(None))
        return Task(
            "speed", tokenizer, split, split, self.max_new_tokens, "length", context, context.signature, "random words"
        )
