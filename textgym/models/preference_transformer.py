"""A preference model that is a Transformer: prompt, separator and completion in, one number out.

Stiennon et al. 2020, section 3.4: a pretrained language model with a scalar head, trained with -log sigmoid(r_chosen -
r_rejected). The head reads the mean state over the completion: from the state of the last token alone, as large models
have it, small ones learned nothing of a thousand pairs of stories. The pairs that decide when to stop are none of those
that it is measured on.

Letters: B rows, T tokens, C width.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional as F

from textgym.errors import CheckpointError, TokenizerError
from textgym.models.checkpoint import Checkpoint
from textgym.models.folder import TOKENIZER_FILE
from textgym.models.held_out import HELD_OUT
from textgym.models.layout import Layout, lay_out, similar_lengths
from textgym.models.preference import KIND, Tell, keep_pairs, measure
from textgym.models.saved_arrays import save_arrays
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.text.labelled_files import Preference
from textgym.text.reserved import ReservedIds
from textgym.text.tokenizers import load_tokenizer, tokenizer_to_json
from textgym.types import Arrays, TokenIds

BATCH_TOKENS = 8192
"""Tokens of a batch that is scored, padding included."""


@dataclass(frozen=True)
class PreferenceConfig:
    """How a Transformer is trained on pairs.

    Args:
        epochs: passes over the pairs at most; the best of them, by the pairs that decide, is kept.
        pairs: in a batch.
        learning_rate: of AdamW at its height; it rises over the first tenth of the steps and falls to 0.
        weight_decay: of AdamW.
        patience: epochs without a better one after which it stops.
        seed: of everything.
    """

    epochs: int = 12
    pairs: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    patience: int = 3
    seed: int = 0


class StrengthNetwork(nn.Module):
    """Trunk and head.

    Args:
        trunk: the Transformer.
        sep_id: stands between prompt and completion.
        eos_id: ends the completion.
    """

    def __init__(self, trunk: Transformer, sep_id: int, eos_id: int) -> None:
        super().__init__()
        self.trunk, self.sep_id, self.eos_id = trunk, sep_id, eos_id
        self.head = nn.Parameter(torch.zeros(trunk.config.n_embd))

    def forward(self, layout: Layout) -> Float[Tensor, " B"]:
        """Strengths of B rows: the head on the mean state over the completion, its end included."""
        hidden = self.trunk(layout.tokens)
        column = torch.arange(hidden.shape[1], device=hidden.device)
        within = (column >= layout.starts[:, None]) & (column < layout.lengths[:, None])
        mean = (hidden * within[:, :, None]).sum(1) / within.sum(1, keepdim=True)
        strengths: Tensor = mean @ self.head
        return strengths

    def lay_out(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Layout:
        """Rows as the trunk reads them; to fit, a prompt is cut at its beginning, then a completion at its end."""
        context = self.trunk.config.context
        ended = [np.append(ids[: context - 2], np.int32(self.eos_id)) for ids in completions]
        cut = [
            prompt[max(0, len(prompt) + 1 + len(ids) - context) :] for prompt, ids in zip(prompts, ended, strict=True)
        ]
        return lay_out(cut, ended, sep_id=self.sep_id, device=self.head.device)


class TransformerPreference:
    """Satisfies `textgym.types.PreferenceModel`.

    Args:
        network: trunk and head; must not change afterwards.
        tokenizer: the trunk's.
        signature: kind and content hash; empty before it is saved.
        metadata: what is known of its training, e.g. `accuracy`.
    """

    tolerance = 1e-5
    """Float rounding depends on which rows share a batch: equal calls differ by at most so much (nats)."""

    def __init__(
        self,
        network: StrengthNetwork,
        tokenizer: ReservedIds,
        signature: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.network, self.tokenizer, self._signature = network.eval(), tokenizer, signature
        self.metadata = metadata or {}

    @property
    def signature(self) -> str:
        """Kind and content hash."""
        return self._signature

    @torch.inference_mode()
    def strengths(self, prompts: Sequence[str], completions: Sequence[str]) -> Float64[np.ndarray, " N"]:
        """Strength of each completion after its prompt, (N,), in nats."""
        encode = self.tokenizer.encode
        before, after = [encode(text) for text in prompts], [encode(text) for text in completions]
        result = np.zeros(len(after))
        sizes = np.array([len(a) + len(b) + 2 for a, b in zip(before, after, strict=True)], dtype=np.int64)
        for rows in similar_lengths(np.minimum(sizes, self.network.trunk.config.context), BATCH_TOKENS):
            layout = self.network.lay_out([before[i] for i in rows], [after[i] for i in rows])
            result[rows] = self.network(layout).double().cpu().numpy()
        return result

    def save(self, folder: Path | str) -> None:
        """Saves it as a folder.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        network = self.network
        config = {
            "backend": "transformer",
            "config": network.trunk.config.to_dict(),
            "tokenizer": self.tokenizer.signature,
            "sep_id": network.sep_id,
            "eos_id": network.eos_id,
            "metadata": self.metadata,
        }
        arrays: Arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        files = {TOKENIZER_FILE: (tokenizer_to_json(self.tokenizer) + "\n").encode()}
        save_arrays(folder, KIND, config, arrays, files)

    def __deepcopy__(self, memo: dict[int, Any]) -> "TransformerPreference":
        return self


def from_arrays(folder: Path | str, config: dict[str, Any], arrays: Arrays, signature: str) -> TransformerPreference:
    """The model whose folder was read.

    Raises:
        CheckpointError: its files do not fit together.
    """
    try:
        tokenizer = load_tokenizer(Path(folder) / TOKENIZER_FILE)
    except TokenizerError as error:
        raise CheckpointError(f"{folder} is no whole model folder: {error}") from error
    if tokenizer.signature != config.get("tokenizer"):
        raise CheckpointError(f"{folder}: {TOKENIZER_FILE} is not the tokenizer of this model. Take another copy.")
    try:
        with torch.random.fork_rng(devices=[]):
            trunk = Transformer(TransformerConfig(**config["config"]))
            network = StrengthNetwork(trunk, int(config["sep_id"]), int(config["eos_id"]))
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    except (KeyError, TypeError, RuntimeError, CheckpointError) as error:
        raise CheckpointError(f"{folder} does not hold this model: {error}") from error
    return TransformerPreference(network, tokenizer, signature, config.get("metadata", {}))


def fit_transformer(
    pairs: Sequence[Preference],
    start: Checkpoint,
    config: PreferenceConfig = PreferenceConfig(),
    tell: Tell = lambda stage: None,
    device: torch.device | str = "cpu",
) -> TransformerPreference:
    """Trains a Transformer on four fifths of the pairs, and measures it on the rest.

    Args:
        pairs: at least 20.
        start: the trunk that is trained on, pretrained or not; it stays as it is.
        config: how.
        tell: is told what begins.
        device: where it is trained.

    Returns:
        the model, on the CPU; its metadata are those of `measure`, and `epochs`.

    Raises:
        CorpusError: too few pairs.
        CheckpointError: the trunk is another kind of network.
    """
    if not isinstance(start.model, Transformer):
        raise CheckpointError(f"a preference model stands on a Transformer of TextGym, not on a {start.model.kind}")
    kept = keep_pairs(pairs, config.seed)
    learnt = [pair for pair, out in zip(pairs, kept, strict=True) if not out]
    held = [pair for pair, out in zip(pairs, kept, strict=True) if out]
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(len(learnt))
    deciding = [learnt[i] for i in order[: max(2, round(HELD_OUT * len(learnt) / 2))]]
    training = [learnt[i] for i in order[len(deciding) :]]
    network = StrengthNetwork(copy.deepcopy(start.model), start.sep_id, start.eos_id).to(device)
    model = TransformerPreference(network, start.tokenizer)
    epochs = _train(model, training, deciding, config, rng, tell)
    metadata = {**measure(model, held), "rows": len(learnt), "epochs": epochs, "seed": config.seed}
    return TransformerPreference(network.to("cpu"), start.tokenizer, metadata=metadata)


def _train(
    model: TransformerPreference,
    training: Sequence[Preference],
    deciding: Sequence[Preference],
    config: PreferenceConfig,
    rng: np.random.Generator,
    tell: Tell,
) -> int:
    """Trains the model, leaves it as it was after its best epoch, and says which that was."""
    network, steps = model.network, config.epochs * -(-len(training) // config.pairs)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / max(steps // 10, 1), (steps - step) / steps)
    )
    best, best_epoch, weights = np.log(2.0), 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, config.epochs + 1):
        network.train()
        for layout in _batches(model, training, config.pairs, rng):
            chosen, rejected = network(layout).chunk(2)
            loss = -F.logsigmoid(chosen - rejected).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        network.eval()
        loss_now = measure(model, deciding)["logloss"]
        tell(f"epoch {epoch} of {config.epochs}: log loss {loss_now:.4f} on {len(deciding)} pairs")
        if loss_now < best:
            best, best_epoch, weights = loss_now, epoch, copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= config.patience:
            break
    network.load_state_dict(weights)
    return best_epoch


def _batches(
    model: TransformerPreference, pairs: Sequence[Preference], size: int, rng: np.random.Generator
) -> Iterator[Layout]:
    """Batches of pairs in random order: the chosen sides, then the rejected ones."""
    encode = model.tokenizer.encode
    order = rng.permutation(len(pairs))
    for start in range(0, len(pairs), size):
        batch = [pairs[i] for i in order[start : start + size]]
        prompts = [encode(pair.prompt) for pair in batch]
        sides = [*(encode(pair.chosen) for pair in batch), *(encode(pair.rejected) for pair in batch)]
        yield model.network.lay_out([*prompts, *prompts], sides)
