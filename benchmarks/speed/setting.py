"""Settings: the shape of the model and of the rollouts. The default one is setting A.

Its environment has prompts of one length, texts of one length (the policy never says EOS) and a reward that costs
nothing.
"""

from dataclasses import dataclass
from itertools import islice, product
from string import ascii_lowercase
from typing import Any

import numpy as np

from textgym.envs.context import TaskContext
from textgym.envs.tasks import Task
from textgym.text.prompts import PromptSet
from textgym.text.store import ArrayStore
from textgym.text.tokenizers import train_tokenizer

RESERVED = (0, 1, 2)
"""<unk>, separator and EOS: never said, so that every completion has T tokens, here as in TRL."""


@dataclass(frozen=True)
class Setting:
    """The shape of the model and of the rollouts.

    Args:
        n_layer: blocks.
        n_head: heads.
        n_embd: width C.
        vocab_size: V.
        prompt: tokens of a prompt P, the separator included.
        max_new_tokens: T.
        rows: vector environments.
        epochs: passes over a rollout.
        batch_size: tokens in a minibatch.
        threads: of torch.
        seed: of weights, prompts and draws.
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
    seed: int = 0

    @property
    def architecture(self) -> dict[str, int]:
        """Blocks, heads and width."""
        return {"n_layer": self.n_layer, "n_head": self.n_head, "n_embd": self.n_embd}

    @property
    def policy_model(self) -> dict[str, Any]:
        """What `TransformerPolicy` takes as model."""
        return {**self.architecture, "banned": RESERVED}

    @property
    def tokens(self) -> int:
        """Tokens of one rollout: one completion a row."""
        return self.rows * self.max_new_tokens

    @property
    def positions(self) -> int:
        """Positions that the network sees for one completion: the last token is never an input."""
        return self.prompt + self.max_new_tokens - 1

    @property
    def weights(self) -> int:
        """N: weights that multiply, of the blocks and the tied output head."""
        return 12 * self.n_layer * self.n_embd**2 + self.vocab_size * self.n_embd

    @property
    def flop_per_token(self) -> float:
        """(2N + epochs x 6N) (P + T - 1) / T; 26N a position with 4 epochs."""
        return (2 + 6 * self.epochs) * self.weights * self.positions / self.max_new_tokens

    def task(self, prompts: int = 256) -> Task:
        """Random prompts of one length over V words."""
        words = islice(product(ascii_lowercase, repeat=4), self.vocab_size)
        tokenizer = train_tokenizer("word", ["".join(f" {''.join(word)}" for word in words)], self.vocab_size)
        length = self.prompt - 1  # the environment adds the separator
        rng = np.random.default_rng(self.seed)
        ids = rng.integers(len(RESERVED), self.vocab_size, prompts * length).astype(np.int32)
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
        context = TaskContext("speed", tokenizer, sets, f"speed:{self.vocab_size}:{self.seed}", ArrayStore(None))
        return Task(
            "speed", tokenizer, split, split, self.max_new_tokens, "length", context, context.signature, "random words"
        )
