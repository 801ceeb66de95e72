"""Scoring records outside an environment: what `score` and `rank` share.

Without a task, tokens are words, or characters in Chinese and Japanese text; a scorer that needs a model needs a task.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from textgym.cli.records import Record, batches
from textgym.envs.tasks import make_task
from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.base import Scorer
from textgym.scorers.bound import BoundScorer
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.spec import resolve
from textgym.text.sentences import cjk_share
from textgym.types import Scores, Tokenizer
from textgym.worlds.story.words import tidy
from textgym.worlds.story.world import StoryWorld

BATCH_ROWS = 256
"""Rows that are scored, and held in memory, at a time."""


@dataclass(frozen=True)
class Judgement:
    """What a scorer says of one record.

    Attributes:
        record: the completion.
        score: None where the scorer is not applicable.
        components: the raw value of every named scorer; None where that one is not applicable.
    """

    record: Record
    score: float | None
    components: dict[str, float | None]

    def to_row(self) -> dict[str, Any]:
        """As `textgym score` writes it."""
        valid = self.score is not None
        return {"id": self.record.id, "score": self.score, "components": self.components, "valid": valid}


@dataclass(frozen=True)
class Judge:
    """A scorer with what it needs in hand.

    Attributes:
        scorer: the expression.
        bound: the expression, bound.
        tokenizer: the task's; None without a task.
        tidy: what is done to a text before it is read: stories are written with blanks that people leave out.
    """

    scorer: Scorer
    bound: BoundScorer
    tokenizer: Tokenizer | None
    tidy: Callable[[str], str] = str

    def judge(self, records: Iterable[Record], source: str) -> Iterator[Judgement]:
        """Scores records in their order, a batch at a time.

        Args:
            records: the completions.
            source: what to call their file in messages.

        Raises:
            ScoringFailure: a scorer that raises or returns NaN or infinity; the message names the line.
        """
        # A measure of a set of texts takes the file as the set.
        for batch in batches(records, sys.maxsize if self.scorer.set_level else BATCH_ROWS):
            found: list[Judgement | None] = [None] * len(batch)
            for places in self._alike(batch):
                chosen = [batch[place] for place in places]
                for place, judgement in zip(places, self._score(chosen, source), strict=True):
                    found[place] = judgement
            yield from filter(None, found)

    def _alike(self, batch: Sequence[Record]) -> list[list[int]]:
        """Places of rows that may share a batch: without a task, a row's own script decides what its tokens are."""
        if self.tokenizer is not None:
            return [[*range(len(batch))]]
        chinese = [cjk_share(record.prompt + record.completion) > 0.5 for record in batch]
        return [group for kind in (True, False) if (group := [i for i, c in enumerate(chinese) if c is kind])]

    def _score(self, batch: Sequence[Record], source: str) -> list[Judgement]:
        try:
            scores = self._raw(batch)
        except Exception as error:
            for record in batch:
                if alone := self._error_of(record):
                    raise _failure(source, record, alone) from alone
            raise ScoringFailure(f"{source}, lines {batch[0].line} to {batch[-1].line}: {_say(error)}") from error
        for row, record in enumerate(batch):
            if scores.valid[row] and not math.isfinite(scores.values[row]):
                raise _failure(source, record, ScoringFailure(f"{self.scorer} is {scores.values[row]}"))
        return [
            Judgement(
                record,
                float(scores.values[row]) if scores.valid[row] else None,
                {name: _finite(values[row]) for name, values in scores.components.items()},
            )
            for row, record in enumerate(batch)
        ]

    def _error_of(self, record: Record) -> Exception | None:
        try:
            self._raw([record])
        except Exception as error:
            return error
        return None

    def _raw(self, batch: Sequence[Record]) -> Scores:
        texts, prompts = [self.tidy(record.completion) for record in batch], [record.prompt for record in batch]
        if self.tidy is not str:
            prompts = [self.tidy(prompt).lstrip() for prompt in prompts]
        references = [record.references for record in batch]
        with np.errstate(over="ignore", invalid="ignore"):
            return self.bound.score(batch_of_texts(texts, prompts, references, tokenizer=self.tokenizer))


def open_judge(
    spec: str, *, task: str | None, corpus: str | None, field: str | None, tokenizer: str, cache_dir: str | None
) -> Judge:
    """Reads an expression and binds it.

    Args:
        spec: an expression or file.py:function.
        task: a task by name.
        corpus: a corpus to make a task of.
        field: its column or field.
        tokenizer: of the task; as in `make_task`.
        cache_dir: where fitted models are kept.

    Raises:
        SpecError: an expression that cannot be read.
        ScorerError: it needs a task and none is named.
    """
    scorer = resolve(spec)
    if task is None and corpus is None:
        if field is not None or tokenizer != "auto":
            raise ScorerError("--field and --tokenizer belong to a task: name one with --task or --corpus FILE")
        if wants := sorted(scorer.needs - {"references"}):
            raise ScorerError(
                f"{scorer} needs {' and '.join(wants)}, which comes with a task: --task NAME or --corpus FILE"
            )
        return Judge(scorer, scorer.bind(None), None)
    opened = make_task(task, corpus=corpus, field=field, tokenizer=tokenizer, cache_dir=cache_dir)
    world = getattr(opened, "world", None)
    read = partial(tidy, world) if isinstance(world, StoryWorld) else str
    return Judge(scorer, scorer.bind(opened.context), opened.tokenizer, read)


def _failure(source: str, record: Record, error: Exception) -> ScoringFailure:
    text = record.completion if len(record.completion) <= 200 else record.completion[:200] + "…"
    return ScoringFailure(f"{source}, line {record.line}: {_say(error)}\n    completion {text!r}")


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, ScoringFailure) else f"{type(error).__name__}: {error}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
