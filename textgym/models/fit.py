"""Maximum-likelihood fitting: Muon and AdamW with warm-up and cosine decay, held-out perplexity, early stopping.

Muon (Jordan et al. 2024) moves the matrices inside the blocks, AdamW (Loshchilov & Hutter 2019) the embeddings and
vectors, at one learning rate for both, since Muon's steps are scaled to the size of AdamW's (Liu et al. 2025, eq. 4).
With a third of the tokens it reaches the perplexity that AdamW alone does.

Letters: B rows, T tokens.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from textgym.errors import CheckpointError, TaskError
from textgym.models.causal_network import CausalNetwork
from textgym.models.layout import Layout, emittable, lay_out, negative_logprobs, similar_lengths
from textgym.types import TokenIds

OnProgress = Callable[[int, int, str], None]
"""Called with (done, total, message)."""

BETAS = (0.9, 0.95)
"""Of AdamW: the second one lower than its default, since gradients change fast in a short fit."""

POOL_BATCHES = 16
"""Batches that are sorted by length together: more means less padding, fewer means better mixed rows."""


@runtime_checkable
class Rows(Protocol):
    """What is fitted to: prompts with a reference each (`textgym.text.prompts.PromptSet`)."""

    def __len__(self) -> int: ...

    def prompt(self, index: int) -> TokenIds:
        """Ids of a prompt, without separator."""

    def reference(self, index: int) -> TokenIds:
        """Ids of the text that follows it; ends in EOS where the text does."""


@dataclass(frozen=True)
class FitConfig:
    """How a network is fitted. The defaults suit 0.5 to 5 million weights and a few megabytes of text.

    Args:
        tokens: budget, counted in predicted tokens.
        batch_tokens: tokens of a batch, padding included.
        learning_rate: at its peak.
        min_lr: at the end of the cosine.
        warmup: share of the budget in which the rate rises from 0.
        weight_decay: on matrices only.
        clip: largest norm of a gradient.
        seed: of the order of the rows.
        evaluate_every: tokens between two held-out evaluations.
        heldout_tokens: at most so many completion tokens are evaluated.
        patience: stops after so many evaluations without a better one; 0 never stops early.
    """

    tokens: int = 1_500_000
    batch_tokens: int = 1024
    learning_rate: float = 8e-3
    min_lr: float = 0.0
    warmup: float = 0.15
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    evaluate_every: int = 150_000
    heldout_tokens: int = 16_384
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_tokens", "learning_rate", "clip", "evaluate_every", "heldout_tokens"):
            if not getattr(self, name) > 0:
                raise TaskError(f"FitConfig: {name}={getattr(self, name)!r} must be above 0")
        for name in ("min_lr", "weight_decay", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise TaskError(f"FitConfig: {name}={getattr(self, name)!r} must be at least 0")
        if not 0 <= self.warmup < 1:
            raise TaskError(f"FitConfig: warmup={self.warmup!r} is a share of the budget: from 0 to below 1")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    def rate(self, tokens: int) -> float:
        """Learning rate after so many tokens."""
        done = min(tokens / self.tokens, 1.0)
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        cosine = 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
        return self.min_lr + (self.learning_rate - self.min_lr) * cosine


@dataclass(frozen=True)
class CurveRow:
    """One held-out evaluation.

    Attributes:
        tokens: trained so far.
        perplexity: held-out, as `perplexity` has it.
        loss: mean training loss in nats a token since the row before; None in the first.
        learning_rate: at this moment.
        seconds: since the start.
    """

    tokens: int
    perplexity: float
    loss: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class FitReport:
    """What came of a fit.

    Attributes:
        perplexity: held-out, of the weights that the model is left with.
        best: tokens trained when those weights were reached.
        tokens: trained in all.
        seconds: taken in all.
        curve: every evaluation, the untrained model first.
    """

    perplexity: float
    best: int
    tokens: int
    seconds: float
    curve: tuple[CurveRow, ...]

    def rows(self) -> list[dict[str, float | None]]:
        """The curve as JSON-able rows."""
        return [asdict(row) for row in self.curve]


def fit(
    model: CausalNetwork,
    train: Rows,
    heldout: Rows,
    *,
    sep_id: int,
    config: FitConfig | None = None,
    progress: OnProgress | None = None,
    device: torch.device | str | None = None,
) -> FitReport:
    """Fits the model in place and leaves it with the weights of the best held-out perplexity.

    A row is prompt + separator + reference. The loss is the mean cross-entropy of the next token over all positions
    but those whose target is the separator, padding or a banned id; over references alone, where a network does not
    predict prompts. The same seed gives the same bytes on one
    machine with one number of threads. Ctrl-C passes through and leaves the weights as they stand.

    Args:
        model: is changed.
        train: rows to learn from.
        heldout: rows to judge by; of documents that `train` does not hold.
        sep_id: the separator.
        config: None for the defaults.
        progress: is called after every batch.
        device: where to fit; None for where the model is.

    Raises:
        TaskError: where there are no rows, or the loss is no longer finite.
        CheckpointError: where a row does not fit the model's context.
    """
    config = config or FitConfig()
    model.to(device)
    batches = training_batches(train, sep_id=sep_id, config=config, context=model.config.context)
    optimizers = new_optimizers(model, config)
    start, done, best_at, since = time.perf_counter(), 0, 0, 0
    losses: list[float] = []
    curve: list[CurveRow] = []

    def evaluate() -> bool:
        value = perplexity(model, heldout, sep_id=sep_id, max_tokens=config.heldout_tokens)
        loss = float(np.mean(losses)) if losses else None
        better = not curve or value < min(row.perplexity for row in curve)
        curve.append(CurveRow(done, value, loss, config.rate(done), time.perf_counter() - start))
        losses.clear()
        return better

    evaluate()
    best = copy.deepcopy(model.state_dict())
    try:
        while done < config.tokens:
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = config.rate(done)
            loss, tokens = train_step(model, optimizers, next(batches), config)
            losses.append(loss)
            before, done = done, done + max(tokens, 1)
            if done // config.evaluate_every > before // config.evaluate_every or done >= config.tokens:
                if evaluate():
                    best, best_at, since = copy.deepcopy(model.state_dict()), done, 0
                else:
                    since += 1
                if config.patience and since >= config.patience:
                    break
            if progress:
                message = f"loss {loss:.2f} · held-out perplexity {curve[-1].perplexity:,.1f}"
                progress(min(done, config.tokens), config.tokens, message)
    finally:
        model.zero_grad()
    model.load_state_dict(best)
    reached = min(row.perplexity for row in curve)
    return FitReport(reached, best_at, done, time.perf_counter() - start, tuple(curve))


def new_optimizers(model: CausalNetwork, config: FitConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside, AdamW for all else."""
    inner = model.matrices()
    known = {id(p) for p in inner}
    outer = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in outer if p.ndim == 2], "weight_decay": config.weight_decay},
        {"params": [p for p in outer if p.ndim < 2], "weight_decay": 0.0},
    ]
    rate = config.learning_rate
    # Fused: the plain loop over tensors takes several times as long.
    adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, betas=BETAS, fused=True)
    if not inner:
        return [adamw]
    return [torch.optim.Muon(inner, lr=rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"), adamw]


def train_step(
    model: CausalNetwork, optimizers: Sequence[torch.optim.Optimizer], batch: Layout, config: FitConfig
) -> tuple[float, int]:
    """One step of the optimizers on a batch, at the rates that they have: its loss, and of how many tokens.

    Raises:
        TaskError: the loss is no longer finite.
    """
    device = model.device
    batch = Layout(batch.tokens.to(device), batch.lengths.to(device), batch.starts.to(device))
    loss, tokens = batch_loss(model, batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TaskError(
            f"fit: the loss became {value} at a learning rate of {optimizers[0].param_groups[0]['lr']:.2g}. "
            f"Lower learning_rate (it is {config.learning_rate:g}) or clip (it is {config.clip:g})."
        )
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    for optimizer in optimizers:
        optimizer.step()
    return value, tokens


def batch_loss(model: CausalNetwork, batch: Layout) -> tuple[Tensor, int]:
    """Mean cross-entropy in nats of a batch, and of how many tokens; see `fit` for which."""
    positions = batch.texts() if model.predicts_prompts else batch.completions()
    wanted = positions & emittable(model, batch.tokens[:, 1:])
    losses = negative_logprobs(model, batch.tokens, wanted)
    return losses.sum() / max(len(losses), 1), len(losses)


@torch.no_grad()
def perplexity(
    model: CausalNetwork, rows: Rows, *, sep_id: int, max_tokens: int = 100_000, batch_tokens: int = 8192
) -> float:
    """Held-out quality: exp of the mean -log p of the references' tokens, EOS included, given their prompts.

    Tokens the model can never give (banned ids, such as <unk>) are not counted.

    Args:
        model: the network.
        rows: prompts and references; where they hold more than `max_tokens`, always the same rows are taken,
            from all over.
        sep_id: the separator.
        max_tokens: completion tokens that are looked at, at most.
        batch_tokens: tokens of a batch.

    Raises:
        TaskError: where no reference has a token.
    """
    chosen, sizes = _sample(rows, max_tokens)
    total, count = 0.0, 0
    for batch in similar_lengths(sizes, batch_tokens):
        layout = _lay_out_rows(rows, chosen[batch], sep_id=sep_id, device=model.device)
        wanted = layout.completions() & emittable(model, layout.tokens[:, 1:])
        losses = negative_logprobs(model, layout.tokens, wanted)
        total, count = total + float(losses.double().sum()), count + len(losses)
    if not count:
        raise TaskError(f"perplexity: none of {len(rows)} rows has a reference with a token in it")
    return math.exp(total / count)


def training_batches(rows: Rows, *, sep_id: int, config: FitConfig, context: int) -> Iterator[Layout]:
    """Batches without end: every row once, in an order of chance, then every row again.

    Rows of similar length share a batch. What is left of a pool after cutting goes into the next one.
    """
    sizes = _row_sizes(rows)
    if not len(sizes):
        raise TaskError("fit: there are no training rows")
    if sizes.max() > context:
        raise CheckpointError(
            f"row {sizes.argmax()} has {sizes.max()} tokens with its separator, the model's context is {context}. "
            "Make a model with a longer context, or shorter prompts."
        )
    return _cut(rows, sizes, sep_id=sep_id, config=config)


@contextmanager
def progress_bar(label: str, unit: str = "tokens") -> Iterator[OnProgress]:
    """A bar on stderr for `fit(progress=...)`; silent where stderr is no terminal.

    Args:
        label: what is going on, e.g. "pretrain".
        unit: what is counted.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn(
            f"{{task.completed:,.0f}}/{{task.total:,.0f}} {unit} · {{task.fields[rate]}} · {{task.fields[note]}} ·"
        ),
        TimeElapsedColumn(),
    )
    start = time.perf_counter()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=1, rate="", note="")

        def report(done: int, total: int, message: str) -> None:
            rate = f"{done / max(time.perf_counter() - start, 1e-9):,.0f} {unit[:3]}/s"
            bar.update(task, completed=done, total=total, rate=rate, note=message)

        yield report


def _cut(rows: Rows, sizes: Int64[np.ndarray, " R"], *, sep_id: int, config: FitConfig) -> Iterator[Layout]:
    rng = np.random.default_rng(config.seed)
    waiting: list[int] = []
    pool: list[int] = []
    while True:
        held = int(sizes[pool].sum()) if pool else 0
        while held < POOL_BATCHES * config.batch_tokens:
            waiting = waiting or rng.permutation(len(sizes)).tolist()
            pool.append(waiting.pop())
            held += int(sizes[pool[-1]])
        batches = [np.array(pool)[batch] for batch in similar_lengths(sizes[pool], config.batch_tokens)]
        pool = batches.pop().tolist() if len(batches) > 1 else []
        for i in rng.permutation(len(batches)):
            yield _lay_out_rows(rows, batches[i], sep_id=sep_id, device="cpu")


def _lay_out_rows(rows: Rows, indices: np.ndarray, *, sep_id: int, device: torch.device | str) -> Layout:
    prompts = [rows.prompt(int(i)) for i in indices]
    references = [rows.reference(int(i)) for i in indices]
    return lay_out(prompts, references, sep_id=sep_id, device=device)


def _row_sizes(rows: Rows) -> Int64[np.ndarray, " R"]:
    return np.array([len(rows.prompt(i)) + 1 + len(rows.reference(i)) for i in range(len(rows))], dtype=np.int64)


def _sample(rows: Rows, max_tokens: int) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
    """The same rows on every call, as many as have `max_tokens` completion tokens, at least one; and their sizes."""
    order = np.random.default_rng(0).permutation(len(rows))
    completion = np.array([len(rows.reference(int(i))) for i in order], dtype=np.int64)
    chosen = order[: max(int(np.searchsorted(completion.cumsum(), max_tokens, side="right")), 1)]
    sizes = [len(rows.prompt(int(i))) + 1 + len(rows.reference(int(i))) for i in chosen]
    return chosen, np.array(sizes, dtype=np.int64)
