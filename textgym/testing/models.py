"""The laws of a language model: run them on your own before a scorer relies on it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from textgym.types import LanguageModel, TokenIds


def check_language_model(
    model: LanguageModel, prompts: Sequence[TokenIds] | None = None, *, tolerance: float = 0.0, seed: int = 0
) -> None:
    """Checks that a model keeps the contract of `textgym.types.LanguageModel`.

    Shapes and dtypes; logarithms of probabilities, and zeros beyond a row's end; next-token probabilities that sum to 1
    and are those that `logprobs` reports token by token; the same answer twice; the same answer for a row alone, in any
    order and in any company; empty completions and no rows at all.

    Args:
        model: what to check.
        prompts: token ids to start from, at least two; random ones of 0 to 6 tokens if not given.
        tolerance: how far, in nats, a row may differ between batches, and the sum of probabilities from 1. 0 asks for
            equality bit for bit (of sums, to 1e-9), as numpy models give it; neural ones keep 1e-5.
        seed: of the random ids.

    Raises:
        AssertionError: a law is broken; the message says which, and where.
    """
    _check_identity(model)
    rng = np.random.default_rng(seed)
    if prompts is None:
        prompts = [_random_ids(model, length, rng) for length in (3, 0, 6, 1, 3)]
    _require(len(prompts) >= 2, f"{len(prompts)} prompts given: at least two are needed to compare batches")
    completions = [_random_ids(model, length, rng) for length in rng.permutation(np.arange(len(prompts)) % 5)]
    scored = _check_shape(model.logprobs(prompts, completions), (len(prompts), max(map(len, completions))), "logprobs")
    for row, (values, ids) in enumerate(zip(scored, completions, strict=True)):
        _require(bool((values[len(ids) :] == 0).all()), f"logprobs: row {row} is not 0 beyond its end: {values}")
    _check_next(model, prompts, completions, scored, tolerance)
    _check_batches(model, prompts, completions, scored, tolerance)
    _check_empty(model, prompts)


def _check_identity(model: LanguageModel) -> None:
    _require(isinstance(model, LanguageModel), f"{type(model).__name__} lacks a member of textgym.types.LanguageModel")
    size, signature = model.vocab_size, model.signature
    _require(isinstance(size, int) and size > 0, f"vocab_size is {size!r}, not a positive int")
    _require(isinstance(signature, str) and signature != "", f"signature is {signature!r}, not a text")
    _require(model.signature == signature, "signature changes from call to call")


def _check_next(
    model: LanguageModel,
    prompts: Sequence[TokenIds],
    completions: Sequence[TokenIds],
    scored: Float64[np.ndarray, "B T"],
    tolerance: float,
) -> None:
    for t in range(scored.shape[1] + 1):
        prefixes = [ids[:t] for ids in completions]
        ahead = _check_shape(
            model.next_logprobs(prompts, prefixes), (len(prompts), model.vocab_size), f"next_logprobs after {t} tokens"
        )
        total = np.exp(ahead).sum(axis=1)
        off = np.abs(total - 1).max()
        _require(off <= max(tolerance, 1e-9), f"next_logprobs after {t} tokens: probabilities sum to {total}, not to 1")
        for row, ids in enumerate(completions):
            if t < len(ids):
                _require_equal(
                    np.array([ahead[row, ids[t]]]),
                    scored[row, t : t + 1],
                    tolerance,
                    f"row {row}, token {t} (id {ids[t]}): next_logprobs and logprobs disagree",
                )


def _check_batches(
    model: LanguageModel,
    prompts: Sequence[TokenIds],
    completions: Sequence[TokenIds],
    scored: Float64[np.ndarray, "B T"],
    tolerance: float,
) -> None:
    again = model.logprobs(prompts, completions)
    _require(again.tobytes() == scored.tobytes(), "logprobs: the same call twice gives different bytes")
    rows = range(len(prompts))
    for name, batch in [*((f"row {i} alone", [i]) for i in rows), ("reversed batch", list(rows)[::-1])]:
        given, wanted = [prompts[i] for i in batch], [completions[i] for i in batch]
        found = model.logprobs(given, wanted)
        ahead = model.next_logprobs(given, wanted)
        together = model.next_logprobs(prompts, completions)[batch]
        _require_equal(found, scored[batch, : found.shape[1]], tolerance, f"logprobs: {name} differs from the batch")
        _require_equal(ahead, together, tolerance, f"next_logprobs: {name} differs from the batch")


def _check_empty(model: LanguageModel, prompts: Sequence[TokenIds]) -> None:
    nothing = [np.empty(0, dtype=np.int32)] * len(prompts)
    _check_shape(model.logprobs(prompts, nothing), (len(prompts), 0), "logprobs of empty completions")
    _check_shape(model.logprobs([], []), (0, 0), "logprobs of no rows")
    _check_shape(model.next_logprobs([], []), (0, model.vocab_size), "next_logprobs of no rows")


def _check_shape(values: np.ndarray, shape: tuple[int, ...], what: str) -> Float64[np.ndarray, "B N"]:
    _require(isinstance(values, np.ndarray), f"{what}: a {type(values).__name__}, not a numpy array")
    _require(values.dtype == np.float64, f"{what}: dtype {values.dtype}, not float64")
    _require(values.shape == shape, f"{what}: shape {values.shape}, not {shape}")
    _require(not np.isnan(values).any(), f"{what}: NaN")
    _require(
        bool((values <= 0).all()), f"{what}: {values.max(initial=0)} is above 0, so not the logarithm of a probability"
    )
    return values


def _random_ids(model: LanguageModel, length: int, rng: np.random.Generator) -> TokenIds:
    """Ids without the three reserved ones, where the vocabulary has others."""
    lowest = 3 if model.vocab_size > 3 else 0
    return rng.integers(lowest, model.vocab_size, size=length).astype(np.int32)


def _require_equal(found: np.ndarray, wanted: np.ndarray, tolerance: float, message: str) -> None:
    _require(found.shape == wanted.shape, f"{message}: shapes {found.shape} and {wanted.shape}")
    equal = np.array_equal(found, wanted) or np.allclose(found, wanted, rtol=0.0, atol=tolerance)
    with np.errstate(invalid="ignore"):
        _require(
            equal, f"{message}: by up to {np.abs(found - wanted).max(initial=0):.3g} nats, tolerance {tolerance:g}"
        )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
