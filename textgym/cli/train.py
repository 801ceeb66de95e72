"""`textgym train`: the main job. Pretrain by maximum likelihood, fine-tune on a reward, compare before and after."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgym import __version__
from textgym.cli import options
from textgym.cli.options import DEFAULTS, MODEL, REWARD, RUN
from textgym.cli.settings import named_values
from textgym.cli.terminal import print_json, speak, stderr, stdout, visible
from textgym.models.folder import CONFIG_FILE
from textgym.runs.config import DEFAULT_KL, TrainConfig
from textgym.runs.record import RUN_FILE, resumed_config

if TYPE_CHECKING:
    from textgym.runs.train import TrainResult

SHOWN_SAMPLES, SHOWN_STORIES = 5, 3


def train(
    context: typer.Context,
    task: options.Task = DEFAULTS.task,
    corpus: options.Corpus = DEFAULTS.corpus,
    field: options.Field = DEFAULTS.field,
    prompts: options.Prompts = DEFAULTS.prompts,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    vocab_size: options.VocabSize = DEFAULTS.vocab_size,
    max_new_tokens: options.MaxNewTokens = DEFAULTS.max_new_tokens,
    max_prompt_tokens: options.MaxPromptTokens = DEFAULTS.max_prompt_tokens,
    reward: Annotated[
        str | None,
        typer.Option(
            help="Reward expression, or file.py:function (textgym list scorers).",
            metavar="SPEC",
            rich_help_panel=REWARD,
            show_default="that of the task",
        ),
    ] = DEFAULTS.reward,
    delivery: Annotated[
        str,
        typer.Option(help="When it is paid: terminal, per_token or shaped.", rich_help_panel=REWARD),
    ] = DEFAULTS.delivery,
    agent: Annotated[
        str, typer.Option(help="Agent by name (textgym list agents).", rich_help_panel=REWARD)
    ] = DEFAULTS.agent,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the agent; may be repeated.", metavar="NAME=VALUE", rich_help_panel=REWARD
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            help="Which tokens may come next, e.g. min_new_tokens=8, or JSON; may be repeated.",
            metavar="NAME=VALUE",
            rich_help_panel=REWARD,
        ),
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option(
            help="Completions of each prompt side by side.", rich_help_panel=REWARD, show_default="what the agent needs"
        ),
    ] = DEFAULTS.group_size,
    temperature: Annotated[
        float | None, typer.Option(help="Of the policy.", rich_help_panel=REWARD, show_default="1")
    ] = DEFAULTS.temperature,
    steps: Annotated[
        int, typer.Option(help="Tokens that the agent generates.", rich_help_panel=REWARD)
    ] = DEFAULTS.steps,
    envs: Annotated[int, typer.Option(help="Environments side by side.", rich_help_panel=REWARD)] = DEFAULTS.envs,
    kl: Annotated[
        float | None,
        typer.Option(
            help="KL penalty against the starting model, reward units a nat.",
            rich_help_panel=REWARD,
            show_default=f"{DEFAULT_KL}, if the agent can have one",
        ),
    ] = DEFAULTS.kl,
    kl_target: Annotated[
        float | None,
        typer.Option(
            help="KL in nats a text that the penalty is steered to, from --kl on.",
            rich_help_panel=REWARD,
            show_default="none: --kl stays as it is",
        ),
    ] = DEFAULTS.kl_target,
    kl_in: Annotated[
        str | None,
        typer.Option(
            help="Where the penalty is paid: reward or loss.",
            rich_help_panel=REWARD,
            show_default="as the agent has it",
        ),
    ] = DEFAULTS.kl_in,
    kl_estimator: Annotated[
        str | None,
        typer.Option(
            help="Of a penalty in the loss: k1, k2, k3 or full.",
            rich_help_panel=REWARD,
            show_default="as the agent has it",
        ),
    ] = DEFAULTS.kl_estimator,
    reference_every: Annotated[
        int | None,
        typer.Option(
            help="Rollouts after which the penalty's reference is the policy as it is then.",
            rich_help_panel=REWARD,
            show_default="never: the starting model",
        ),
    ] = DEFAULTS.reference_every,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of the agent.", rich_help_panel=REWARD, show_default="that of the agent"),
    ] = DEFAULTS.learning_rate,
    model: Annotated[
        str | None,
        typer.Option(
            help="Start from this model, or hf:NAME_OR_FOLDER; nothing is pretrained.",
            metavar="DIR",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULTS.model,
    model_size: options.Size = DEFAULTS.model_size,
    pretrain_tokens: options.PretrainTokens = DEFAULTS.pretrain_tokens,
    eval_prompts: Annotated[
        int, typer.Option(help="Held-out prompts completed before and after.", rich_help_panel=RUN)
    ] = DEFAULTS.eval_prompts,
    seed: options.Seed = DEFAULTS.seed,
    device: options.Device = DEFAULTS.device,
    threads: options.Threads = None,
    cache_dir: options.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run.", metavar="DIR", show_default="runs/TASK or runs/CORPUS", rich_help_panel=RUN
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in --out from its last checkpoint; settings that are not given are its own.",
            rich_help_panel=RUN,
        ),
    ] = False,
    checkpoint_every: Annotated[
        int, typer.Option(min=0, help="Rollouts from one checkpoint to the next; 0 for none.", rich_help_panel=RUN)
    ] = 1,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Pretrain a Transformer, fine-tune it on a reward, and compare it with what it was, on held-out prompts."""
    config = TrainConfig(
        task=task,
        corpus=corpus,
        field=field,
        prompts=prompts,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        reward=reward,
        delivery=delivery,
        agent=agent,
        settings=named_values(settings, "--set"),
        constraint=named_values(constraint, "--constraint") or None,
        group_size=group_size,
        temperature=temperature,
        model=model,
        model_size=model_size,
        pretrain_tokens=pretrain_tokens,
        steps=steps,
        envs=envs,
        kl=kl,
        kl_target=kl_target,
        kl_in=kl_in,
        kl_estimator=kl_estimator,
        reference_every=reference_every,
        learning_rate=learning_rate,
        eval_prompts=eval_prompts,
        seed=seed,
        device=device,
    )
    folder = out or options.default_out(task, corpus or prompts)
    speak(quiet)
    if resume:
        config = resumed_config(folder, _given(context, config))
    _announce(config, json=json, quiet=quiet)
    result = _run(
        config,
        folder,
        cache_dir=cache_dir,
        threads=threads,
        quiet=quiet,
        resume=resume,
        checkpoint_every=checkpoint_every,
    )
    if json:
        print_json(result.summary, indent=2)
    else:
        _show(result, folder, quiet=quiet)


def _given(context: typer.Context, config: TrainConfig) -> dict[str, Any]:
    """The settings that were typed, not those that were left to their defaults."""
    sources = {name: context.get_parameter_source(name) for name in config.to_dict()}
    return {
        name: value
        for name, value in config.to_dict().items()
        if (source := sources[name]) is not None and source.name != "DEFAULT"
    }


def _announce(config: TrainConfig, *, json: bool, quiet: bool) -> None:
    """The line that says what is run; a reward that cannot be read stops here, before anything is fitted."""
    from textgym.scorers.spec import DEFAULT_REWARD, resolve

    reward = str(resolve(config.reward)) if config.reward is not None else None
    if quiet:
        return
    from rich.text import Text

    shown = reward or (DEFAULT_REWARD if config.task in (None, "docstrings", "story") else "of the task")
    source = config.corpus or config.prompts
    name = Path(source).name if source else config.task or "story"
    parts = [f"TextGym {__version__}", f"task {name}", f"reward {shown}", f"seed {config.seed}"]
    console = stderr() if json else stdout()
    console.print(Text(visible(" · ".join(parts)), style="bold"), soft_wrap=True)


def _run(
    config: TrainConfig,
    out: Path,
    *,
    cache_dir: str | None,
    threads: int | None,
    quiet: bool,
    resume: bool,
    checkpoint_every: int,
) -> "TrainResult":
    from textgym.cli.progress import bars
    from textgym.cli.tables import saved
    from textgym.cli.torch import prepare_torch
    from textgym.runs.train import train as run

    prepare_torch(config.device, threads)
    try:
        with bars(quiet) as tell:
            return run(
                config, out, cache_dir=cache_dir, progress=tell, resume=resume, checkpoint_every=checkpoint_every
            )
    except KeyboardInterrupt:
        where = f"what was saved is in {saved(out)}" if (out / "reference").exists() else "nothing was saved yet"
        again = f"\nto go on: textgym train --out {out} --resume" if (out / RUN_FILE).exists() else ""
        print(f"interrupted: {where}{again}", file=sys.stderr)
        raise typer.Exit(130) from None


def _show(result: "TrainResult", out: Path, *, quiet: bool) -> None:
    from textgym.cli.tables import figures, print_facts, samples, saved, stories
    from textgym.worlds.story.world import StoryWorld

    console, summary = stdout(), result.summary
    world: Any = getattr(result.task, "world", None)
    told = isinstance(world, StoryWorld)
    console.print()
    console.print(figures(summary))
    console.print()
    if not quiet:
        shown = range(min(SHOWN_STORIES if told else SHOWN_SAMPLES, len(result.before.prompts)))
        texts = [(result.before.prompts[i], result.before.completions[i], result.after.completions[i]) for i in shown]
        console.print(stories(world, texts, console.width) if told else samples(texts, console.width))
        console.print()
    facts = [("speed", _speed(summary)), ("saved", saved(out))]
    if "verdict" in summary:
        facts.insert(0, ("verdict", f"{summary['verdict']['name']}: {summary['verdict']['text']}"))
    if "kl_bound" in summary:
        facts.insert(0, ("KL", f"at most {summary['kl_bound']:.2f} nats a text from the starting model"))
    if not quiet and (out / "model" / CONFIG_FILE).exists():  # the folder alone may be an earlier run's
        again = f'textgym generate --model {out / "model"} --prompt "..."'
        facts.append(("next", f"{again} · textgym explain --task {result.task.name}" if told else again))
    print_facts(console, facts)


def _speed(summary: dict[str, Any]) -> str:
    tokens, seconds = summary["tokens"], summary["seconds"]
    return (
        f"{summary['tokens_per_second']:,.0f} tokens a second over {tokens['agent']:,} tokens of the agent; "
        f"{seconds['total']:,.0f} s in all"
    )
