"""`textgym score`: a number for every completion of a file."""

from textgym.cli import options
from textgym.cli.options import DEFAULTS
from textgym.cli.records import json_writer, read_records
from textgym.cli.terminal import speak


def score(
    spec: options.Spec,
    input: options.Input,
    output: options.Output = None,
    task: options.ScoringTask = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    cache_dir: options.CacheDir = None,
    quiet: options.Quiet = False,
) -> None:
    """Score the completions of a JSON Lines file.

    Reads rows of {"id"?, "prompt"?, "completion", "references"?} and writes {"id", "score", "components", "valid"} in
    the same order; the id of a row without one is the number of its line. A score is null where the scorer is not
    applicable. Scorers that need a language model or a yardstick take them from --task or --corpus; without either,
    tokens are words.
    """
    from textgym.cli.scoring import open_judge

    speak(quiet)
    judge = open_judge(spec, task=task, corpus=corpus, field=field, tokenizer=tokenizer, cache_dir=cache_dir)
    with json_writer(output) as writer:
        for judgement in judge.judge(read_records(input), str(input)):
            writer.write(judgement.to_row())
