"""A reward that travels: an expression and the settings of its task, opened in the process that first asks it.

It is what every export is made of. It pickles, since it holds settings and no model; it scores plain texts, since other
libraries have tokenizers of their own; and it says so loudly if what it opens is not what was exported.
"""

import dataclasses
import json
import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.envs.taskless import TasklessContext
from textgym.envs.tasks import Task, TaskSettings, make_task
from textgym.errors import ScorerError, ScoringFailure, TaskError, did_you_mean
from textgym.interop.spans import token_spans
from textgym.scorers.algebra import Composite, Constant, Difference, Negative, Sum
from textgym.scorers.base import Scorer
from textgym.scorers.bound import walk
from textgym.scorers.callables import FileScorer
from textgym.scorers.delivery import Delivery, summands
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.reward import Reward
from textgym.scorers.spec import RewardLike, resolve
from textgym.text.sentences import cjk_share
from textgym.types import Scores, TextBatch, Tokenizer
from textgym.worlds.story.words import tidy
from textgym.worlds.story.world import StoryWorld

_log = logging.getLogger("textgym")

TokenReward = tuple[int, int, float]
"""Where a token's characters stand in the completion, from and to, and what it earned."""

PATHS = ("corpus", "prompts", "tokenizer", "cache_dir")
"""Settings that may be paths, which must not depend on the folder in which a reward is opened."""


class OtherRewardWarning(UserWarning):
    """What an export opens is not what was exported: another version, corpus, or file."""


@dataclass(frozen=True)
class TextScores:
    """What a reward says of B plain texts.

    Attributes:
        values: the reward of each; None where it is not applicable.
        components: by name, the raw value of each scorer that took part, or None.
        tokens: of each text the rewards of its tokens, which sum to its value, the last one of the end of the text;
            empty where the reward is not applicable, or they were not asked for.
    """

    values: list[float | None]
    components: dict[str, list[float | None]]
    tokens: list[list[TokenReward]]

    def total(self) -> list[float]:
        """The values, for libraries that know no "not applicable".

        Raises:
            ScoringFailure: some text has none.
        """
        missing = [row for row, value in enumerate(self.values) if value is None]
        if missing:
            raise ScoringFailure(
                f"the reward is not applicable to row {missing[0]} of {len(self.values)}, and not applicable is not "
                "zero: default(x, value) says what such texts earn"
            )
        return [value for value in self.values if value is not None]

    def row(self, index: int) -> dict[str, Any]:
        """One text's as JSON-able values; "tokens" only where they were asked for."""
        value = self.values[index]
        components = {name: column[index] for name, column in self.components.items()}
        row: dict[str, Any] = {"score": value, "components": components, "valid": value is not None}
        return {**row, "tokens": self.tokens[index]} if self.tokens else row


@dataclass(frozen=True)
class PortableReward:
    """An expression, the task it is bound to, and what its signature should be.

    Attributes:
        spec: the expression.
        task: the arguments of `textgym.make_task`; empty for no task, where tokens are words.
        signature: of the reward when it was exported; empty if any will do.
    """

    spec: str
    task: Mapping[str, Any] = field(default_factory=dict)
    signature: str = ""

    def __post_init__(self) -> None:
        known = [setting.name for setting in dataclasses.fields(TaskSettings)]
        if unknown := [name for name in self.task if name not in known]:
            raise TaskError(f"{unknown[0]!r} is no setting of a task. {did_you_mean(unknown[0], known)}")

    def __hash__(self) -> int:
        return hash((self.spec, self._key, self.signature))

    def rewards(
        self,
        prompts: Sequence[str] | None,
        completions: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        tokens: bool = False,
    ) -> TextScores:
        """Scores B plain completions.

        Args:
            prompts: B prompts; None for empty ones.
            completions: B texts.
            references: for each text those that it may resemble.
            metadata: for each text what else is known of its prompt.
            tokens: whether to say what each token earned.

        Raises:
            ScoringFailure: the scorer raised, or returned NaN or infinity; names the row and the text.
        """
        return self.opened.rewards(prompts, completions, references, metadata, tokens=tokens)

    @property
    def opened(self) -> "OpenReward":
        """The reward, bound; once a process, whichever thread asks."""
        with _opening:
            if self._key not in _opened:
                _opened[self._key] = _open(self)
            if self not in _compared:
                _compare(self, _opened[self._key])
                _compared.add(self)
            return _opened[self._key]

    @property
    def _key(self) -> str:
        return json.dumps([self.spec, self.task], sort_keys=True)

    @property
    def scorer(self) -> Scorer:
        """The expression as an object."""
        return resolve(self.spec)

    @property
    def components(self) -> list[str]:
        """Names of the raw values that `rewards` reports."""
        return list(self.opened.reward.components)

    def of(self, scorer: Scorer) -> "PortableReward":
        """Another expression on the same task."""
        return PortableReward(scorer.to_spec(), self.task)

    def terms(self) -> dict[str, tuple[float, "PortableReward"]]:
        """The terms of the sum that the expression is, by their text: weight and reward.

        Raises:
            ScorerError: it is no sum of weighted terms, or has a constant in it.
        """
        found: dict[Scorer, float] = {}
        for weight, term in summands(self.scorer):
            found[term] = found.get(term, 0.0) + weight
        if len(found) == 1 and isinstance(next(iter(found)), Composite):
            raise ScorerError(f"{self.spec} is no sum of terms, so it cannot be split: export it as one reward")
        if constant := _constant(self.scorer):
            raise ScorerError(
                f"{self.spec} holds the constant {constant:g}, which is no term of its own and changes no advantage: "
                "leave it out, or export it as one reward"
            )
        return {str(term): (weight, self.of(term)) for term, weight in found.items()}


def portable(reward: RewardLike, task: str | None = None, **settings: Any) -> PortableReward:
    """A reward with its signature, ready to travel: opened once here, so that what cannot be used is found here.

    Args:
        reward: an expression, a mapping, a scorer with a name, or ``path/to/file.py:function``.
        task: name of a task; None for none, unless `settings` make one.
        **settings: of `textgym.make_task`: corpus, field, prompts, tokenizer, ...; those that are None do not count.

    Raises:
        SpecError, ScorerError: no reward, one without a text form, one of a set of texts, or one that needs a task.
        TaskError: a task that is an object, or an unknown setting.
    """
    if isinstance(task, Task):
        raise TaskError("a Task in hand cannot travel: register it with @textgym.register_task(name) and name it")
    given = {name: value for name, value in {"task": task, **settings}.items() if value is not None}
    if given.get("tokenizer") == "auto":
        del given["tokenizer"]
    if set(given) <= {"cache_dir"}:
        given = {}
    placed = {name: _absolute(value) if name in PATHS else value for name, value in given.items()}
    made = PortableReward(_settled(resolve(reward)).to_spec(), placed)
    return dataclasses.replace(made, signature=made.opened.reward.signature)


@dataclass(frozen=True, eq=False)
class OpenReward:
    """A reward in hand.

    Attributes:
        reward: bound.
        tokenizer: the task's; None without a task.
        tidy: what is done to a text before it is read: stories are written with blanks that people leave out.
    """

    reward: Reward
    tokenizer: Tokenizer | None
    tidy: Callable[[str], str] = str

    def rewards(
        self,
        prompts: Sequence[str] | None,
        completions: Sequence[str],
        references: Sequence[Sequence[str]] | None,
        metadata: Sequence[Mapping[str, Any]] | None,
        *,
        tokens: bool,
    ) -> TextScores:
        """See `PortableReward.rewards`."""
        asked = [""] * len(completions) if prompts is None else list(prompts)
        values: list[float | None] = [None] * len(completions)
        columns: dict[str, list[float | None]] = {name: [None] * len(completions) for name in self.reward.components}
        earned: list[list[TokenReward]] = [[] for _ in completions] if tokens else []
        for rows in self._alike(asked, completions):
            batch = batch_of_texts(
                [self.tidy(completions[row]) for row in rows],
                [self.tidy(asked[row]).lstrip() if self.tidy is not str else asked[row] for row in rows],
                [references[row] for row in rows] if references else None,
                [metadata[row] for row in rows] if metadata else None,
                tokenizer=self.tokenizer,
            )
            scores = self.score(batch)
            of_tokens = self._of_tokens(batch, scores) if tokens else []
            for at, row in enumerate(rows):
                values[row] = float(scores.values[at]) if scores.valid[at] else None
                for name, column in scores.components.items():
                    columns[name][row] = None if np.isnan(column[at]) else float(column[at])
                if tokens and scores.valid[at]:
                    earned[row] = self._spans(batch, at, completions[row], of_tokens[at])
        return TextScores(values, columns, earned)

    def _alike(self, prompts: Sequence[str], completions: Sequence[str]) -> list[list[int]]:
        """Rows that may share a batch: without a task, a row's own script decides what its tokens are."""
        if len(prompts) != len(completions):
            raise ScorerError(f"{len(prompts)} prompts for {len(completions)} completions: give one for each")
        if self.tokenizer is not None:
            return [[*range(len(completions))]]
        chinese = [cjk_share(prompt + text) > 0.5 for prompt, text in zip(prompts, completions, strict=True)]
        return [rows for kind in (True, False) if (rows := [i for i, found in enumerate(chinese) if found is kind])]

    def score(self, batch: TextBatch) -> Scores:
        """Scores of B texts that are ids already; rows to which the reward is not applicable are not valid.

        Raises:
            ScoringFailure: the scorer raised, or returned NaN or infinity; names the row and the text.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                scores = self.reward.bound.score(batch)
        except Exception as error:
            self.reward.score(batch)  # says which row it is
            raise ScoringFailure(f"reward {self.reward.text!r}: {type(error).__name__}: {error}") from error
        if not np.isfinite(scores.values).all():
            self.reward.score(batch)
        return scores

    @cached_property
    def _delivery(self) -> Delivery:
        return Delivery(self.reward, "per_token")

    def _of_tokens(self, batch: TextBatch, scores: Scores) -> list[Float64[np.ndarray, " _"]]:
        """What each token earns as it comes, and what is left for the end: (T + 1,) for each row."""
        rows, lengths = np.arange(len(batch)), np.array([len(ids) for ids in batch.completions], dtype=np.int64)
        paid = np.zeros((len(batch), int(lengths.max(initial=0)) + 1))
        payments = self._delivery.payments(len(batch))
        if payments is not None:
            payments.begin(rows, batch.prompts)
            for step in range(paid.shape[1] - 1):
                live = np.flatnonzero(lengths > step)
                tokens = np.array([batch.completions[row][step] for row in live.tolist()], dtype=np.int64)
                paid[live, step] = payments.pay(live, tokens)
        paid[rows, lengths] = scores.values - paid.sum(axis=1)
        return [paid[row, : length + 1] for row, length in enumerate(lengths.tolist())]

    def _spans(self, batch: TextBatch, row: int, text: str, paid: Float64[np.ndarray, " _"]) -> list[TokenReward]:
        spans = token_spans(batch.tokenizer.decode, batch.completions[row], text)
        spans.append((len(text), len(text)))
        return [(start, end, float(reward)) for (start, end), reward in zip(spans, paid, strict=True)]


_opened: dict[str, OpenReward] = {}
_compared: set[PortableReward] = set()
_opening = threading.RLock()


def _open(reward: PortableReward) -> OpenReward:
    scorer = reward.scorer
    leaves = [node for node in walk(scorer) if not isinstance(node, Composite)]
    if not leaves:
        raise ScorerError(f"reward {reward.spec!r} holds no scorer, so every text would earn the same")
    if scorer.moving:
        raise ScorerError(f"{reward.spec} changes while textgym trains: elsewhere, say what it costs with penalty(...)")
    if sets := [node for node in walk(scorer) if node.set_level]:
        raise ScorerError(f"{sets[-1]} is a measure of a set of texts and cannot be the reward of one text")
    if not reward.task:
        return OpenReward(Reward(scorer.bind(TasklessContext())), None)
    task = make_task(**reward.task)
    world = getattr(task, "world", None)
    read = partial(tidy, world) if isinstance(world, StoryWorld) else str
    return OpenReward(Reward(scorer.bind(task.context)), task.tokenizer, read)


def _compare(reward: PortableReward, opened: OpenReward) -> None:
    if reward.signature and reward.signature != opened.reward.signature:
        message = (
            f"reward {reward.spec!r} is not what was exported: its scores may differ\n"
            f"    exported  {reward.signature}\n    now       {opened.reward.signature}\n"
            "Bring the corpus, the file or the version of textgym back, or export it again"
        )
        _log.warning(message)
        warnings.warn(message, OtherRewardWarning, stacklevel=4)


def _constant(scorer: Scorer) -> float:
    """What an expression adds to its terms."""
    match scorer:
        case Constant(number):
            return number
        case Sum(left, right):
            return _constant(left) + _constant(right)
        case Difference(left, right):
            return _constant(left) - _constant(right)
        case Negative(part):
            return -_constant(part)
        case _:
            return 0.0


def _settled(scorer: Scorer) -> Scorer:
    """The expression with absolute paths to the functions of files."""
    if isinstance(scorer, FileScorer):
        path, _, name = scorer.reference.rpartition(":")
        return dataclasses.replace(scorer, reference=f"{Path(path).resolve()}:{name}")
    if not isinstance(scorer, Composite):
        return scorer
    changed: dict[str, Any] = {}
    for part in dataclasses.fields(scorer):
        value = getattr(scorer, part.name)
        if isinstance(value, Scorer):
            changed[part.name] = _settled(value)
        elif isinstance(value, tuple) and any(isinstance(one, Scorer) for one in value):
            changed[part.name] = tuple(_settled(one) if isinstance(one, Scorer) else one for one in value)
    return dataclasses.replace(scorer, **changed)


def _absolute(value: Any) -> Any:
    path = Path(str(value)).expanduser()
    return str(path.resolve()) if path.exists() else value
