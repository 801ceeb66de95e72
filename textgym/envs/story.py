"""The story world as a task: the prompt is a brief, a good completion is a story about it, and the truth is known."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from textgym.envs.context import TaskContext
from textgym.envs.sources import Listed
from textgym.envs.tasks import Task, TaskSettings, register_task, text_task
from textgym.text.prompt_files import PromptRecord
from textgym.text.prompts import PromptSet
from textgym.text.store import ArrayStore
from textgym.types import TokenIds, Tokenizer
from textgym.worlds.story.brief import Brief
from textgym.worlds.story.gold import AXES
from textgym.worlds.story.world import NOISE, REPETITION, StoryWorld, story_world

STORIES = {"train": 8192, "heldout": 1024}
"""Briefs of each split, all distinct, each with one story: no held-out situation occurs in training."""

_FORMAT = 2
"""Raised when the same world gives other briefs or stories than before."""

MAX_PROMPT_TOKENS = 128
"""Room for a brief in other tokenizers."""


@dataclasses.dataclass(frozen=True, eq=False)
class StoryTask(Task):
    """A story world as a task.

    Attributes:
        world: its words, grammar, generator and truth.
    """

    world: StoryWorld = dataclasses.field(default=None, kw_only=True)  # type: ignore[assignment]


class StoryContext(TaskContext):
    """A `TaskContext` of a task whose truth is known.

    Attributes:
        world: what gold scorers read stories with.
    """

    def __init__(
        self, world: StoryWorld, tokenizer: Tokenizer, sets: Mapping[str, PromptSet], signature: str, store: ArrayStore
    ) -> None:
        super().__init__(f"story world {world.name}", tokenizer, sets, signature, store)
        self.world = world


@dataclasses.dataclass(frozen=True, eq=False)
class StoryText(Listed):
    """Briefs with a story each, written by the world's generator.

    Attributes:
        name: the task's.
        world: which world.
        noise: how often a sentence is drawn without regard to the world.
        repetition: how often a sentence is that before it once more.
    """

    name: str
    world: StoryWorld
    noise: float = NOISE
    repetition: float = REPETITION
    max_prompt_tokens: int = MAX_PROMPT_TOKENS

    @property
    def max_new_tokens(self) -> int:
        """The longest story."""
        return self.world.max_tokens

    @cached_property
    def fingerprint(self) -> str:
        """Of the world and the knobs."""
        text = json.dumps([_FORMAT, self.world.signature, self.noise, self.repetition, STORIES])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def listed(self) -> "StoryText":
        """Itself."""
        return self

    @property
    def path(self) -> Path:
        """What messages call it."""
        return Path(self.name)

    @cached_property
    def records(self) -> tuple[PromptRecord, ...]:
        """All briefs, those to train on first."""
        world = self.world
        rng = np.random.default_rng(list(hashlib.sha256(self.fingerprint.encode()).digest()))
        generator, tokenizer = world.generator(self.noise, self.repetition), world.lexicon.tokenizer
        known: set[bytes] = set()
        records: list[PromptRecord] = []
        for split, count in STORIES.items():
            for _ in range(count):
                brief = world.briefs.draw(rng)
                while brief.key() in known:
                    brief = world.briefs.draw(rng)
                known.add(brief.key())
                story = tokenizer.decode(generator.story(brief, rng))
                prompt = tokenizer.decode(world.briefs.encode(brief))
                known_of = {"concepts": self._concepts(brief)}
                records.append(PromptRecord(prompt, (story,), known_of, split, len(records) + 1))
        return tuple(records)

    def _concepts(self, brief: Brief) -> list[str]:
        """Whom and what a story about a brief is about, for the scorer `keywords`."""
        lexicon = self.world.lexicon
        people = [lexicon.people[i][0] for i in brief.people.tolist()]
        objects = [lexicon.objects[i][0] for i in brief.objects.tolist()]
        colours = [lexicon.colours[i] for i in brief.colours.tolist()]
        where = [*brief.at.tolist(), *(i for i in brief.where.tolist() if i < len(brief.places))]
        places = [lexicon.places[int(brief.places[i])] for i in where]
        return list(dict.fromkeys([*people, *places, *colours, *objects]))

    def training_texts(self) -> list[str]:
        """Briefs and stories of the training split."""
        train = [record for record in self.records if record.split == "train"]
        return [text for record in train for text in (record.prompt, *record.references)]


def story_task(
    preset: str = "small",
    language: str = "en",
    *,
    noise: float = NOISE,
    repetition: float = REPETITION,
    settings: TaskSettings | None = None,
) -> Task:
    """A story world as a task.

    Args:
        preset: "small" or "base".
        language: "en" or "zh".
        noise: share of the corpus's sentences that are drawn without regard to the world.
        repetition: share of its sentences that are those before them once more.
        settings: tokenizer, budget, cache; None for the world's own.

    Raises:
        UnknownNameError: no such preset or language.
        TaskError: a setting that does not fit.
    """
    parts = ["story", *[preset] * (preset != "small"), *[language] * (language != "en")]
    source = _text("-".join(parts), story_world(preset, language), noise, repetition)
    return text_task(
        settings or TaskSettings(), source, source.world.lexicon.tokenizer, partial(_finished, source.world)
    )


def _finished(world: StoryWorld, task: Task) -> Task:
    """Adds what only a world knows."""

    def check_prompt(ids: TokenIds) -> None:
        own = world.lexicon.tokenizer
        world.brief(ids if task.tokenizer.signature == own.signature else own.encode(task.tokenizer.decode(ids)))

    parts = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    sets = {"train": task.train, "heldout": task.heldout}
    assert isinstance(task.context, TaskContext)
    context = StoryContext(world, task.tokenizer, sets, task.signature, task.context.store)
    return StoryTask(**{**parts, "context": context, "gold": AXES, "check_prompt": check_prompt}, world=world)


@lru_cache(maxsize=16)
def _text(name: str, world: StoryWorld, noise: float, repetition: float) -> StoryText:
    return StoryText(name, world, noise, repetition)


@register_task("story")
def story(settings: TaskSettings) -> Task:
    """Stories about a brief in a small world whose truth is known: which are coherent, faithful, informative?"""
    return story_task(settings=settings)


@register_task("story-base")
def story_base(settings: TaskSettings) -> Task:
    """The story world with three persons, relative clauses, agreement and four hundred words."""
    return story_task("base", settings=settings)


@register_task("story-zh")
def story_zh(settings: TaskSettings) -> Task:
    """The small story world in Chinese."""
    return story_task("small", "zh", settings=settings)


@register_task("story-base-zh")
def story_base_zh(settings: TaskSettings) -> Task:
    """The story world with three persons, in Chinese."""
    return story_task("base", "zh", settings=settings)
