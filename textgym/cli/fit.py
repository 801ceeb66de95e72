"""`textgym fit`: rewards that are learned, from labelled texts or from preferences."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from textgym.cli import options
from textgym.cli.options import MODEL, RUN, TEXT
from textgym.cli.terminal import print_json, speak, stderr, stdout
from textgym.errors import CheckpointError
from textgym.scorers.parameters import show

if TYPE_CHECKING:
    from textgym.envs.tasks import Task
    from textgym.models.checkpoint import Checkpoint
    from textgym.models.linear_classifier import LinearClassifier
    from textgym.models.preference import LinearPreference
    from textgym.models.preference_transformer import TransformerPreference
    from textgym.text.labelled_files import Labelled, Preference

DEFAULT_SAMPLER = "story-small"
"""What draws the texts that gold labels."""

TEMPERATURES = (0.7, 1.0, 1.4)
"""At which texts are drawn for gold to label: too sure of itself, as it is, and too bold."""

Out = Annotated[Path, typer.Option(help="Folder of the model.", metavar="DIR", rich_help_panel=RUN)]

fit = typer.Typer(
    name="fit",
    help="Train a reward: a classifier on labelled texts, or a preference model on pairs.",
    no_args_is_help=True,
    add_completion=False,
)


@fit.command()
def classifier(
    input: Annotated[
        list[str],
        typer.Option(
            "--input",
            "-i",
            help="Table of texts and labels (JSON Lines, JSON, CSV), or LABEL=FILE, a text a line; may be repeated.",
            metavar="FILE",
            rich_help_panel=TEXT,
        ),
    ],
    out: Out,
    text: Annotated[str, typer.Option(help="Column of the texts.", rich_help_panel=TEXT)] = "text",
    label: Annotated[str, typer.Option(help="Column of the labels.", rich_help_panel=TEXT)] = "label",
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a classifier of texts: tf-idf of words and characters, logistic regression.

    A fifth of each label is held out and says how good it is.
    """
    from textgym.models.linear_classifier import fit_classifier
    from textgym.text.labelled_files import read_labelled, read_lines

    speak(quiet)
    _check_free(out)
    rows: list[Labelled] = []
    for given in input:
        name, equals, path = given.partition("=")
        is_lines = bool(equals) and not Path(given).exists()
        rows += read_lines(path, name) if is_lines else read_labelled(given, text, label)
    model = fit_classifier(rows, seed, _teller(quiet))
    expression = f"classifier({show(str(out))}, {show(model.labels[-1])})"
    _finish(model, out, json, {"labels": list(model.labels)}, expression, "labels")


@fit.command()
def preference(
    out: Out,
    input: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Pairs as TRL has them: prompt, chosen, rejected; texts or messages.",
            metavar="FILE",
            rich_help_panel=TEXT,
        ),
    ] = None,
    task: options.Task = None,
    gold: Annotated[
        str | None,
        typer.Option(help="Scorer that says which of two completions is better.", metavar="SPEC", rich_help_panel=TEXT),
    ] = None,
    pairs: Annotated[int, typer.Option(min=20, help="How many pairs gold labels.", rich_help_panel=TEXT)] = 1000,
    margin: Annotated[
        float, typer.Option(min=0, help="How far apart gold must find the two of a pair.", rich_help_panel=TEXT)
    ] = 0.0,
    sampler: Annotated[
        str,
        typer.Option(help="Model whose completions gold labels.", metavar="DIR", rich_help_panel=TEXT),
    ] = DEFAULT_SAMPLER,
    backend: Annotated[
        Literal["linear", "transformer"],
        typer.Option(
            help="What is trained: tf-idf and how it relates to the prompt, or a network.", rich_help_panel=MODEL
        ),
    ] = "linear",
    model: Annotated[
        str | None,
        typer.Option(help="Pretrained Transformer to start from.", metavar="DIR", rich_help_panel=MODEL),
    ] = None,
    size: Annotated[
        str,
        typer.Option("--size", help="Architecture of a new one (textgym list models).", rich_help_panel=MODEL),
    ] = "tiny",
    epochs: Annotated[int, typer.Option(min=1, help="Passes of a Transformer at most.", rich_help_panel=MODEL)] = 12,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a preference model of Bradley and Terry on pairs from a file, or on pairs that a gold scorer labels.

    A fifth of the prompts is held out and says how good it is.
    """
    if (input is None) == (gold is None):
        raise typer.BadParameter("give the pairs as --input FILE, or say who labels them: --gold SPEC")
    speak(quiet)
    _check_free(out)
    tell = _teller(quiet)
    labelled = _pairs(input, gold, pairs, margin, task, sampler, seed, cache_dir, tell)
    fitted: LinearPreference | TransformerPreference
    if backend == "linear":
        from textgym.models.preference import fit_linear

        fitted = fit_linear(labelled, seed, tell)
    else:
        from textgym.cli.torch import prepare_torch
        from textgym.models.preference_transformer import PreferenceConfig, fit_transformer

        prepare_torch(device, threads)
        start = _start(labelled, model, size, seed)
        fitted = fit_transformer(labelled, start, PreferenceConfig(epochs=epochs, seed=seed), tell, device)
    _finish(fitted, out, json, {"backend": backend}, f"preference({show(str(out))})", "backend")


def _check_free(out: Path) -> None:
    """Now, rather than when all is trained and cannot be saved."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise CheckpointError(f"--out {out} is there already and not empty: choose another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)


def _teller(quiet: bool) -> Callable[[str], None]:
    from rich.text import Text

    return lambda stage: None if quiet else stderr().print(Text(stage))


def _pairs(
    path: Path | None,
    gold: str | None,
    count: int,
    margin: float,
    name: str | None,
    sampler: str,
    seed: int,
    cache_dir: str | None,
    tell: Callable[[str], None],
) -> "list[Preference]":
    from textgym.text.labelled_files import read_preferences

    if path is not None:
        return read_preferences(path)
    assert gold is not None
    from textgym.models.checkpoint import load_checkpoint
    from textgym.runs.gold_pairs import gold_pairs
    from textgym.scorers.reward import bind_reward

    task: Task = _task(name, sampler, cache_dir)
    tell(f"{sampler} writes {count:,} pairs for {gold} to label")
    return gold_pairs(
        task,
        bind_reward(gold, task.context),
        load_checkpoint(sampler),
        count,
        temperatures=TEMPERATURES,
        margin=margin,
        name=sampler,
        seed=seed,
    )


def _task(name: str | None, sampler: str, cache_dir: str | None) -> "Task":
    from textgym.runs.config import TrainConfig
    from textgym.runs.train import open_task

    return open_task(TrainConfig(task=name, model=sampler), cache_dir)


def _start(pairs: "Sequence[Preference]", folder: str | None, size: str, seed: int) -> "Checkpoint":
    """The Transformer that is trained on: a saved one, or a new one with a tokenizer made of the texts."""
    from textgym.models.checkpoint import Checkpoint, load_checkpoint, new_model
    from textgym.text.tokenizers import train_tokenizer

    if folder is not None:
        return load_checkpoint(folder)
    tokenizer = train_tokenizer("auto", [text for pair in pairs for text in (pair.prompt, pair.chosen, pair.rejected)])
    longest = max(
        len(tokenizer.encode(pair.prompt)) + max(len(tokenizer.encode(text)) for text in (pair.chosen, pair.rejected))
        for pair in pairs
    )
    network = new_model(size, vocab_size=tokenizer.vocab_size, context=min(longest + 2, 1024), seed=seed)
    return Checkpoint(network, tokenizer, {}, tokenizer.sep_id, tokenizer.eos_id)


def _finish(
    model: "LinearClassifier | LinearPreference | TransformerPreference",
    out: Path,
    as_json: bool,
    facts: dict[str, Any],
    expression: str,
    what: str,
) -> None:
    """Saves the model and says how good it is and how it is used."""
    model.save(out)
    known = model.metadata
    if as_json:
        print_json({**known, **facts, "model": str(out), "expression": expression}, indent=2)
        return
    from textgym.cli.tables import print_facts

    low, high = known["interval"]
    value = facts[what]
    print_facts(
        stdout(),
        [
            ("trained on", f"{known['rows']:,} {'pairs' if 'calibration' in known else 'texts'}"),
            (what, ", ".join(value) if isinstance(value, list) else value),
            ("held out", f"accuracy {known['accuracy']:.3f} ({low:.3f} to {high:.3f}) on {known['heldout']:,}"),
            ("log loss", f"{known['logloss']:.4f}"),
            ("saved", str(out)),
            ("next", f'textgym score "{expression}" --input FILE'),
        ],
    )
