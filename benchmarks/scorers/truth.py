"""Scorers against what is known: labels of sentiment, references of other prompts, answers of GSM8K."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from textgym.benchmarks.scorers.rows import Row, mean_row

from textgym.envs.taskless import TasklessContext
from textgym.scorers.grammar import parse


def read_reviews(folder: Path) -> tuple[list[str], list[str]]:
    """Snippets of film reviews and their labels, shuffled once for all."""
    texts, labels = [], []
    for label, ending in (("positive", "pos"), ("negative", "neg")):
        lines = (folder / f"movie_polarity/rt-polarity.{ending}").read_bytes().decode("utf-8", "replace").splitlines()
        texts += [line.strip() for line in lines]
        labels += [label] * len(lines)
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    return [texts[i] for i in order], [labels[i] for i in order]


def sentiment(folder: Path, work: Path, limit: int | None = None) -> Iterator[Row]:
    """Accuracy on a fifth of the reviews: of VADER, and of a classifier that is trained on the other four."""
    from textgym.models.linear_classifier import fit_classifier
    from textgym.text.labelled_files import Labelled

    texts, labels = read_reviews(folder)
    texts, labels = texts[:limit], labels[:limit]
    cut = len(texts) // 5
    truth = np.array([label == "positive" for label in labels[:cut]])
    context = TasklessContext()
    vader = parse("sentiment").score_texts(texts[:cut], context=context)
    hits = np.where(vader == 0, 0.5, (vader > 0) == truth)
    yield mean_row("film reviews, held-out fifth", "sentiment", "accuracy", hits, chance=0.5)
    model = work / "reviews"
    rows = [Labelled(text, label) for text, label in zip(texts[cut:], labels[cut:], strict=True)]
    fit_classifier(rows).save(model)
    ours = parse(f"classifier('{model}', 'positive')").score_texts(texts[:cut], context=context)
    yield mean_row(
        "film reviews, held-out fifth",
        "classifier(FOLDER, 'positive')",
        "accuracy",
        ((ours > 0.5) == truth).astype(np.float64),
        chance=0.5,
        fitted=f"the other four fifths, {len(texts) - cut:,} snippets",
    )


def slots_of_references(folder: Path, limit: int | None = None) -> Iterator[Row]:
    """E2E: a meaning's own reference scores above a reference of another meaning; and what share of slots it says."""
    with (folder / "e2e_nlg/testset_w_refs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    rng = np.random.default_rng(0)
    meanings, own = [row["mr"] for row in rows], [row["ref"] for row in rows]
    others = [[i for i in rng.integers(len(rows), size=20).tolist() if meanings[i] != mr] for mr in meanings]
    foreign = [own[choice[0]] if choice else "" for choice in others]
    for name in ("slots", "-slots(form='error_rate')", "length", "keywords(field='values')"):
        if name.startswith("keywords"):
            values = [[part.partition("[")[2].rstrip("]") for part in mr.split("], ")] for mr in meanings]
            a, b = (_keywords(values, side) for side in (own, foreign))
        else:
            a, b = (parse(name).score_texts(side, prompts=meanings) for side in (own, foreign))
        hits = (a > b) + 0.5 * (a == b)
        yield mean_row("E2E test, own against a foreign reference", name, "accuracy", hits, chance=0.5)
        if name == "slots":
            yield mean_row("E2E test, own references", name, "share", a, chance=float(b.mean()))


def _keywords(values: list[list[str]], texts: list[str]) -> np.ndarray:
    return np.array(
        [parse(f"keywords({json.dumps(', '.join(v))})").score_texts([t])[0] for v, t in zip(values, texts, strict=True)]
    )


def numeric_answers(folder: Path, limit: int | None = None) -> Iterator[Row]:
    """GSM8K: reference answers are accepted, also in free forms; perturbed ones are refused."""
    lines = (folder / "gsm8k/dev/test.jsonl").read_text(encoding="utf-8").splitlines()[:limit]
    answers = [json.loads(line)["answer"] for line in lines]
    finals = [answer.rpartition("#### ")[2].strip() for answer in answers]
    numbers = [int(final.replace(",", "")) for final in finals]
    reasoning = [answer.rpartition("#### ")[0] for answer in answers]
    said = {
        "references accepted": (answers, True),
        "'The answer is $N.00.' accepted": ([f"So the answer is ${n:,}.00." for n in numbers], True),
        "'N dollars' accepted": ([f"She needs {n} dollars in all." for n in numbers], True),
        "one more refused": ([f"{r}#### {n + 1}" for r, n in zip(reasoning, numbers, strict=True)], False),
        "ten times as much refused": (
            [f"{r}#### {10 * n if n else 1}" for r, n in zip(reasoning, numbers, strict=True)],
            False,
        ),
    }
    for what, (texts, right) in said.items():
        values = parse("numeric").score_texts(texts, references=[[answer] for answer in answers])
        hits = (values == float(right)).astype(np.float64)
        yield mean_row(f"GSM8K test, {what}", "numeric", "share", hits, chance=0.0 if right else 1.0)
