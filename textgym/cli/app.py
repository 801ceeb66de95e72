"""The command-line application: its commands, `--version`, and how every error ends."""

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from textgym import __version__
from textgym.cli.attack import attack
from textgym.cli.bench import bench
from textgym.cli.check_reward import check_reward
from textgym.cli.explain import explain
from textgym.cli.export import export
from textgym.cli.fit import fit
from textgym.cli.generate import generate
from textgym.cli.list import list_names
from textgym.cli.pretrain import pretrain
from textgym.cli.rank import rank
from textgym.cli.report import report
from textgym.cli.rescore import rescore
from textgym.cli.score import score
from textgym.cli.solve import solve
from textgym.cli.terminal import complain
from textgym.cli.train import train
from textgym.errors import TextGymError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


class Commands(TyperGroup):
    """Turns errors into one message and an exit code: 1 for a failure, 2 (typer's own) for wrong usage."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--debug` counts wherever it stands, so that it can be added to the end of a line that failed."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a pipe that was closed (| head) is still caught
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except (TextGymError, OSError) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            complain(_message(error))
            raise typer.Exit(1) from None
        return result


app = typer.Typer(
    cls=Commands,
    name="textgym",
    help="Text generation as Gymnasium environments: train a Transformer under a reward of your choice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(pretrain)
app.add_typer(fit)
app.command()(generate)
app.command()(score)
app.command()(rank)
app.command("check-reward")(check_reward)
app.command()(attack)
app.command()(rescore)
app.add_typer(bench)
app.command()(report)
app.command()(export)
app.command()(solve)
app.command()(explain)
app.command("list")(list_names)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"TextGym {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, TextGymError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
