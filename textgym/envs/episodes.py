"""What the single and the vector environment share: how episodes begin, which tokens may come next, how they end.

An `Episodes` is made once from the settings of `gym.make` and holds no state of any episode.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from jaxtyping import Bool, Float64, Int8, Int32, Int64

from textgym.envs.constraints import AT_ONCE, Restrictions, allows, ids_to_choose, open_constraint, restrict
from textgym.envs.dynamics import FINISH_REASONS, PADDING, Rules, begin
from textgym.envs.render import Ending
from textgym.envs.tasks import Task, TaskSettings, open_task
from textgym.errors import SpaceError, TaskError, did_you_mean
from textgym.scorers.delivery import Delivery
from textgym.scorers.reward import Reward, bind_reward
from textgym.text.prompts import PromptSet
from textgym.types import Constraint, Scores, TextBatch, TokenIds

RENDER_MODES = ["ansi", "human", "rgb_array"]
RENDER_FPS = 4
OWN_PROMPT = -1
"""Index of a prompt that came by the reset option `prompt` and not from the task."""


@dataclass(frozen=True)
class Start:
    """How one episode begins: tokens (L,), where its completion begins, the prompt's index in the split."""

    tokens: Int32[np.ndarray, " L"]
    start: int
    index: int


@dataclass(frozen=True)
class Outcome:
    """What N finished episodes earned.

    Attributes:
        rewards: (N,); NaN where scoring failed and the policy is "mask".
        columns: the info keys of an end, each with N values.
        scores: the scores behind the rewards, for rendering.
    """

    rewards: Float64[np.ndarray, " N"]
    columns: Mapping[str, Sequence[Any] | np.ndarray]
    scores: Scores

    def info(self, row: int) -> dict[str, Any]:
        """The end of one episode as a single environment tells it."""
        return {key: values[row] for key, values in self.columns.items()}

    def ending(self, row: int) -> Ending:
        """The end of one episode as it is drawn."""
        components = {name: float(values[row]) for name, values in self.scores.components.items()}
        tokens = None if self.scores.tokens is None else self.scores.tokens[row]
        return Ending(self.columns["finish_reason"][row], float(self.rewards[row]), components, tokens)


@dataclass(frozen=True)
class Episodes:
    """A task, a split and a bound reward: all that does not change from step to step.

    Attributes:
        task: the task.
        prompts: the prompts of the split that episodes are drawn from.
        reward: the bound reward.
        rules: the task's rules of transition.
        allowed: (V,) False for what no text may hold: ids without text (<unk>, the separator) and banned ones.
        on_failure: "raise" or "mask".
        mask_in_info: whether every info carries `action_mask`.
        delivery: when the reward is paid.
        constraints: which tokens may come next beside: the task's own, and the environment's; both hold.
        gold: what is exactly true of a text, bound, by the name under which it is reported.
    """

    task: Task
    prompts: PromptSet
    reward: Reward
    rules: Rules
    allowed: Bool[np.ndarray, " V"]
    on_failure: str
    mask_in_info: bool
    delivery: Delivery
    constraints: tuple[Constraint, ...] = ()
    gold: Mapping[str, Reward] = field(default_factory=dict)

    def observation_space(self) -> Box:
        """Token ids, -1 beyond the prefix."""
        return Box(-1, self.rules.vocab_size - 1, (self.rules.observation_length,), np.int32)

    def action_space(self) -> Discrete:
        """The next token."""
        return Discrete(self.rules.vocab_size)

    def begin(self, rng: np.random.Generator, prompt: Any = None, prompt_index: Any = None) -> Start:
        """An episode on a chosen prompt (text or ids), a chosen index of the split, or a drawn one.

        Raises:
            TaskError: a prompt that does not fit the task, or both options at once.
        """
        if prompt is not None and prompt_index is not None:
            raise TaskError("reset options 'prompt' and 'prompt_index' exclude each other: give one of them")
        if prompt is not None:
            ids = self._checked_prompt(prompt)
            return Start(begin(self.rules, ids), len(ids) + 1, OWN_PROMPT)
        index = self.draw(rng) if prompt_index is None else self._checked_index(prompt_index)
        tokens, starts = self.openings(np.array([index]))
        return Start(tokens[0], int(starts[0]), index)

    def draw(self, rng: np.random.Generator) -> int:
        """The index of a prompt of the split, each as likely."""
        return int(rng.integers(len(self.prompts)))

    def openings(self, indices: Int64[np.ndarray, " N"]) -> tuple[Int32[np.ndarray, "N L"], Int64[np.ndarray, " N"]]:
        """First observations (N, L) of episodes on prompts of the split, and where their completions begin (N,)."""
        table = self._openings
        tokens = np.full((len(indices), self.rules.observation_length), PADDING, np.int32)
        tokens[:, : table.shape[1]] = table[indices]
        return tokens, self._starts[indices]

    @cached_property
    def _starts(self) -> Int64[np.ndarray, " N"]:
        return self.prompts.prompt_lengths + 1

    @cached_property
    def _openings(self) -> Int32[np.ndarray, "N P"]:
        """Every prompt of the split with its separator, padded to the longest."""
        table = np.full((len(self.prompts), int(self._starts.max())), PADDING, np.int32)
        for index, start in enumerate(self._starts.tolist()):
            table[index, : start - 1] = self.prompts.prompt(index)
            table[index, start - 1] = self.rules.sep_id
        return table

    def _checked_index(self, given: Any) -> int:
        try:
            index = operator.index(given)
        except TypeError:
            raise TaskError(f"reset option 'prompt_index' is an integer, not {given!r}") from None
        if not 0 <= index < len(self.prompts):
            raise TaskError(
                f"prompt_index {index} is outside this split, whose prompts run from 0 to {len(self.prompts) - 1}"
            )
        return index

    def _checked_prompt(self, given: Any) -> TokenIds:
        rules = self.rules
        ids = self.task.tokenizer.encode(given) if isinstance(given, str) else np.asarray(given)
        if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
            raise TaskError(f"reset option 'prompt' is a text or a flat sequence of token ids, not {given!r}")
        if ids.size == 0 and not self.task.context.empty_prompts:
            raise TaskError(f"reset option 'prompt' is empty, and the prompts of task {self.task.name!r} never are")
        if ids.size and (ids.min() < 0 or ids.max() >= rules.vocab_size):
            raise TaskError(
                f"reset option 'prompt' holds ids from {ids.min()} to {ids.max()}; "
                f"those of this task run from 0 to {rules.vocab_size - 1}"
            )
        for name, special in (("separator", rules.sep_id), ("EOS", rules.eos_id)):
            if (ids == special).any():
                raise TaskError(f"reset option 'prompt' holds the {name} (id {special}), which no prompt may")
        room = rules.observation_length - rules.budget - 1
        if len(ids) > room:
            raise TaskError(
                f"reset option 'prompt' has {len(ids)} tokens, the observation has room for {room}. "
                "Shorten it, or make a task with longer prompts (max_prompt_tokens)."
            )
        if self.task.check_prompt is not None:
            self.task.check_prompt(ids.astype(np.int32))
        return ids.astype(np.int32)

    def masks(
        self,
        tokens: Int32[np.ndarray, "B L"],
        lengths: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        over: Bool[np.ndarray, " B"],
    ) -> Bool[np.ndarray, "B V"]:
        """Which tokens may come next, (B, V); where an episode is over, only what holds for every text.

        Raises:
            TaskError: a live row in which no token may come next.
        """
        masks = self._masks(tokens, lengths, starts, over)
        if self.constraints and not masks.any(axis=1).all():
            row = int(np.flatnonzero(~masks.any(axis=1))[0])
            text = self.task.tokenizer.decode(tokens[row, : lengths[row]])
            raise TaskError(f"row {row}: the task's constraint leaves no token that may follow {text!r}")
        return masks

    def _masks(
        self,
        tokens: Int32[np.ndarray, "B L"],
        lengths: Int64[np.ndarray, " B"],
        starts: Int64[np.ndarray, " B"],
        over: Bool[np.ndarray, " B"],
    ) -> Bool[np.ndarray, "B V"]:
        masks = np.repeat(self.allowed[None], len(tokens), axis=0)
        for constraint in self.constraints if not over.all() else ():
            restrict(masks, constraint, tokens, lengths, starts, over)
        return masks

    def finish(
        self,
        tokens: Int32[np.ndarray, "N L"],
        lengths: Int64[np.ndarray, " N"],
        starts: Int64[np.ndarray, " N"],
        indices: Int64[np.ndarray, " N"],
        reasons: Int8[np.ndarray, " N"],
    ) -> Outcome:
        """Scores N finished episodes in one call.

        Raises:
            ScoringFailure: a scorer failed and `on_failure` is "raise".
        """
        spans = list(zip(tokens, starts.tolist(), lengths.tolist(), strict=True))
        batch = TextBatch(
            [row[: start - 1] for row, start, _ in spans],
            [row[start:length] for row, start, length in spans],
            self.task.tokenizer,
            self._references(indices.tolist()),
            self._metadata(indices.tolist()),
        )
        scores = self.reward.score(batch) if self.on_failure == "raise" else self.reward.mask(batch)
        columns: dict[str, Sequence[Any] | np.ndarray] = {
            "finish_reason": [FINISH_REASONS[reason] for reason in reasons.tolist()],
            "completion": [tuple(ids.tolist()) for ids in batch.completions],
            "text": batch.completion_texts,
            "illegal_actions": self._illegal(tokens, lengths, starts),
            **{f"reward_components/{name}": values for name, values in scores.components.items()},
        }
        columns |= {f"gold/{name}": truth.score(batch).values for name, truth in self.gold.items()}
        if self.task.success is not None:
            columns["is_success"] = np.asarray(self.task.success(batch), bool).tolist()
        if self.on_failure == "mask":
            columns["reward_failed"] = (~scores.valid).tolist()
        return Outcome(np.where(scores.valid, scores.values, np.nan), columns, scores)

    def _references(self, indices: list[int]) -> "_LookedUp":
        return _LookedUp(lambda index: self.prompts.references(index, self.task.tokenizer), indices, ())

    def _metadata(self, indices: list[int]) -> "_LookedUp":
        return _LookedUp(self.prompts.metadata, indices, {})

    def _illegal(
        self,
        tokens: Int32[np.ndarray, "N L"],
        lengths: Int64[np.ndarray, " N"],
        starts: Int64[np.ndarray, " N"],
    ) -> list[int]:
        """How many tokens of each completion the mask had forbidden when they were chosen."""
        positions = np.arange(tokens.shape[1])
        chosen = (positions >= starts[:, None]) & (positions < lengths[:, None])
        legal = self.allowed[tokens]
        if self.constraints:
            rows, ends = np.nonzero(chosen)
            prefixes = np.where(positions < ends[:, None], tokens[rows], np.int32(PADDING))
            legal[rows, ends] &= self._allows(prefixes, ends, starts[rows], tokens[rows, ends])
        counts: list[int] = (chosen & ~legal).sum(axis=1).tolist()
        return counts

    def _allows(
        self,
        tokens: Int32[np.ndarray, "K L"],
        lengths: Int64[np.ndarray, " K"],
        starts: Int64[np.ndarray, " K"],
        chosen: Int32[np.ndarray, " K"],
    ) -> Bool[np.ndarray, " K"]:
        """Whether the constraints let an id follow each prefix."""
        allowed = np.ones(len(tokens), bool)
        for each in self.constraints:
            allowed &= allows(each, tokens, lengths, starts, chosen)
        doubtful = np.flatnonzero(~allowed & (chosen == self.rules.eos_id))  # it may have given way
        if any(_turn(each)[1] for each in self.constraints):
            doubtful = np.arange(len(tokens))
        for first in range(0, len(doubtful), AT_ONCE):
            rows = doubtful[first : first + AT_ONCE]
            masks = self._masks(tokens[rows], lengths[rows], starts[rows], np.zeros(len(rows), bool))
            allowed[rows] = masks[np.arange(len(rows)), chosen[rows]]
        return allowed


@dataclass(frozen=True)
class _LookedUp(Sequence[Any]):
    """A value for each of N episodes, looked up by prompt only if a scorer asks."""

    look_up: Callable[[int], Any]
    indices: Sequence[int]
    own: Any  # what an episode on the user's own prompt has

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: Any) -> Any:
        index = self.indices[row]
        return self.own if index == OWN_PROMPT else self.look_up(index)


def open_episodes(
    settings: TaskSettings,
    *,
    split: str,
    reward: Any,
    delivery: str,
    on_failure: str,
    gamma: float,
    mask_in_info: bool,
    constraint: Any = None,
) -> Episodes:
    """Settings as they were typed -> a task with its reward bound.

    Raises:
        TaskError: a setting outside what is allowed.
    """
    for name, value, allowed in (("split", split, ("train", "heldout")), ("on_failure", on_failure, ("raise", "mask"))):
        if value not in allowed:
            raise TaskError(
                f"{name}={value!r}: allowed are {', '.join(map(repr, allowed))}. {did_you_mean(str(value), allowed)}"
            )
    if not 0.0 < gamma <= 1.0:
        raise TaskError(f"gamma={gamma}: a discount lies above 0 and at most at 1")
    task = open_task(settings)
    tokenizer = task.tokenizer
    rules = task.rules()
    allowed_ids = ids_to_choose(tokenizer)
    given = (task.constraint, open_constraint(constraint, tokenizer, task.max_new_tokens, task.context.language_model))
    # Those of the user's own first: EOS gives way to what `Restrictions` forbid, not to what they forbid. Last what is
    # likely, which is so among all that is allowed.
    constraints = tuple(sorted((c for c in given if c is not None), key=_turn))
    for each in constraints:
        if isinstance(each, Restrictions):
            allowed_ids &= each.vocabulary
    bound = bind_reward(task.reward if reward is None else reward, task.context)
    paid = Delivery(bound, delivery, gamma)
    gold = {name: bind_reward(text, task.context) for name, text in task.gold.items()}
    return Episodes(
        task, task.prompts(split), bound, rules, allowed_ids, on_failure, mask_in_info, paid, constraints, gold
    )


def _turn(constraint: Constraint) -> tuple[bool, bool]:
    """Whether a constraint is one of ours, and whether it looks at what is likely."""
    return isinstance(constraint, Restrictions), isinstance(constraint, Restrictions) and constraint.top_p < 1


def checked_action(rules: Rules, action: Any) -> int:
    """An action as a Python integer.

    Raises:
        SpaceError: not an integer, or outside 0..V-1.
    """
    try:
        token = operator.index(action)
    except TypeError:
        token = -1
    if token < 0 or token >= rules.vocab_size or isinstance(action, bool):
        raise outside(rules, action)
    return token


def outside(rules: Rules, action: Any) -> SpaceError:
    """The error for an action that is no token id of the task."""
    return SpaceError(
        f"action {action} is outside Discrete({rules.vocab_size}). "
        f"Token ids of this task run from 0 to {rules.vocab_size - 1}; EOS is {rules.eos_id}."
    )


def checked_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> Mapping[str, Any]:
    """Reset options, of which every key is known.

    Raises:
        TaskError: an unknown key; the nearest known one is offered.
    """
    for key in options or {}:
        if key not in known:
            raise TaskError(f"unknown reset option {key!r}. {did_you_mean(str(key), known)}")
    return options or {}
