"""Options that several commands share, and the defaults of a run, which `TrainConfig` states once."""

from pathlib import Path
from typing import Annotated

import typer

from textgym.runs.config import TrainConfig

DEFAULTS = TrainConfig()
"""Every default of a training run."""

TEXT, REWARD, MODEL, RUN, OUTPUT = "Text", "Reward and agent", "Model", "Run", "Output"

Task = Annotated[
    str | None,
    typer.Option(help="Task by name (textgym list tasks).", rich_help_panel=TEXT, show_default="story"),
]
ScoringTask = Annotated[
    str | None,
    typer.Option(help="Task that scorers are bound to (textgym list tasks).", rich_help_panel=TEXT),
]
Corpus = Annotated[
    str | None,
    typer.Option(help="Make the task of a text, CSV, JSON or JSON Lines file.", metavar="FILE", rich_help_panel=TEXT),
]
Field = Annotated[
    str | None, typer.Option(help="Column or field of the corpus; PROMPT:REFERENCE of prompts.", rich_help_panel=TEXT)
]
Prompts = Annotated[
    str | None,
    typer.Option(
        help="Make the task of prompts with references, JSON Lines or CSV.", metavar="FILE", rich_help_panel=TEXT
    ),
]
Tokenizer = Annotated[
    str,
    typer.Option(help="auto, char, word, bpe, or one of Hugging Face's.", rich_help_panel=TEXT, metavar="KIND|FILE"),
]
VocabSize = Annotated[
    int | None,
    typer.Option(
        help="Most tokens that a trained tokenizer may have.",
        rich_help_panel=TEXT,
        show_default="8192 bpe, 4096 word, 8192 char",
    ),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        help="Budget of a completion, in tokens.", rich_help_panel=TEXT, show_default="64, or the longest story"
    ),
]
MaxPromptTokens = Annotated[
    int | None,
    typer.Option(help="Longest prompt, in tokens.", rich_help_panel=TEXT, show_default="32; 512 with --prompts"),
]
CacheDir = Annotated[
    str | None,
    typer.Option(help="Where fitted models are kept.", envvar="TEXTGYM_CACHE", metavar="DIR", rich_help_panel=RUN),
]
Size = Annotated[str, typer.Option("--model-size", help="Architecture (textgym list models).", rich_help_panel=MODEL)]
PretrainTokens = Annotated[int, typer.Option(help="Tokens of maximum-likelihood training.", rich_help_panel=MODEL)]
Seed = Annotated[int, typer.Option(help="Of everything: the same seed gives the same bytes.", rich_help_panel=RUN)]
Device = Annotated[str, typer.Option(help="cpu, cuda, ...", rich_help_panel=RUN)]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads that torch may use.", rich_help_panel=RUN, show_default="as many as cores"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bars, only the result.", rich_help_panel=OUTPUT)
]
Input = Annotated[
    Path, typer.Option("--input", "-i", help="JSON Lines; - is stdin.", metavar="FILE", rich_help_panel=OUTPUT)
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="File to write.", metavar="FILE", show_default="stdout", rich_help_panel=OUTPUT
    ),
]
Spec = Annotated[
    str, typer.Argument(help="Reward expression, e.g. 'fluency - repetition', or file.py:function.", metavar="SPEC")
]


def default_out(task: str | None, corpus: str | None) -> Path:
    """Where a run goes that was given no folder: `runs/<task, or the name of its file of text>`."""
    return Path("runs") / (Path(corpus).stem if corpus else task or "story")
