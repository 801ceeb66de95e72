"""`textgym attack`: the bad texts that a reward would pay best, before an agent finds them."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from textgym.cli import options
from textgym.cli.auditing import open_arena
from textgym.cli.check_reward import Rollouts
from textgym.cli.options import DEFAULTS, RUN
from textgym.cli.terminal import print_json, speak, stdout, visible
from textgym.cli.writing import json_writer

if TYPE_CHECKING:
    from textgym.audit import Attack, Exploit

_NAMES = {"cheapest": "cheapest exploit", "best": "highest score", "fluent": "as fluent as good texts"}


def attack(
    spec: options.Spec,
    task: options.Task = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    prompts: options.Prompts = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    rollouts: Rollouts = None,
    n_prompts: Annotated[
        int, typer.Option("--n", "-n", min=1, help="Prompts that are attacked.", rich_help_panel=RUN)
    ] = 4,
    evaluations: Annotated[
        int, typer.Option(min=1, help="Texts that are scored at most.", rich_help_panel=RUN)
    ] = 50_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time that it may take.", rich_help_panel=RUN)] = 50.0,
    max_perplexity: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="Of the second search, a token, under an n-gram model.",
            show_default="what one good text in twenty exceeds",
            rich_help_panel=RUN,
        ),
    ] = None,
    seed: options.Seed = 0,
    output: options.Output = None,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Look for bad texts that earn more than good ones, freely and among fluent texts.

    Tries nothing, repetition, copies of the prompt, padding and random words, then searches: beams of tokens and of
    sentences, and evolution. Prints the cheapest exploit, the highest, and the highest fluent one beside what good
    texts earn; in a world that knows the truth with their true quality. --output takes all of them, JSON Lines.

    Exit code 1 if an exploit was found.
    """
    from textgym.audit import attack as look

    speak(quiet or json)
    arena = open_arena(
        spec,
        rollouts=rollouts,
        task=task,
        corpus=corpus,
        field=field,
        prompts=prompts,
        tokenizer=tokenizer,
        cache_dir=cache_dir,
        seed=seed,
    )
    limit = None if max_perplexity is None else math.log(max_perplexity)
    found = look(arena, prompts=n_prompts, evaluations=evaluations, seconds=seconds, max_surprise=limit, seed=seed)
    if output is not None:
        with json_writer(output) as writer:
            for exploit in found.exploits:
                writer.write(exploit.to_row())
    if json:
        print_json(found.to_row(), indent=2)
    else:
        _print(found)
    if found.exploits:
        raise typer.Exit(1)


def _print(found: "Attack") -> None:
    from rich.text import Text

    out = stdout()
    out.print(Text(f"{visible(found.reward)}  on {visible(found.where)}", style="bold"))
    truth = "" if found.truth is None else f", gold quality {found.truth:.3f}"
    out.print(f"good texts earn {found.good:.4g} on average{truth}")
    for name, called in _NAMES.items():
        exploit = getattr(found, name)
        out.print()
        if exploit is None:
            out.print(Text(f"{called}: none found", style="green"))
        else:
            _print_exploit(called, exploit)
    out.print()
    failed = f"; on {found.failed:,} the reward failed" if found.failed else ""
    out.print(f"{found.evaluations:,} texts tried in {found.seconds:.0f} s, the highest at {found.highest:.4g}{failed}")


def _print_exploit(called: str, exploit: "Exploit") -> None:
    from rich.text import Text

    truth = "" if exploit.truth is None else f", gold quality {exploit.truth:.3f}"
    scores = f"{exploit.score:.4g} against {exploit.good:.4g} of the good text{truth}"
    stdout().print(Text(f"{called}: {scores} ({exploit.kind})", style="bold red"))
    for name, text in (("prompt", exploit.prompt), ("text", exploit.text)):
        stdout().print(Text(f"  {name:<7} {visible(text.strip()) or '(empty)'}"))
    for symptom in exploit.symptoms:
        stdout().print(Text(f"  {symptom}", style="dim"))
