"""Scorers against people: minimal pairs of BLiMP, fluency of samples, naturalness and informativeness of dialogue."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from textgym.benchmarks.scorers.rows import Row, mean_row, spearman_row

from textgym.models.folder import peek
from textgym.scorers.grammar import parse
from textgym.types import ScoringContext

FLUENCY = ("fluency", "fluency(lm='ngram:2')", "fluency(lm='unigram')", "slor", "informativeness", "repetition")
SURFACE = ("distinct", "length", "content_words")
LINKED = ("coherence", "order", "entity_grid")
FIELDS = ("naturalness", "informativeness")

Contexts = Mapping[str, ScoringContext]
"""What scorers are bound to, by the name of the text that is behind it; the first is the usual one."""


def minimal_pairs(folder: Path, contexts: Contexts, limit: int | None = None) -> Iterator[Row]:
    """BLiMP: the acceptable sentence of a minimal pair scores above the other; a tie is half."""
    good, bad = read_pairs(folder, limit)
    for text, context in contexts.items():
        names = [*(f"fluency(lm='ngram:{n}', form='sum')" for n in (2, 3, 4, 5)), "fluency", "slor"]
        for name in names:
            a, b = (parse(name).score_texts(side, context=context) for side in (good, bad))
            yield mean_row("BLiMP dev", name, "accuracy", (a > b) + 0.5 * (a == b), chance=0.5, fitted=text)


def transformer_rows(folder: Path, model: Path, context: ScoringContext, limit: int | None = None) -> Iterator[Row]:
    """BLiMP and the samples under a Transformer that ``textgym pretrain`` made of the fairy tales.

    Args:
        folder: of the data sets.
        model: the Transformer's folder.
        context: of a task with the Transformer's tokenizer.
        limit: texts of each data set.
    """
    text = "fairy tales, 0.5 M words, BPE, Transformer"
    for form in ("sum", "mean"):
        score = partial(parse(f"fluency(lm={json.dumps(str(model))}, form='{form}')").score_texts, context=context)
        a, b = (score(side) for side in read_pairs(folder, limit))
        hits = (a > b) + 0.5 * (a == b)
        yield mean_row("BLiMP dev", f"fluency(lm=FOLDER, form='{form}')", "accuracy", hits, chance=0.5, fitted=text)
    texts, human = read_samples(folder, limit)
    room = peek(model)["config"]["context"] - 2  # for the separator and EOS
    fit = np.array([len(context.tokenizer.encode(sample)) <= room for sample in texts])
    values = score([sample for sample, fits in zip(texts, fit, strict=True) if fits])
    name = f"PPLM samples of up to {room} tokens, fluency"
    yield spearman_row(name, "fluency(lm=FOLDER)", values, human[fit], fitted=text)


def read_pairs(folder: Path, limit: int | None = None) -> tuple[list[str], list[str]]:
    """The acceptable sentences of BLiMP, and the others."""
    lines = (folder / "blimp/dev/blimp_dev.jsonl").read_text(encoding="utf-8").splitlines()[:limit]
    pairs = [json.loads(line) for line in lines]
    return [pair["sentence_good"] for pair in pairs], [pair["sentence_bad"] for pair in pairs]


def read_samples(folder: Path, limit: int | None = None) -> tuple[list[str], Float64[np.ndarray, " N"]]:
    """Samples of language models, and the mean of the fluency that people gave each."""
    lines = (folder / "lm_fluency_pplm/dev/pplm_dev.jsonl").read_text(encoding="utf-8").splitlines()[:limit]
    rows = [json.loads(line) for line in lines]
    human = [np.mean([rating for rater in row["fluency"] for rating in rater]) for row in rows]
    return [row["text"].replace("<|endoftext|>", "").strip() for row in rows], np.array(human)


def fluency_of_samples(folder: Path, contexts: Contexts, limit: int | None = None) -> Iterator[Row]:
    """Samples of GPT-2 and CTRL: correlation with the mean fluency that people gave."""
    texts, human = read_samples(folder, limit)
    for text, context in contexts.items():
        first = context is next(iter(contexts.values()))
        for name in (*FLUENCY, *SURFACE, *LINKED) if first else FLUENCY[:4]:
            values = parse(name).score_texts(texts, context=context)
            yield spearman_row("PPLM samples, fluency", name, values, human, fitted=_fitted(name, text))


def ratings_of_dialogue(folder: Path, contexts: Contexts, limit: int | None = None) -> Iterator[Row]:
    """SFRES: correlation with naturalness and informativeness; the values in the act are the prompt and the slots."""
    with (folder / "nlg_ratings_emnlp17/dev/sfres.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    texts = [row["sys_ref"] for row in rows]
    meanings = [", ".join(f"{n}[{v}]" for n, v in _slots(row["mr"])) for row in rows]
    text, context = next(iter(contexts.items()))
    found = {name: parse(name).score_texts(texts, context=context) for name in (*FLUENCY, *SURFACE)}
    found["slots"] = parse("slots").score_texts(texts, prompts=meanings)
    found["-slots(form='error_rate')"] = parse("-slots(form='error_rate')").score_texts(texts, prompts=meanings)
    for field in FIELDS:
        human = np.array([float(row[field]) for row in rows])
        for name, values in found.items():
            yield spearman_row(f"SFRES, {field}", name, values, human, fitted=_fitted(name, text))
        for column in ("Bleu_4", "ROUGE_L", "METEOR", "CIDEr"):
            theirs = np.array([float(row[column]) for row in rows])
            yield spearman_row(f"SFRES, {field}", f"{column} (as published)", theirs, human)


def _slots(act: str) -> list[tuple[str, str]]:
    """Slots and values of a dialogue act, ``inform(name='x';near='y')``; those without a value are left out."""
    pairs = re.findall(r"(\w+)=(?:'([^']*)'|([^;,)']+))", act)
    return [(name, quoted or bare) for name, quoted, bare in pairs if quoted or bare]


def _fitted(name: str, text: str) -> str:
    return text if parse(name).needs - {"references"} else ""
