"""`textgym pretrain`: the maximum-likelihood part alone."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgym.cli import options
from textgym.cli.options import DEFAULTS, RUN
from textgym.cli.terminal import print_json, speak, stdout
from textgym.runs.config import TrainConfig

if TYPE_CHECKING:
    from textgym.envs.tasks import Task
    from textgym.models.checkpoint import Checkpoint

SAMPLES = 2


def pretrain(
    task: options.Task = DEFAULTS.task,
    corpus: options.Corpus = DEFAULTS.corpus,
    field: options.Field = DEFAULTS.field,
    prompts: options.Prompts = DEFAULTS.prompts,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    vocab_size: options.VocabSize = DEFAULTS.vocab_size,
    max_new_tokens: options.MaxNewTokens = DEFAULTS.max_new_tokens,
    max_prompt_tokens: options.MaxPromptTokens = DEFAULTS.max_prompt_tokens,
    model_size: options.Size = DEFAULTS.model_size,
    pretrain_tokens: options.PretrainTokens = DEFAULTS.pretrain_tokens,
    seed: options.Seed = DEFAULTS.seed,
    device: options.Device = DEFAULTS.device,
    threads: options.Threads = None,
    cache_dir: options.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the model.",
            metavar="DIR",
            show_default="runs/TASK/reference or runs/CORPUS/reference",
            rich_help_panel=RUN,
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Save the weights in float16, half the size.", rich_help_panel=RUN)
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit a Transformer by maximum likelihood and save it; `train --model DIR` starts from it."""
    config = TrainConfig(
        task=task,
        corpus=corpus,
        field=field,
        prompts=prompts,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        model_size=model_size,
        pretrain_tokens=pretrain_tokens,
        seed=seed,
        device=device,
    )
    folder = out or options.default_out(task, corpus or prompts) / "reference"
    speak(quiet)
    checkpoint, opened = _run(config, folder, cache_dir=cache_dir, threads=threads, quiet=quiet, half=half)
    texts = _samples(checkpoint, opened, seed)
    if json:
        print_json({**checkpoint.metadata, "model": str(folder), "samples": texts}, indent=2)
    else:
        _show(checkpoint.metadata, folder, [] if quiet else texts)


def _run(
    config: TrainConfig, out: Path, *, cache_dir: str | None, threads: int | None, quiet: bool, half: bool
) -> "tuple[Checkpoint, Task]":
    from textgym.cli.progress import bars
    from textgym.cli.torch import prepare_torch
    from textgym.runs.train import open_task, pretrained_model

    prepare_torch(config.device, threads)
    try:
        opened = open_task(config, cache_dir)
        out.mkdir(parents=True, exist_ok=True)  # now, rather than when all is trained and cannot be saved
        with bars(quiet) as tell:
            return pretrained_model(config, opened, out, tell, half=half), opened
    except KeyboardInterrupt:
        where = f"the model as far as it came is in {out}" if (out / "config.json").exists() else "nothing was saved"
        print(f"interrupted: {where}", file=sys.stderr)
        raise typer.Exit(130) from None


def _samples(checkpoint: "Checkpoint", task: "Task", seed: int) -> list[dict[str, str]]:
    from textgym.models.sampling import generate

    places = range(min(SAMPLES, len(task.heldout)))
    made = generate(
        checkpoint.model,
        [task.heldout.prompt(i) for i in places],
        sep_id=checkpoint.sep_id,
        eos_id=checkpoint.eos_id,
        max_new_tokens=task.max_new_tokens,
        seed=seed,
    )
    decode = checkpoint.tokenizer.decode
    return [{"prompt": decode(task.heldout.prompt(i)), "completion": decode(made.ids[i])} for i in places]


def _show(metadata: dict[str, Any], out: Path, texts: list[dict[str, str]]) -> None:
    from textgym.cli.tables import print_facts

    rate = metadata["tokens"] / metadata["seconds"]
    facts = [
        ("model", f"{metadata['size']}, held-out perplexity {metadata['perplexity']:.2f} a token"),
        ("speed", f"{rate:,.0f} tokens a second over {metadata['tokens']:,} tokens"),
        *(("sample", f"{text['prompt']} ▸{text['completion']}") for text in texts),
        ("saved", str(out)),
        ("next", f"textgym train --model {out}"),
    ]
    print_facts(stdout(), facts)
