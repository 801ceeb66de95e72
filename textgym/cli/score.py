"""`textgym score`: a number for every completion of a file."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textgym import __version__
from textgym.cli import options
from textgym.cli.options import DEFAULTS, OUTPUT
from textgym.cli.records import STDIN, InputLines, read_records
from textgym.cli.terminal import speak, stderr
from textgym.cli.writing import JsonWriter, content_hash, json_writer, resumable_writer

if TYPE_CHECKING:
    from textgym.cli.progress import Tell
    from textgym.cli.scoring import Judge, Judgement

logger = logging.getLogger("textgym")

INCOMPLETE = 3
"""Exit code of a file that was scored except for some of its lines."""

REPORTED = 10
"""Lines that could not be scored, and are reported one by one; the others are counted."""

Strict = Annotated[
    bool,
    typer.Option("--strict", help="Stop at the first line that cannot be scored.", rich_help_panel=OUTPUT),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with what an interrupted run has written.", rich_help_panel=OUTPUT),
]


def score(
    spec: options.Spec,
    input: options.Input,
    output: options.Output = None,
    task: options.ScoringTask = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    cache_dir: options.CacheDir = None,
    strict: Strict = False,
    resume: Resume = False,
    quiet: options.Quiet = False,
) -> None:
    """Score the completions of a JSON Lines file of any size.

    Reads rows of {"id"?, "prompt"?, "completion", "references"?}, whose other keys are metadata, and writes {"id",
    "score", "components", "valid"} in the same order; the id of a row without one is the number of its line. A score is
    null where the scorer is not applicable. Scorers that have to be fitted, or need a yardstick, take them from --task
    or --corpus; without either, tokens are words.

    A line that cannot be read, or on which the scorer fails, is reported on stderr; its row has no score and says why
    under "error". Exit code: 0 if there was none, 3 if there was, 1 if the command failed.

    Until all lines are scored, OUTPUT is called OUTPUT.partial. It stays after Ctrl-C, a kill or an error, and --resume
    goes on from it to the same bytes, given the same input, scorer and task; where there is none it begins anew.
    """
    from textgym.cli.scoring import BATCH_ROWS, open_judge

    if resume and (output is None or input == STDIN):
        raise typer.BadParameter("--resume goes on with a file: give --input FILE and --output FILE")
    speak(quiet)
    judge = open_judge(spec, task=task, corpus=corpus, field=field, tokenizer=tokenizer, cache_dir=cache_dir)
    lines = InputLines(input)
    with _writer(judge, input, output, resume) as writer, _progress(lines, output, quiet) as tell:
        records = read_records(lines)
        sum(1 for _ in islice(records, writer.kept))  # every line is a row
        for judgement in judge.judge(records, lines.name, strict=strict):
            _report(judgement, lines.name, writer.failed)
            writer.write(judgement.to_row())
            if writer.rows % BATCH_ROWS == 0:
                _tell(tell, writer, lines)
        _tell(tell, writer, lines)
    if writer.failed:
        logger.warning("%s of %s lines could not be scored", f"{writer.failed:,}", f"{writer.rows:,}")
        raise typer.Exit(INCOMPLETE)


def _writer(judge: "Judge", input: Path, output: Path | None, resume: bool) -> AbstractContextManager[JsonWriter]:
    from textgym.cli.scoring import BATCH_ROWS

    # What is not read again cannot be resumed, and a set of texts is scored as a whole.
    if output is None or not input.is_file() or judge.scorer.set_level:
        return json_writer(output)
    of = {"input": content_hash(input), "scorer": judge.bound.signature, "textgym": __version__}
    return resumable_writer(output, of, block=BATCH_ROWS, resume=resume)


def _report(judgement: "Judgement", source: str, before: int) -> None:
    if not judgement.error or before > REPORTED:
        return
    logger.warning(judgement.complain(source) if before < REPORTED else "further lines like this are only counted")


@contextmanager
def _progress(lines: InputLines, output: Path | None, quiet: bool) -> "Iterator[Tell | None]":
    """A bar where one can be seen, and does not run into rows on the same terminal."""
    from textgym.cli.progress import bars

    hidden = quiet or not stderr().is_terminal or lines.size is None or (output is None and sys.stdout.isatty())
    with bars(hidden, unit="bytes") as tell:
        yield tell


def _tell(tell: "Tell | None", writer: JsonWriter, lines: InputLines) -> None:
    writer.flush()
    if tell and lines.size:
        bad = f", {writer.failed:,} bad" if writer.failed else ""
        tell("scoring", lines.bytes_read, lines.size, f"{writer.rows:,} lines{bad}")
