"""Rewards for TRL's trainers (1.x): ``GRPOTrainer(reward_funcs=to_trl(...))``.

TRL calls ``f(prompts=, completions=, completion_ids=, trainer_state=, log_extra=, log_metric=, **columns)``, where the
columns are those of the dataset, and takes a list of numbers; None excludes a row from the mean of this function.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from textgym.interop.portable_reward import PortableReward, TextScores, portable
from textgym.scorers.spec import RewardLike
from textgym.text.messages import text_of
from textgym.text.rollouts import references_in


@dataclass(frozen=True)
class TRLReward:
    """A reward as a function of TRL's. It pickles, and opens its models where it is first called.

    Args:
        reward: what is paid.
        name: how TRL logs it; the expression if empty.
    """

    reward: PortableReward
    name: str = ""

    @property
    def __name__(self) -> str:
        """What TRL calls its column."""
        return self.name or self.reward.spec

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: object = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Rewards of B completions.

        Args:
            prompts: B texts or conversations.
            completions: B texts or conversations.
            completion_ids: not used: the reward has a tokenizer of its own.
            trainer_state: not used.
            log_extra: is given each component's column, for the table of completions.
            log_metric: is given each component's mean.
            **columns: of the dataset, B values each. `references`, `reference`, `answer`, ... are what a completion may
                resemble; the rest is metadata.

        Raises:
            ScoringFailure: the scorer failed; names the row.
        """
        rows = _rows(columns, len(completions))
        scores = self.reward.rewards(
            [text_of(prompt) for prompt in prompts],
            [text_of(completion) for completion in completions],
            [references_in(row) for row in rows],
            rows,
        )
        _log(scores, log_extra, log_metric)
        return scores.values


@overload
def to_trl(
    reward: RewardLike, task: str | None = None, *, components: Literal[False] = False, **settings: Any
) -> TRLReward: ...


@overload
def to_trl(
    reward: RewardLike, task: str | None = None, *, components: Literal[True], **settings: Any
) -> tuple[list[TRLReward], list[float]]: ...


def to_trl(
    reward: RewardLike, task: str | None = None, *, components: bool = False, **settings: Any
) -> TRLReward | tuple[list[TRLReward], list[float]]:
    """A reward for `GRPOTrainer`.

    Args:
        reward: an expression, or anything else with a text form.
        task: what it is bound to; None if it needs none.
        components: whether to split a sum into its terms: functions for ``reward_funcs`` and weights for
            ``GRPOConfig(reward_weights=...)``, so that TRL logs and normalises each on its own.
        **settings: of `textgym.make_task`.

    Raises:
        ScorerError: `components` of what is no sum, or another reward that cannot travel.
    """
    made = portable(reward, task, **settings)
    if not components:
        return TRLReward(made)
    terms = made.terms()
    return [TRLReward(term, name) for name, (_, term) in terms.items()], [weight for weight, _ in terms.values()]


def asynchronous(reward: TRLReward) -> Callable[..., Awaitable[list[float | None]]]:
    """The same as an ``async def``, which TRL awaits beside its other such functions: for judges that take time.

    TRL asks whether a function is one of those, so that an object whose call is a coroutine would not do.
    """

    async def score(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        return await asyncio.to_thread(reward, prompts, completions, **columns)

    score.__name__ = reward.__name__
    return score


def _rows(columns: Mapping[str, Any], rows: int) -> list[dict[str, Any]]:
    """The columns of the dataset, row by row; what is no column, such as environments, is left out."""
    held = {name: list(column) for name, column in columns.items() if isinstance(column, list | tuple)}
    return [{name: column[row] for name, column in held.items() if len(column) == rows} for row in range(rows)]


def _log(
    scores: TextScores,
    log_extra: Callable[[str, list[Any]], None] | None,
    log_metric: Callable[[str, float], None] | None,
) -> None:
    """Tells TRL the components of a reward that has more than one."""
    if len(scores.components) < 2:
        return
    for name, column in scores.components.items():
        known = [value for value in column if value is not None]
        if log_metric is not None and known:
            log_metric(f"components/{name}", sum(known) / len(known))
        if log_extra is not None:
            log_extra(name, column)
