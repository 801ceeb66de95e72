"""What is measured, as rows."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any

import numpy as np
from textgym.benchmarks.speed.rows import Row, all_versions, config_hash, load, machine

from textgym.types import TokenIds
from textgym.worlds.story.brief import Brief
from textgym.worlds.story.reader import Reader, Sentences
from textgym.worlds.story.world import NOISE, REPETITION, StoryWorld, story_world
from textgym.worlds.story.worlds import PossibleWorlds


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        stories: in a batch.
        rows: of the environment.
        repeats: turns.
        language: of the words.
        seed: of briefs and stories.
    """

    stories: int = 2048
    rows: int = 256
    repeats: int = 3
    language: str = "en"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Corpus:
    """Stories of one world.

    Attributes:
        world: theirs.
        briefs: one for each story.
        stories: with EOS.
        seconds: CPU seconds that clean stories took to write, as many as these.
    """

    world: StoryWorld
    briefs: list[Brief]
    stories: list[TokenIds]
    seconds: float

    @property
    def tokens(self) -> int:
        """Of all stories, EOS included."""
        return sum(map(len, self.stories))

    def steps(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows, tokens) of each step, all stories side by side."""
        lengths = np.array([len(story) for story in self.stories])
        padded = np.zeros((len(lengths), lengths.max()), dtype=np.int64)
        for row, story in zip(padded, self.stories, strict=True):
            row[: len(story)] = story
        for step in range(padded.shape[1]):
            live = np.flatnonzero(lengths > step)
            yield live, padded[live, step]


def write(preset: str, plan: Plan) -> Corpus:
    """A corpus; the generator is timed on clean stories."""
    world, rng = story_world(preset, plan.language), np.random.default_rng(plan.seed)
    clean = world.generator()
    began = process_time()
    for _ in range(plan.stories):
        clean.story(world.briefs.draw(rng), rng)
    seconds = process_time() - began
    briefs = [world.briefs.draw(rng) for _ in range(plan.stories)]
    noisy = world.generator(NOISE, REPETITION)
    return Corpus(world, briefs, [noisy.story(brief, rng) for brief in briefs], seconds)


def fluency(corpus: Corpus) -> tuple[float, list[Sentences]]:
    """CPU seconds of reading, and what was read."""
    world, count = corpus.world, len(corpus.stories)
    steps, found = list(corpus.steps()), []
    began = process_time()
    reader = Reader(world.grammar, world.lexicon, world.shape, count)
    reader.begin(np.arange(count), corpus.briefs)
    for rows, tokens in steps:
        _, ended = reader.advance(rows, tokens)
        if ended is not None:
            found.append(ended)
    return process_time() - began, found


def possible_worlds(corpus: Corpus, read: list[Sentences]) -> float:
    """CPU seconds of the filter, for events that were read before."""
    world, count = corpus.world, len(corpus.stories)
    began = process_time()
    worlds = PossibleWorlds(world.shape, len(world.lexicon.colours), count)
    worlds.begin(np.arange(count), corpus.briefs)
    for ended in read:
        for number in range(ended.events.shape[1]):
            there = np.flatnonzero(ended.events[:, number, 0] >= 0)
            if len(there):
                worlds.apply(ended.rows[there], ended.events[there, number])
    return process_time() - began


def whole_truth(corpus: Corpus) -> float:
    """CPU seconds of all axes."""
    began = process_time()
    truth = corpus.world.read(corpus.briefs, corpus.stories)
    truth.quality(np.arange(len(corpus.stories)))
    return process_time() - began


def environment(corpus: Corpus, rows: int) -> float:
    """CPU seconds, in rows that begin again on their own, for all stories."""
    truth, waiting = corpus.world.truth(rows), list(range(len(corpus.stories)))
    playing, place = np.full(rows, -1), np.zeros(rows, dtype=np.int64)
    began = process_time()
    while True:
        over = [r for r in range(rows) if playing[r] < 0 or place[r] == len(corpus.stories[playing[r]])]
        over = over[: len(waiting)] if len(over) > len(waiting) else over
        if over:
            playing[over] = [waiting.pop() for _ in over]
            place[over] = 0
            truth.begin(np.array(over), [corpus.briefs[story] for story in playing[over]])
        live = np.array([r for r in range(rows) if playing[r] >= 0 and place[r] < len(corpus.stories[playing[r]])])
        if not len(live):
            return process_time() - began
        truth.advance(live, np.array([corpus.stories[playing[r]][place[r]] for r in live], dtype=np.int64))
        truth.quality(live)
        place[live] += 1


def rows(plan: Plan, preset: str, turn: int) -> list[Row]:
    """One turn of one preset: a row a part."""
    corpus = write(preset, plan)
    seconds: dict[str, Callable[[], float]] = {
        "filter": lambda: possible_worlds(corpus, read),
        "truth": lambda: whole_truth(corpus),
        "environment": lambda: environment(corpus, plan.rows),
        "generator": lambda: corpus.seconds,
    }
    took, read = fluency(corpus)
    measured = {"fluency": took} | {name: measure() for name, measure in seconds.items()}
    config: dict[str, Any] = {"plan": asdict(plan), "preset": preset}
    common = {"experiment": "story world", "turn": turn, "load": load(), "config": config, "seed": plan.seed}
    common |= {"config_hash": config_hash(config), "versions": all_versions(), "machine": machine(), "threads": 1}
    return [
        {
            **common,
            "case": preset,
            "name": name,
            "measured": {
                "stories_per_second": len(corpus.stories) / spent,
                "microseconds_per_token": 1e6 * spent / corpus.tokens,
            },
        }
        for name, spent in measured.items()
    ]
