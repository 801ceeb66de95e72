"""Measures, or shows what was measured, as tables in Markdown."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from textgym.benchmarks.scorers.order import order_rows
from textgym.benchmarks.scorers.people import (
    Contexts,
    fluency_of_samples,
    minimal_pairs,
    ratings_of_dialogue,
    transformer_rows,
)
from textgym.benchmarks.scorers.rows import table
from textgym.benchmarks.scorers.speed import speed_table, speeds
from textgym.benchmarks.scorers.truth import numeric_answers, sentiment, slots_of_references

from textgym.envs.tasks import make_task
from textgym.errors import TextGymError
from textgym.text.store import write_atomic
from textgym.types import ScoringContext

PARTS = ("order", "blimp", "pplm", "sfres", "sentiment", "slots", "gsm8k", "transformer", "speed")

TALES = Path("fairytales/sentence_level_train.csv")


def main(
    data: Annotated[Path, typer.Option(envvar="TEXTGYM_DATA", help="Folder of the data sets.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="JSON Lines file of the rows.")] = Path("scorers.jsonl"),
    parts: Annotated[str, typer.Option(help="Some of them, by commas.")] = ",".join(PARTS),
    model: Annotated[Path | None, typer.Option(help="Transformer that textgym pretrain made of the tales.")] = None,
    limit: Annotated[int | None, typer.Option(min=20, help="Texts of each data set, for a quick look.")] = None,
    show: Annotated[Path | None, typer.Option(help="No measurement: the tables of these rows.")] = None,
) -> None:
    """Does a scorer measure what it says?"""
    try:
        if show is None:
            found: list[dict[str, Any]] = []
            for part in parts.split(","):
                found += measure(part.strip(), data, limit, model)
                write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found).encode())
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    rows = [json.loads(line) for line in (show or out).read_text(encoding="utf-8").splitlines()]
    measured, timed = ([row for row in rows if ("measure" in row) == which] for which in (True, False))
    print("\n\n".join([*([table(measured)] if measured else []), *([speed_table(timed)] if timed else [])]))


def measure(part: str, data: Path, limit: int | None = None, model: Path | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one part."""
    if part not in PARTS:
        raise typer.BadParameter(f"no part {part!r}: {', '.join(PARTS)}")
    if part == "speed":
        yield from speeds(next(iter(contexts(data).values())), repeats=3 if limit is None else 1)
        return
    if part == "transformer":
        if model is not None:
            context = make_task(corpus=data / TALES, field="text", tokenizer=str(model / "tokenizer.json")).context
            yield from (row.to_json() for row in transformer_rows(data, model, context, limit))
        return
    made = {
        "order": lambda: order_rows(data, contexts(data), shuffles=5 if limit is None else 1),
        "blimp": lambda: minimal_pairs(data, contexts(data, shakespeare=True), limit),
        "pplm": lambda: fluency_of_samples(data, contexts(data, shakespeare=True), limit),
        "sfres": lambda: ratings_of_dialogue(data, contexts(data), limit),
        "slots": lambda: slots_of_references(data, limit),
        "gsm8k": lambda: numeric_answers(data, limit),
    }
    if part == "sentiment":
        with tempfile.TemporaryDirectory() as folder:
            yield from (row.to_json() for row in sentiment(data, Path(folder), limit))
        return
    yield from (row.to_json() for row in made[part]())


def contexts(data: Path, *, shakespeare: bool = False) -> Contexts:
    """The fairy tales first; with `shakespeare` also their words in place of pieces, and Shakespeare."""
    made: dict[str, ScoringContext] = {}
    tales = data / TALES
    made["fairy tales, 0.5 M words, BPE"] = make_task(corpus=tales, field="text").context
    if shakespeare:
        made["fairy tales, 0.5 M words, 4,096 words"] = make_task(corpus=tales, field="text", tokenizer="word").context
        made["Shakespeare, 0.2 M words, BPE"] = make_task(corpus=data / "tinyshakespeare/input.txt").context
    return made


if __name__ == "__main__":
    typer.run(main)
