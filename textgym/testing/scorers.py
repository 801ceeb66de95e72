"""The laws of a scorer: run them on your own before an environment pays by it."""

import copy
import json
from collections.abc import Sequence

import numpy as np

from textgym.errors import ScorerError, TextGymError
from textgym.scorers.base import Scorer
from textgym.scorers.bound import BoundScorer
from textgym.scorers.grammar import parse
from textgym.scorers.plain import OpenVocabulary
from textgym.scorers.spec import resolve
from textgym.types import Scores, ScoringContext, TextBatch, Tokenizer

ODD_TEXTS = (
    "",
    " ",
    "\n\n",
    "word",
    "a a a a a a a a",
    "One sentence. Another one! A third?",
    "tokenized text .",
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "שלום עולם. مرحبا بالعالم",
    "\U0001f469\u200d\U0001f52c \U00010348 \U0001d54f",
    "e\u0301 \u00e9 \ufb01 \u0130",
    "%s {0} \\ ' \" <eos> <unk>",
)
"""Completions that a scorer meets sooner or later: empty, blank, repeated, of every script, beyond the BMP."""

LONG = 10_000
"""Tokens of the longest completion that is tried."""

STREAMED = 12
"""Tokens of each completion that a stream is followed for."""


def check_scorer(
    scorer: Scorer,
    context: ScoringContext | None = None,
    batches: Sequence[TextBatch] | None = None,
    *,
    tolerance: float = 0.0,
    prompt: str | None = None,
) -> None:
    """Checks that a scorer keeps the contract of `textgym.scorers.Scorer`.

    The text form is read back, the signature is stable; values are finite and within the declared range, defined for
    odd texts where the scorer claims to be, the same when asked twice, and the same for a row alone, in any order and
    in any company (a measure of sets of texts: in any order); token contributions are 0 beyond a row's end and sum to
    the value; a stream says after each token what the scorer says of the text so far.

    Args:
        scorer: what to check.
        context: what to bind it to; not needed by a scorer that needs nothing.
        batches: texts to score beside the odd ones that are always tried.
        tolerance: how far a value may differ between batches; 0 asks for equality bit for bit, as numpy scorers give
            it; scorers that run a neural model keep 1e-5.
        prompt: what stands before the odd texts, for a scorer that reads prompts of its task; None tries one that is
            any text, and the empty one.

    Raises:
        AssertionError: a law is broken; the message says which, and where.
    """
    _check_text(scorer)
    bound = scorer.bind(context)
    _check_binding(scorer, context, bound)
    tokenizer = OpenVocabulary([*ODD_TEXTS, "the"]) if context is None else context.tokenizer
    batches = [*_odd_batches(tokenizer, prompt), *(batches or ()), *([] if context is None else [context.references()])]
    total = context is not None and not scorer.partial_in(context) and "references" not in scorer.needs
    for number, batch in enumerate(batches):
        where = f"{scorer}, batch {number}"
        scores = bound.score(batch)
        _check_values(scorer, batch, scores, where)
        if context is not None and total:
            _check_total(context, batch, scores, where)
        _check_tokens(batch, scores, where)
        _check_batches(bound, batch, scores, tolerance, where)
        if context is not None:
            _check_stream(bound, context, batch, tolerance, where)


def _check_text(scorer: Scorer) -> None:
    _require(copy.deepcopy(scorer) is scorer, f"{scorer}: deepcopy makes another object of an immutable one")
    _require(isinstance(hash(scorer), int), f"{scorer}: is not hashable")
    low, high = scorer.range
    _require(low <= high, f"{scorer}: range {scorer.range} is empty")
    _require(scorer.signature == scorer.signature != "", f"{scorer}: signature {scorer.signature!r} is not stable")
    try:
        spec = scorer.to_spec()
    except ScorerError:
        return  # a function has no text form
    for again in (parse(spec), resolve(json.loads(json.dumps(spec)))):
        _require(again == scorer, f"{scorer}: its text form {spec!r} is read back as {again!r}, not {scorer!r}")
        _require(str(again) == spec, f"{scorer}: its text form changes when it is read back, to {again}")
        _require(again.signature == scorer.signature, f"{scorer}: its signature changes when it is read back")


def _check_binding(scorer: Scorer, context: ScoringContext | None, bound: BoundScorer) -> None:
    again = scorer.bind(context)
    _require(bound.signature == again.signature, f"{scorer}: bound twice, two signatures")
    _require(scorer.signature in bound.signature, f"{scorer}: bound, its signature lacks that of the expression")
    if context is None or not scorer.needs - {"references"}:
        return
    try:
        scorer.bind(None)
    except TextGymError:
        return
    raise AssertionError(f"{scorer}: declares needs {sorted(scorer.needs)}, yet binds without a context")


def _odd_batches(tokenizer: Tokenizer, given: str | None) -> list[TextBatch]:
    """Odd completions after a prompt, after an empty prompt, with and without references, and no rows at all."""
    prompt = tokenizer.encode("the " if given is None else given)
    empty, eos = prompt[:0] if given is None else prompt, np.array([tokenizer.eos_id], dtype=np.int32)
    texts = [tokenizer.encode(text) for text in ODD_TEXTS]
    ended = [np.concatenate([ids, eos]) for ids in texts]
    unknown = np.full(3, tokenizer.unk_id, dtype=np.int32)
    some = max(texts, key=len)
    long = np.concatenate([np.resize(some, LONG - 1), eos]).astype(np.int32)
    rows = [*texts, *ended, unknown]
    references = [["the cat sat on the mat.", ""]] * len(rows)
    return [
        TextBatch([prompt] * len(rows), rows, tokenizer),
        TextBatch([empty] * len(rows), rows, tokenizer, references),
        TextBatch([prompt, prompt], [long, eos], tokenizer, references[:2]),
        TextBatch([], [], tokenizer),
    ]


def _check_values(scorer: Scorer, batch: TextBatch, scores: Scores, where: str) -> None:
    for name, array, kind in (("values", scores.values, np.float64), ("valid", scores.valid, np.bool_)):
        _require(array.shape == (len(batch),), f"{where}: {name} of shape {array.shape} for {len(batch)} rows")
        _require(array.dtype == kind, f"{where}: {name} of type {array.dtype}")
    values = scores.values[scores.valid]
    _require(bool(np.isfinite(values).all()), f"{where}: values are not finite: {scores.values}")
    _require(bool((scores.values[~scores.valid] == 0).all()), f"{where}: rows that are not valid hold other than 0")
    low, high = scorer.range
    slack = 1e-9 * max(1.0, *(abs(end) for end in (low, high) if np.isfinite(end)), 1.0)
    outside = values[(values < low - slack) | (values > high + slack)]
    _require(not outside.size, f"{where}: {outside} outside the declared range {scorer.range}")
    for name, component in scores.components.items():
        _require(component.shape == (len(batch),), f"{where}: component {name} of shape {component.shape}")


def _check_total(context: ScoringContext, batch: TextBatch, scores: Scores, where: str) -> None:
    may_occur = np.array([context.empty_prompts or len(ids) > 0 for ids in batch.prompts], dtype=bool)
    undefined = np.flatnonzero(may_occur & ~scores.valid).tolist()
    _require(not undefined, f"{where}: claims to be defined for every text of this context, not for rows {undefined}")


def _check_tokens(batch: TextBatch, scores: Scores, where: str) -> None:
    if scores.tokens is None:
        return
    width = max(map(len, batch.completions), default=0)
    _require(
        scores.tokens.shape == (len(batch), width),
        f"{where}: tokens of shape {scores.tokens.shape} for {(len(batch), width)}",
    )
    for row, ids in enumerate(batch.completions):
        parts, beyond = np.split(scores.tokens[row], [len(ids)])
        _require(bool((beyond == 0).all()), f"{where}, row {row}: tokens are not 0 beyond the row's end")
        if len(ids) and scores.valid[row]:
            gap = abs(parts.sum() - scores.values[row])
            close = gap <= 1e-9 * max(1.0, float(np.abs(parts).sum()))
            _require(close, f"{where}, row {row}: tokens sum to {parts.sum()}, the value is {scores.values[row]}")


def _check_batches(bound: BoundScorer, batch: TextBatch, scores: Scores, tolerance: float, where: str) -> None:
    rows = list(range(len(batch)))
    companies = {
        "when asked again": rows,
        "in reverse order": rows[::-1],
        "in a batch twice as large": rows + rows,
        **{f"for row {row} alone": [row] for row in rows},
    }
    if bound.scorer.set_level:
        companies = {company: companies[company] for company in ("when asked again", "in reverse order")}
    for company, indices in companies.items():
        again = bound.score(batch.rows(indices))
        for name, one, other in (
            ("values", scores.values[indices], again.values),
            ("valid", scores.valid[indices], again.valid),
            *(
                (f"component {name}", array[indices], again.components[name])
                for name, array in scores.components.items()
            ),
        ):
            _require_same(one, other, tolerance, f"{where}: {name} differ {company}")
        _require((scores.tokens is None) == (again.tokens is None), f"{where}: tokens come and go {company}")
        if scores.tokens is not None and again.tokens is not None:
            for at, row in enumerate(indices):
                width = len(batch.completions[row])
                what = f"{where}: tokens of row {row} differ {company}"
                _require_same(scores.tokens[row, :width], again.tokens[at, :width], tolerance, what)


def _check_stream(bound: BoundScorer, context: ScoringContext, batch: TextBatch, tolerance: float, where: str) -> None:
    """Every row of the batch, its first tokens, in a stream that was used before."""
    stream, rows = bound.scorer.stream(len(batch), context), np.arange(len(batch))
    if stream is None or not len(batch):
        return
    stream.begin(rows, batch.prompts)
    stream.advance(rows, np.full(len(batch), context.tokenizer.eos_id, dtype=np.int64))
    completions = [ids[:STREAMED] for ids in batch.completions]
    values = stream.begin(rows, batch.prompts)
    for step in range(STREAMED + 1):
        so_far = TextBatch(batch.prompts, [ids[:step] for ids in completions], batch.tokenizer, batch.references)
        scores = bound.score(so_far)
        due = np.where(scores.valid, scores.values, np.nan)[rows]
        close = np.allclose(values, due, rtol=1e-9, atol=max(tolerance, 1e-9), equal_nan=True)
        _require(close, f"{where}: after {step} tokens the stream says {values}, the scorer {due}")
        rows = np.array([row for row in rows if len(completions[row]) > step], dtype=np.int64)
        if not len(rows):
            return
        values = stream.advance(rows, np.array([completions[row][step] for row in rows], dtype=np.int64))


def _require_same(one: np.ndarray, other: np.ndarray, tolerance: float, message: str) -> None:
    if tolerance == 0:
        same = one.dtype == other.dtype and one.tobytes() == other.tobytes()
    else:
        same = bool(np.allclose(one, other, rtol=0.0, atol=tolerance, equal_nan=True))
    _require(same, f"{message}: {one} and {other}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
