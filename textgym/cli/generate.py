"""`textgym generate`: completions of prompts by a saved model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgym.cli import options
from textgym.cli.options import DEFAULTS, OUTPUT
from textgym.cli.records import read_lines, read_rows
from textgym.cli.terminal import speak, stdout, visible
from textgym.cli.writing import json_writer
from textgym.errors import CheckpointError, CorpusError

if TYPE_CHECKING:
    from textgym.models.checkpoint import Checkpoint
    from textgym.types import TokenIds

SAMPLING = "Sampling"


def generate(
    model: Annotated[str, typer.Option(help="Folder of a saved model, or hf:NAME_OR_FOLDER.", metavar="DIR")],
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="A prompt; may be given more than once.", metavar="TEXT")
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option("--input", "-i", help='Prompts: lines, or .jsonl rows with "prompt".', metavar="FILE"),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Completions of each prompt.")] = 1,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Longest completion.", show_default="all there is room for", rich_help_panel=SAMPLING),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.", rich_help_panel=SAMPLING)] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Only the k likeliest tokens.", rich_help_panel=SAMPLING, show_default="all")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Only the likeliest tokens that make up p.", rich_help_panel=SAMPLING, show_default="all"),
    ] = None,
    seed: options.Seed = DEFAULTS.seed,
    device: options.Device = DEFAULTS.device,
    threads: options.Threads = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines on stdout and nothing else.", rich_help_panel=OUTPUT)
    ] = False,
    output: options.Output = None,
) -> None:
    """Complete prompts with a saved model.

    Prints each prompt with its completion; with --json or --output rows of {"prompt", "completion", "logprob"}, where
    logprob is that of the whole completion, in nats, under the distribution that was sampled from.
    """
    prompts = _prompts(prompt, input)
    speak()
    rows = _complete(
        model,
        [text for text in prompts for _ in range(n)],
        max_new_tokens=max_new_tokens,
        sampling={"temperature": temperature, "top_k": top_k, "top_p": top_p},
        seed=seed,
        device=device,
        threads=threads,
    )
    if output is None and not json:
        _print(rows)
        return
    with json_writer(output) as writer:
        for row in rows:
            writer.write(row)


def _prompts(given: list[str] | None, path: Path | None) -> list[str]:
    if bool(given) == (path is not None):
        raise typer.BadParameter("give the prompts as --prompt TEXT, once or more, or as --input FILE")
    if path is None:
        return given or []
    if path.suffix != ".jsonl":
        return [line for _, line in read_lines(path)]
    prompts = []
    for number, row in read_rows(path):
        if not isinstance(row.get("prompt"), str):
            raise CorpusError(f"{path}, line {number}: it has no text under 'prompt'")
        prompts.append(row["prompt"])
    return prompts


def _complete(
    folder: str,
    prompts: list[str],
    *,
    max_new_tokens: int | None,
    sampling: dict[str, Any],
    seed: int,
    device: str,
    threads: int | None,
) -> list[dict[str, Any]]:
    from textgym.cli.torch import prepare_torch
    from textgym.models.checkpoint import load_checkpoint
    from textgym.models.sampling import Sampling
    from textgym.models.sampling import generate as sample

    prepare_torch(device, threads)
    how = Sampling(**sampling)
    checkpoint = load_checkpoint(folder, device)
    ids = [checkpoint.tokenizer.encode(prompt) for prompt in prompts]
    _warn_of_unknown(checkpoint, ids)
    made = sample(
        checkpoint.model,
        ids,
        sep_id=checkpoint.sep_id,
        eos_id=checkpoint.eos_id,
        max_new_tokens=max_new_tokens or _room(checkpoint, ids),
        sampling=how,
        seed=seed,
    )
    return [
        {"prompt": prompt, "completion": checkpoint.tokenizer.decode(tokens), "logprob": float(logprobs.sum())}
        for prompt, tokens, logprobs in zip(prompts, made.ids, made.logprobs, strict=True)
    ]


def _room(checkpoint: "Checkpoint", prompts: "list[TokenIds]") -> int:
    context, longest = checkpoint.model.config.context, max(map(len, prompts))
    if longest + 1 >= context:
        raise CheckpointError(
            f"a prompt of {longest} tokens leaves no room: this model's context is {context} tokens, of which the "
            "separator takes one. Shorten the prompt"
        )
    return context - 1 - longest


def _warn_of_unknown(checkpoint: "Checkpoint", prompts: "list[TokenIds]") -> None:
    unknown = sum(int((ids == checkpoint.tokenizer.unk_id).sum()) for ids in prompts)
    if unknown:
        print(f"warning: {unknown} tokens of the prompts are unknown to this model", file=sys.stderr)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    for row in rows:
        prompt, completion = (visible(row[key], keep="\n") for key in ("prompt", "completion"))
        stdout().print(Text.assemble((prompt, "bold"), completion))
        stdout().print()
