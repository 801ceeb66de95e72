"""`textgym list`: every name that another command takes."""

import ast
import importlib.util
import inspect
import math
import re
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from textgym.cli import options
from textgym.cli.terminal import print_json, stdout
from textgym.errors import TaskError


class Kind(str, Enum):
    """What can be listed."""

    scorers = "scorers"
    tasks = "tasks"
    agents = "agents"
    tokenizers = "tokenizers"
    models = "models"


PAPER = re.compile(r"[A-Z][\w'’-]+(?: et al\.| & [A-Z][\w'’-]+)?,? \d{4}[a-z]?")
"""A citation, as the docstring of an agent has it: the first is its paper."""

SAVED_MODELS = (
    (
        "hf:NAME_OR_FOLDER",
        "of Hugging Face: a causal model as --model; for scorers a causal model as lm=, BERT, RoBERTa or XLNet as "
        "pseudo_fluency(model=), a "
        "classifier as model= of acceptability, classifier, sentiment, toxicity",
    ),
    ("st:NAME_OR_FOLDER", "of sentence-transformers, for scorers: embedding= of coherence, relevance"),
)
"""How models that are loaded are named, and where such a name may stand."""


def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="One kind of names; all kinds if not given.")] = None,
    json: options.Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Scorers as docs/scorers.md has them.", rich_help_panel=options.OUTPUT)
    ] = False,
) -> None:
    """List scorers, tasks, agents, tokenizers and models by name."""
    if markdown:
        if kind not in (None, Kind.scorers) or json:
            raise typer.BadParameter("--markdown is a page of scorers: textgym list scorers --markdown")
        from textgym.reports.scorer_catalogue import catalogue_page

        typer.echo(catalogue_page().encode(), nl=False)
        return
    kinds = [kind.value] if kind else [each.value for each in Kind]
    found = {each: _LISTS[each]() for each in kinds}
    if json:
        print_json(found, indent=2)
        return
    for each, rows in found.items():
        _print(each, rows, titled=kind is None)


def scorers() -> list[dict[str, Any]]:
    """Every scorer with its definition, and what it needs; None for what depends on parameters or parts."""
    from textgym.reports.scorer_catalogue import entries

    return [
        {
            "name": one.name,
            "parameters": list(one.parameters),
            "formula": one.formula,
            "range": one.range and [end if math.isfinite(end) else None for end in one.range],
            "unit": one.unit,
            "kind": one.kind,
            "needs": None if one.needs is None else list(one.needs),
            "source": one.source,
            "description": one.description,
        }
        for one in entries()
    ]


def tasks() -> list[dict[str, Any]]:
    """Every task that `--task` takes."""
    from textgym.envs import tasks as room

    rows = []
    for name in room.task_names():
        try:
            line = _first_line(room.task_builder(name).__doc__)
        except TaskError as error:  # what another package brings may be broken, and hides nothing else
            line = str(error)
        rows.append({"name": name, "description": line})
    return rows


def agents() -> list[dict[str, Any]]:
    """Every agent that `--agent` takes; described from its source, since importing it would import torch."""
    return [_agent(point) for point in sorted(entry_points(group="textgym.agents"), key=lambda point: point.name)]


def _agent(point: EntryPoint) -> dict[str, Any]:
    try:
        docstring = _module_docstring(point)
    except (ImportError, SyntaxError, ValueError, OSError) as error:  # another package's: it hides nothing else
        return {"name": point.name, "description": f"{point.value} cannot be used: {error}", "paper": None}
    paper = PAPER.search(docstring or "")
    return {"name": point.name, "description": _first_line(docstring), "paper": paper and " ".join(paper[0].split())}


def tokenizers() -> list[dict[str, Any]]:
    """Every kind that `--tokenizer` takes beside a file."""
    from textgym.text import tokenizers as room

    classes = {"bpe": room.BPETokenizer, "char": room.CharTokenizer, "word": room.WordTokenizer}
    rows = {"auto": "char where most of the text is Chinese or Japanese, else bpe."}
    rows |= {kind: _first_line(classes[kind].__doc__) for kind in room.KINDS if kind in classes}
    return [{"name": kind, "description": rows.get(kind, "")} for kind in room.KINDS]


def models() -> list[dict[str, Any]]:
    """Every model by name: architectures for `--model-size`, and what scorers take as `lm=` or embedding."""
    from textgym.models.folder import SIZES, peek, shipped_names
    from textgym.models.registry import embedding_names, language_model_names

    shapes = {
        "transformer": "Transformer of {n_layer} layers, {n_head} heads, width {n_embd}: --model-size {name}",
        "lstm": "LSTM of {n_layer} layers, width {n_embd}: --model-size {name}",
    }
    fitted = "fitted on the task's training texts, for scorers: {}={!r}"
    architectures = [(name, {"kind": "transformer", **size}) for name, size in SIZES.items()]
    rows = [(name, "architecture", shapes[size["kind"]].format(name=name, **size)) for name, size in architectures]
    shipped = "comes with the package, trained on task {task}: --model {name}, or lm={name!r} in scorers"
    rows += [(name, "checkpoint", shipped.format(name=name, **peek(name)["metadata"])) for name in shipped_names()]
    rows += [(name, "language model", fitted.format("lm", name)) for name in language_model_names()]
    rows += [(name, "embedding", fitted.format("embedding", name)) for name in embedding_names()]
    rows += [(name, "saved model", text) for name, text in SAVED_MODELS]
    return [{"name": name, "role": role, "description": f"{text[0].upper()}{text[1:]}."} for name, role, text in rows]


_LISTS = {"scorers": scorers, "tasks": tasks, "agents": agents, "tokenizers": tokenizers, "models": models}


def _first_line(docstring: str | None) -> str:
    return inspect.cleandoc(docstring or "").partition("\n")[0]


def _module_docstring(point: EntryPoint) -> str | None:
    spec = importlib.util.find_spec(point.module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))


def _print(kind: str, rows: list[dict[str, Any]], titled: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    if titled:
        stdout().print(Text(kind, style="bold"))
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        facts = _facts(row)
        table.add_row(Text(row["name"]), Text(row["description"]) + Text(f"\n{facts}" if facts else "", style="dim"))
    stdout().print(table)
    if titled:
        stdout().print()


def _facts(row: dict[str, Any]) -> str:
    facts = [", ".join(row.get("parameters", ()))]
    if row.get("paper") and row["paper"] not in row["description"]:
        facts.append(row["paper"])
    if row.get("range"):
        low, high = row["range"]
        ends = f"{'(-inf' if low is None else f'[{low:g}'}, {'inf)' if high is None else f'{high:g}]'}"
        facts.append(f"range {ends}{' ' + row['unit'] if row['unit'] else ''}")
    if row.get("needs"):
        facts.append(f"needs {' and '.join(row['needs'])}")
    return " · ".join(filter(None, facts))
