"""`textgym export`: a reward as a file that another library is pointed at, or as a service."""

from pathlib import Path
from typing import Annotated

import typer

from textgym.cli import options
from textgym.cli.options import DEFAULTS, OUTPUT
from textgym.cli.terminal import speak


def export(
    spec: options.Spec,
    to: Annotated[
        str, typer.Option("--to", help="trl, verl, openrlhf, verifiers or http.", metavar="LIBRARY", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write.", metavar="FILE", show_default="reward_LIBRARY.py; http serves", rich_help_panel=OUTPUT
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --to http.", rich_help_panel=OUTPUT)] = 8787,
    task: options.ScoringTask = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    prompts: options.Prompts = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    cache_dir: options.CacheDir = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a reward as one small Python file for TRL, verl, OpenRLHF or verifiers, or serve it over HTTP.

    The file holds the expression, the task and the signature; it needs textgym installed where it runs, opens its
    models on the first call, and warns if they are no longer what was exported. Prints the line that uses it.
    """
    from textgym.errors import ScorerError, UnknownNameError
    from textgym.interop.export import TARGETS, export_source, usage
    from textgym.interop.portable_reward import portable
    from textgym.interop.service import serve
    from textgym.text.store import write_atomic

    speak(quiet)
    if to not in TARGETS:
        raise UnknownNameError("library", to, TARGETS)
    if out is not None and (out.suffix != ".py" or not out.stem.isidentifier()):
        raise ScorerError(f"--out {out}: the file is imported, so that its name must be like my_reward.py")
    reward = portable(spec, task, corpus=corpus, field=field, prompts=prompts, tokenizer=tokenizer, cache_dir=cache_dir)
    if to == "http" and out is None:
        serve(reward, port=port)
        return
    path = out or Path(f"reward_{to}.py")
    write_atomic(path, export_source(reward, to, port=port).encode())
    typer.echo(f"{path}: {usage(to, path, port=port)}")
