"""Scoring records outside an environment: what `score` and `rank` share.

Without a task, tokens are words, or characters in Chinese and Japanese text; what has to be fitted needs a task.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from textgym.cli.records import BadLine, Record, batches
from textgym.envs.taskless import TasklessContext
from textgym.envs.tasks import make_task
from textgym.errors import CorpusError, ScorerError, ScoringFailure
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
        record: the completion, or the line that holds none.
        score: None where the scorer is not applicable, or failed.
        components: the raw value of every named scorer; None where that one is not applicable.
        error: why there is no score, if that is no matter of the scorer's definition.
    """

    record: Record | BadLine
    score: float | None = None
    components: Mapping[str, float | None] = field(default_factory=dict)
    error: str = ""

    def to_row(self) -> dict[str, Any]:
        """As `textgym score` writes it."""
        row = {
            "id": self.record.id,
            "score": self.score,
            "components": self.components,
            "valid": self.score is not None,
        }
        return {**row, "error": self.error} if self.error else row

    @property
    def scored(self) -> Record:
        """The record of a line that holds one."""
        assert isinstance(self.record, Record), f"line {self.record.line} holds no record"
        return self.record

    def complain(self, source: str) -> str:
        """The error with its place and the text, as a message.

        Args:
            source: what to call the file.
        """
        message = f"{source}, line {self.record.line}: {self.error}"
        if isinstance(self.record, BadLine):
            return message
        text = self.record.completion
        return f"{message}\n    completion {text if len(text) <= 200 else text[:200] + '…'!r}"


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

    def judge(self, records: Iterable[Record | BadLine], source: str, *, strict: bool = False) -> Iterator[Judgement]:
        """Scores records in their order, a batch at a time; bad lines and failures of the scorer keep their place.

        Args:
            records: the completions.
            source: what to call their file in messages.
            strict: whether the first of them without a score is an error.

        Raises:
            CorpusError: a bad line, if `strict`.
            ScoringFailure: a scorer that raises or returns NaN or infinity, if `strict`; or that needs the whole file
                and fails on it.
        """
        # A measure of a set of texts takes the file as the set.
        for batch in batches(records, sys.maxsize if self.scorer.set_level else BATCH_ROWS):
            found = [Judgement(item, error=item.complaint) if isinstance(item, BadLine) else None for item in batch]
            for places in self._alike(batch):
                chosen = [item for place in places if isinstance(item := batch[place], Record)]
                for place, judgement in zip(places, self._score(chosen, source), strict=True):
                    found[place] = judgement
            for judgement in filter(None, found):
                if strict and judgement.error:
                    kind = CorpusError if isinstance(judgement.record, BadLine) else ScoringFailure
                    raise kind(judgement.complain(source))
                yield judgement

    def _alike(self, batch: Sequence[Record | BadLine]) -> list[list[int]]:
        """Places of rows that may share a batch: without a task, a row's own script decides what its tokens are."""
        records = [(place, item) for place, item in enumerate(batch) if isinstance(item, Record)]
        if self.tokenizer is not None:
            return [[place for place, _ in records]] if records else []
        chinese = {place: cjk_share(record.prompt + record.completion) > 0.5 for place, record in records}
        return [group for kind in (True, False) if (group := [i for i, is_so in chinese.items() if is_so is kind])]

    def _score(self, batch: Sequence[Record], source: str) -> list[Judgement]:
        """Judgements of a batch; of one that fails, those of its halves, so that a failure stays with its text."""
        try:
            scores = self._raw(batch)
        except Exception as error:
            if self.scorer.set_level:
                raise ScoringFailure(f"{source}, lines {batch[0].line} to {batch[-1].line}: {_say(error)}") from error
            if len(batch) == 1:
                return [Judgement(batch[0], error=_say(error))]
            middle = len(batch) // 2
            return [*self._score(batch[:middle], source), *self._score(batch[middle:], source)]
        judgements = []
        for row, record in enumerate(batch):
            valid, value = bool(scores.valid[row]), float(scores.values[row])
            components = {name: _finite(values[row]) for name, values in scores.components.items()}
            if valid and not math.isfinite(value):
                judgements.append(Judgement(record, None, components, f"{self.scorer} is {value}"))
            else:
                judgements.append(Judgement(record, value if valid else None, components))
        return judgements

    def _raw(self, batch: Sequence[Record]) -> Scores:
        texts, prompts = [self.tidy(record.completion) for record in batch], [record.prompt for record in batch]
        if self.tidy is not str:
            prompts = [self.tidy(prompt).lstrip() for prompt in prompts]
        references, metadata = [record.references for record in batch], [record.metadata for record in batch]
        with np.errstate(over="ignore", invalid="ignore"):
            return self.bound.score(batch_of_texts(texts, prompts, references, metadata, tokenizer=self.tokenizer))


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
        ScorerError: it needs what only a task has, and none is named.
    """
    scorer = resolve(spec)
    if task is None and corpus is None:
        if field is not None or tokenizer != "auto":
            raise ScorerError("--field and --tokenizer belong to a task: name one with --task or --corpus FILE")
        return Judge(scorer, scorer.bind(TasklessContext()), None)
    opened = make_task(task, corpus=corpus, field=field, tokenizer=tokenizer, cache_dir=cache_dir)
    world = getattr(opened, "world", None)
    read = partial(tidy, world) if isinstance(world, StoryWorld) else str
    return Judge(scorer, scorer.bind(opened.context), opened.tokenizer, read)


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, ScoringFailure) else f"{type(error).__name__}: {error}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
