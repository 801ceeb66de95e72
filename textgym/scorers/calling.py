"""How a Python function is called as a scorer: by what its signature takes.

===========================================  =============================================================
``f(text)``                                  the completion's text (one parameter, any name not listed below)
``f(completion, references, ...)``           any of `ROW_NAMES` and of the keys of the metadata, one row a call
``f(prompts, completions, **columns)``       any of `COLUMN_NAMES` and of the keys of the metadata, as lists (TRL)
``f(data_source, solution_str, ...)``        any of `VERL_NAMES` and of the keys of the metadata, one row a call (verl)
``f(batch)``                                 the whole `TextBatch` (a parameter named so, or annotated so)
===========================================  =============================================================

A row function returns a number, or None for "not applicable"; verl's also a mapping whose "score" is the number; the
others a list of those, or `Scores`. Coroutine functions are awaited. TRL's functions of conversations are told by the
annotation of their `completions`, a list of lists of dicts, and are given messages.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.base import Score
from textgym.scorers.waiting import awaited
from textgym.types import Scores, TextBatch

ROW_NAMES = ("prompt", "completion", "references", "metadata", "prompt_ids", "completion_ids")
COLUMN_NAMES = ("prompts", "completions", "references", "metadata", "prompt_ids", "completion_ids")
VERL_NAMES = ("data_source", "solution_str", "ground_truth", "extra_info")

Function = Callable[..., Any]


def caller_of(function: Function) -> Score:
    """The function as a scorer of batches, by what its parameters are called.

    Raises:
        ScorerError: its parameters are more than one and none of the names that are known.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins have none
        return partial(_call_with_text, function)
    taken = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    taken = [p for p in taken if not (isinstance(function, partial) and p.name in function.keywords)]
    anything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    names = [p.name for p in taken]
    needed = [p.name for p in taken if p.default is p.empty]
    if taken and (names[0] == "batch" or taken[0].annotation in (TextBatch, "TextBatch")) and len(needed) < 2:
        return partial(_call_with_batch, function)
    if "completions" in names or "prompts" in names:
        chat = any("dict" in str(p.annotation) for p in taken if p.name in ("completions", "prompts"))
        return partial(_call_with_columns, function, None if anything else tuple(names), chat)
    if "solution_str" in names:
        return partial(_call_as_verl, function, None if anything else tuple(names))
    if {*needed} & {*ROW_NAMES} or (anything and not needed):
        return partial(_call_with_row, function, None if anything else tuple(names))
    if len(needed) == 1 or (names and not needed):
        return partial(_call_with_text, function)
    raise ScorerError(
        f"{getattr(function, '__name__', function)}{signature} is no reward function: it takes one text, or "
        f"any of {', '.join(ROW_NAMES)} (one row a call), or any of {', '.join(COLUMN_NAMES)} (lists), "
        f"or {', '.join(VERL_NAMES)} (verl), or a batch"
    )


def _call_with_text(function: Function, batch: TextBatch) -> Scores:
    return _as_scores([_now(function(text)) for text in batch.completion_texts])


def _call_with_batch(function: Function, batch: TextBatch) -> Scores:
    result = function(batch)
    return result if isinstance(result, Scores) else _as_scores(result)


def _call_with_row(function: Function, names: Sequence[str] | None, batch: TextBatch) -> Scores:
    rows = []
    for index in range(len(batch)):
        row: dict[str, Any] = {
            **(batch.metadata[index] if batch.metadata else {}),
            "prompt": batch.prompt_texts[index],
            "completion": batch.completion_texts[index],
            "references": list(batch.references[index]) if batch.references else [],
            "metadata": dict(batch.metadata[index]) if batch.metadata else {},
            "prompt_ids": batch.prompts[index],
            "completion_ids": batch.completions[index],
        }
        rows.append(_now(function(**_chosen(row, names))))
    return _as_scores(rows)


def _call_with_columns(function: Function, names: Sequence[str] | None, chat: bool, batch: TextBatch) -> Scores:
    keys = dict.fromkeys(key for row in batch.metadata for key in row)
    columns: dict[str, Any] = {
        **{key: [row.get(key) for row in batch.metadata] for key in keys},
        "prompts": _messages(batch.prompt_texts, "user") if chat else list(batch.prompt_texts),
        "completions": _messages(batch.completion_texts, "assistant") if chat else list(batch.completion_texts),
        "references": [list(row) for row in batch.references] or [[] for _ in range(len(batch))],
        "metadata": [dict(row) for row in batch.metadata] or [{} for _ in range(len(batch))],
        "prompt_ids": list(batch.prompts),
        "completion_ids": list(batch.completions),
        "trainer_state": SimpleNamespace(global_step=0, max_steps=0, epoch=0.0),
        "log_extra": _log_nothing,
        "log_metric": _log_nothing,
    }
    return _as_scores(_now(function(**_chosen(columns, names))))


def _call_as_verl(function: Function, names: Sequence[str] | None, batch: TextBatch) -> Scores:
    results = []
    for index, solution in enumerate(batch.completion_texts):
        metadata = dict(batch.metadata[index]) if batch.metadata else {}
        references = batch.references[index] if batch.references else ()
        row: dict[str, Any] = {
            **{
                key: value for key, value in metadata.items() if names is not None
            },  # reward_kwargs, where they are named
            "data_source": metadata.get("data_source", ""),
            "solution_str": solution,
            "ground_truth": metadata.get("ground_truth", references[0] if references else None),
            "extra_info": metadata.get("extra_info") or {"prompt": batch.prompt_texts[index], **metadata},
        }
        results.append(_now(function(**_chosen(row, names))))
    return _with_parts(results)


def _messages(texts: Sequence[str], role: str) -> list[list[dict[str, str]]]:
    return [[{"role": role, "content": text}] for text in texts]


def _log_nothing(name: str, value: Any) -> None:
    pass


def _chosen(given: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """The arguments that the function takes; all if it takes anything."""
    return {key: value for key, value in given.items() if names is None or key in names}


def _now(result: Any) -> Any:
    """What a function returned, or what comes of it if it is a coroutine."""
    return awaited(result) if inspect.isawaitable(result) else result


def _with_parts(results: Sequence[Any]) -> Scores:
    """Numbers, or mappings whose "score" is the number and whose other numbers are the components."""
    for result in results:
        if isinstance(result, Mapping) and "score" not in result:
            raise ScoringFailure(f"a number or a mapping with 'score' is expected, not one with {sorted(result)}")
    scores = _as_scores([result["score"] if isinstance(result, Mapping) else result for result in results])
    rows = [result if isinstance(result, Mapping) else {} for result in results]
    names = dict.fromkeys(name for row in rows for name in row if name != "score")
    columns = {name: [row.get(name) for row in rows] for name in names}
    parts = {
        name: np.array([math.nan if value is None else float(value) for value in column])
        for name, column in columns.items()
        if all(value is None or isinstance(value, int | float | np.number) for value in column)
    }
    return replace(scores, components=parts)


def _as_scores(results: Any) -> Scores:
    """Numbers and Nones as Scores; the shape is checked by whoever asked."""
    if isinstance(results, (str, bytes)) or not isinstance(results, (Sequence, np.ndarray)):
        raise ScoringFailure(f"a list with a number for each text is expected, not {type(results).__name__}")
    values = [0.0 if result is None else _number(result) for result in results]
    valid = [result is not None for result in results]
    return Scores(np.array(values, dtype=np.float64), np.array(valid, dtype=bool))


def _number(result: Any) -> float:
    """A Python, numpy or torch scalar as a float; text is none, even if it reads as one."""
    try:
        if hasattr(result, "__float__"):
            return float(result)
    except (TypeError, ValueError):  # an array of several numbers
        pass
    raise ScoringFailure(f"a number or None is expected for each text, not {result!r}")
