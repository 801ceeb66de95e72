"""Rewards with one fault each, and sound ones: the truth by which detectors are judged.

Each stands for something that was trained on somewhere: a sign the wrong way round, classes taken by their place, a
grader that looks for the answer anywhere, a state that lives on between calls.
"""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textgym.audit import Arena, arena_of_rollouts, arena_of_task
from textgym.envs.tasks import make_task
from textgym.scorers.base import Scorer
from textgym.scorers.spec import RewardLike
from textgym.text.rollouts import Rollout
from textgym.types import Scores, TextBatch

GOOD = 64
"""Good texts that each is tried on."""


@dataclass(frozen=True)
class Planted:
    """A reward whose fault is known.

    Attributes:
        name: of the fault; of the reward, if it is sound.
        reward: an expression or a function.
        where: "story", the story world, or "sums", saved answers to sums with references.
        checks: the questions of `check_reward` of which one must fail; none for a sound reward.
        settings: further arguments of `check_reward`.
    """

    name: str
    reward: RewardLike
    where: str
    checks: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether there is nothing to find."""
        return not self.checks

    def arena(self) -> Arena:
        """The reward on what it is tried on."""
        if self.where == "story":
            return arena_of_task(self.reward, make_task("story"), good=GOOD)
        return arena_of_rollouts(self.reward, sums(), good=GOOD)


def sums(count: int = 24, samples: int = 8, seed: int = 0) -> list[Rollout]:
    """Answers to sums, about half of them right, as a trainer would have saved them."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        a, b = (int(n) for n in rng.integers(11, 90, 2))
        prompt = f"What is {a} plus {b}?"
        for _ in range(samples):
            off = int(rng.choice([0, 0, 0, 1, -1, 10]))
            completion = f"{a} plus {b} is {a + b + off}"
            rows.append(Rollout(prompt, completion, (f"{a} plus {b} is {a + b}",), {"answer": str(a + b)}))
    return rows


def average_word(text: str) -> float:
    """Letters a word; NaN for no word."""
    return float(np.mean([len(word) for word in text.split()])) if text.split() else float("nan")


def letters_a_word(text: str) -> float:
    """Letters a word; divides by zero for no word."""
    return len(text) / len(text.split())


def log_share_of_stops(text: str) -> float:
    """Minus infinity for a text without a full stop."""
    share = text.count(".") / max(len(text), 1)
    return math.log(share) if share else -math.inf


def prompt_length(prompt: str, completion: str) -> float:
    """Looks at the prompt alone."""
    return float(len(prompt))


def with_noise(text: str) -> float:
    """A dropout layer that was left on."""
    return -abs(len(text.split()) - 60) + random.random()


def drifting(completions: Sequence[str], calls: list[int] = [], **columns: Any) -> list[float]:  # noqa: B006
    """A baseline that lives on between calls: scores fall with every one."""
    calls.append(len(completions))
    return [len(set(text.split())) - 0.5 * len(calls) for text in completions]


def within_batch(batch: TextBatch) -> Scores:
    """Standardised over the batch at hand."""
    values = np.array([len(set(text.split())) for text in batch.completion_texts], dtype=np.float64)
    return Scores((values - values.mean()) / max(float(values.std()), 1e-9))


def first_reference(completions: Sequence[str], references: Sequence[Sequence[str]], **columns: Any) -> list[float]:
    """Compares every row with the references of the first."""
    known = set(references[0][0].split())
    return [len(known & set(text.split())) / max(len(known), 1) for text in completions]


def contains_answer(completion: str, answer: str) -> float:
    """The answer stands anywhere."""
    return float(answer in completion)


def ends_with_answer(completion: str, answer: str) -> float:
    """The answer is the very end of the text."""
    return float(completion.endswith(answer))


def swallowed(completion: str, metadata: dict[str, Any]) -> float:
    """An exception becomes 0: the field is spelt otherwise."""
    try:
        return float(metadata["anwser"] in completion)
    except KeyError:
        return 0.0


def last_number(completion: str, answer: str) -> float:
    """The last number is the answer: sound."""
    numbers = [word.strip(".,") for word in completion.split() if word.strip(".,").isdigit()]
    return float(bool(numbers) and numbers[-1] == answer)


NICE, NASTY = ("lovely", "kind", "bright", "warm", "glad"), ("awful", "cruel", "dull", "cold", "sad")


def classes(text: str) -> list[dict[str, Any]]:
    """A classifier as pipelines return it: classes with the most probable first."""
    found = sum(word in NICE for word in text.split()) - sum(word in NASTY for word in text.split())
    nice = 1 / (1 + math.exp(-2 * found))
    both = [{"label": "POSITIVE", "score": nice}, {"label": "NEGATIVE", "score": 1 - nice}]
    return sorted(both, key=lambda each: -float(each["score"]))


def first_class(text: str) -> float:
    """The score of whatever class stands first."""
    return float(classes(text)[0]["score"])


def column_zero(text: str) -> float:
    """The probability of class 0, which is the negative one."""
    return float({each["label"]: each["score"] for each in classes(text)}["NEGATIVE"])


def positive_class(text: str) -> float:
    """The probability of the class by its name: sound."""
    return float({each["label"]: each["score"] for each in classes(text)}["POSITIVE"])


def judged_pairs() -> list[tuple[str, str, str]]:
    """(prompt, better, worse): nicer is better."""
    frames = ("the day was {} and {}", "a {} and {} house", "she is {} and {}")
    return [
        ("", frame.format(*better), frame.format(*worse))
        for frame in frames
        for better, worse in itertools.product(itertools.combinations(NICE, 2), itertools.combinations(NASTY, 2))
    ][::5]


@dataclass(frozen=True)
class Overflowing(Scorer):
    """Says that it lies between 0 and 1, and does not."""

    name = "overflowing"
    range = (0.0, 1.0)

    def score(self, batch: TextBatch) -> Scores:
        """Distinct words over ten."""
        return Scores(np.array([len(set(text.split())) / 10 for text in batch.completion_texts]))


def a_token_a_point(batch: TextBatch) -> np.ndarray:
    """A dense reward of the user's own: every token that is no EOS earns a point."""
    eos = batch.tokenizer.eos_id
    return np.array([float(len(ids) > 0 and ids[-1] != eos) for ids in batch.completions])


PAIRS: dict[str, Any] = {"pairs": judged_pairs()}

FAULTY: tuple[Planted, ...] = (
    Planted("wrong sign", "-fluency", "story", ("sign",)),
    Planted("less is better", "fluency(form='perplexity')", "story", ("sign",)),
    Planted("long texts win", "length", "story", ("length",)),
    Planted("short texts win", "fluency(form='sum')", "story", ("length",)),
    Planted("nothing wins", "-repetition", "story", ("sign",)),
    Planted("repetition wins", "coherence", "story", ("sign",)),
    Planted("the prompt wins", "keywords", "story", ("sign",)),
    Planted("rare words win", "informativeness", "story", ("sign",)),
    Planted("saturated", "clip(fluency, -0.01, 0)", "story", ("spread",)),
    Planted("constant", lambda text: 1.0, "story", ("spread",)),
    Planted("an exception is 0", swallowed, "sums", ("spread",)),
    Planted("one term dominates", "fluency(form='sum') + 2*coherence", "story", ("dominance",)),
    Planted("a term without a say", "chrf + 0.0001*coherence", "story", ("dominance",)),
    Planted("looks at the prompt alone", prompt_length, "story", ("groups",)),
    Planted("noise", with_noise, "story", ("deterministic",)),
    Planted("a state between calls", drifting, "story", ("deterministic",)),
    Planted("standardised in the batch", within_batch, "story", ("batch",)),
    Planted("the first row's references", first_reference, "story", ("batch",)),
    Planted("NaN for nothing", average_word, "story", ("finite",)),
    Planted("raises for nothing", letters_a_word, "story", ("finite",)),
    Planted("minus infinity", log_share_of_stops, "story", ("finite",)),
    Planted("outside its range", Overflowing, "story", ("range",)),
    Planted("whatever class is first", first_class, "story", ("pairs",), PAIRS),
    Planted("class by its place", column_zero, "story", ("pairs",), PAIRS),
    Planted("answer anywhere", contains_answer, "sums", ("prompt",)),
    Planted("a blank at the end", ends_with_answer, "sums", ("blanks",)),
    Planted("dense reward for length", "chrf", "story", ("delivery",), {"dense": a_token_a_point}),
    Planted(
        "per token, discounted", "fluency(form='sum')", "story", ("delivery",), {"delivery": "per_token", "gamma": 0.5}
    ),
)

SOUND: tuple[Planted, ...] = (
    Planted("gold quality", "gold.quality", "story"),
    Planted("gold axes", "gold.information*gold.grammar - gold.types", "story"),
    Planted("chrF", "chrf", "story"),
    Planted("BLEU", "bleu", "story"),
    Planted("ROUGE-L", "rouge(n='L')", "story"),
    Planted("chrF, shaped", "chrf", "story", settings={"delivery": "shaped", "gamma": 0.9}),
    Planted("chrF and gold", "chrf + 0.5*gold.information", "story"),
    Planted("exact match", "exact_match", "sums"),
    Planted("the last number", last_number, "sums"),
)

ALL: tuple[Planted, ...] = FAULTY + SOUND

Detector = Callable[[Planted], bool]
"""Whether something is found to be wrong."""
