"""`textgym score` that is interrupted, goes on, and ends with the bytes of a run that never was."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROWS = 700
"""Two whole blocks of 256 and a part of one."""


@pytest.fixture
def texts(tmp_path):
    """A file with blank and bad lines in it, some of which cannot be scored; its path."""
    kinds = {0: '{"completion": "stumble"}', 50: "\n[1]", 60: '{"id": "x", "completion": "a a"}'}
    path = tmp_path / "in.jsonl"
    path.write_text("".join(kinds.get(i % 97, f'{{"completion": "{"a b " * (i % 7)}"}}') + "\n" for i in range(ROWS)))
    return path


@pytest.fixture
def reward(tmp_path):
    """A function whose values depend on how many texts it is given together, and that fails on some; its reference."""
    (tmp_path / "mine.py").write_text(
        "def f(batch):\n"
        "    if 'stumble' in batch.completion_texts:\n"
        "        raise ValueError('stumbled')\n"
        "    return [len(text) / len(batch) for text in batch.completion_texts]\n"
    )
    return f"{tmp_path}/mine.py:f"


@pytest.fixture
def interrupted(textgym, texts, reward, tmp_path, monkeypatch):
    """Bytes of the whole output, and the folder of a run that Ctrl-C ended in its last block."""
    textgym("score", reward, "-i", texts, "-o", tmp_path / "whole.jsonl")
    judge = sys.modules["textgym.cli.scoring"].Judge.judge

    def interrupted(*arguments, **options):
        for number, judgement in enumerate(judge(*arguments, **options)):
            if number == 600:
                raise KeyboardInterrupt
            yield judgement

    with monkeypatch.context() as patch:
        patch.setattr("textgym.cli.scoring.Judge.judge", interrupted)
        result = textgym("score", reward, "-i", texts, "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 130
    assert f"600 rows are in {tmp_path}/out.jsonl.partial: --resume goes on from there" in result.stderr
    return (tmp_path / "whole.jsonl").read_bytes(), tmp_path


def test_an_interrupted_run_leaves_a_partial_file_and_no_finished_one(interrupted):
    whole, folder = interrupted
    assert not (folder / "out.jsonl").exists()
    assert whole.startswith((folder / "out.jsonl.partial").read_bytes())


@given(share=st.floats(0, 1))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_killed_at_any_byte_goes_on_to_the_same_bytes(textgym, interrupted, texts, reward, share):
    whole, folder = interrupted
    header, partial = folder / "out.jsonl.partial.json", folder / "out.jsonl.partial"
    kept = header.read_bytes()
    partial.write_bytes(whole[: round(share * len(whole))])
    result = textgym("score", reward, "-i", texts, "-o", folder / "out.jsonl", "--resume")
    assert result.exit_code == 3 and f"of {ROWS} lines could not be scored" in result.stderr
    assert (folder / "out.jsonl").read_bytes() == whole
    assert not partial.exists() and not header.exists()
    header.write_bytes(kept)


def test_resuming_scores_only_what_is_missing(textgym, interrupted, texts, reward, monkeypatch):
    scored = []
    raw = sys.modules["textgym.cli.scoring"].Judge._raw
    monkeypatch.setattr(
        "textgym.cli.scoring.Judge._raw", lambda self, batch: scored.extend(r.line for r in batch) or raw(self, batch)
    )
    textgym("score", reward, "-i", texts, "-o", interrupted[1] / "out.jsonl", "--resume")
    blank = texts.read_text().splitlines()[: min(scored)].count("")
    assert min(scored) - blank > 512


@pytest.mark.parametrize("changed", ["input", "scorer", "task", "textgym", "header"])
def test_a_partial_file_of_something_else_is_refused(textgym, interrupted, texts, reward, tiny_corpus, changed):
    _, folder = interrupted
    more = []
    if changed == "input":
        texts.write_text(texts.read_text() + '{"completion": "one more"}\n')
    elif changed == "scorer":
        (folder / "mine.py").write_text((folder / "mine.py").read_text() + "\n# other\n")
    elif changed == "task":
        more = ["--corpus", tiny_corpus]
    elif changed == "textgym":
        header = folder / "out.jsonl.partial.json"
        header.write_text(json.dumps({**json.loads(header.read_text()), "textgym": "0.0"}))
    else:
        (folder / "out.jsonl.partial.json").unlink()
    before = (folder / "out.jsonl.partial").read_bytes()
    result = textgym("score", reward, "-i", texts, "-o", folder / "out.jsonl", "--resume", *more)
    named = {"task": "scorer", "header": "input"}.get(changed, changed)
    assert result.exit_code == 1 and f"out.jsonl.partial cannot be resumed: its {named} was" in result.stderr
    assert (folder / "out.jsonl.partial").read_bytes() == before


def test_work_that_was_interrupted_is_not_overwritten_by_mistake(textgym, interrupted, texts, reward):
    _, folder = interrupted
    before = (folder / "out.jsonl.partial").read_bytes()
    result = textgym("score", reward, "-i", texts, "-o", folder / "out.jsonl")
    assert result.exit_code == 1 and "Go on from it with --resume" in result.stderr
    assert (folder / "out.jsonl.partial").read_bytes() == before


def test_with_nothing_to_resume_it_begins_anew(textgym, jsonl, tmp_path):
    path, output = jsonl([{"completion": "a"}]), tmp_path / "out.jsonl"
    for _ in range(2):
        assert textgym("score", "length", "-i", path, "-o", output, "--resume").exit_code == 0
        assert json.loads(output.read_text())["score"] == 1.0


def test_a_strict_run_keeps_the_blocks_before_the_bad_line(textgym, jsonl, tmp_path):
    path, output = jsonl([{"completion": "a"}] * 300 + [{"completion": 1}]), tmp_path / "out.jsonl"
    assert textgym("score", "length", "-i", path, "-o", output, "--strict").exit_code == 1
    assert textgym("score", "length", "-i", path, "-o", output, "--resume").exit_code == 3
    assert len(output.read_text().splitlines()) == 301


def test_a_stream_has_nothing_to_resume(textgym, tmp_path):
    for more in ((), ("-o", tmp_path / "out.jsonl")):
        result = textgym("score", "length", "-i", "-", "--resume", *more, input='{"completion": "a"}\n')
        assert result.exit_code == 2 and "--resume goes on with a file" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_what_the_next_one_needs(textgym, textgym_process, texts, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\ndef f(text):\n    time.sleep(0.0005 * (len(text) != 0))\n    return len(text)\n"
    )
    spec, output = f"{tmp_path}/slow.py:f", tmp_path / "out.jsonl"
    process = textgym_process("score", spec, "-i", texts, "-o", output)
    partial = tmp_path / "out.jsonl.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert partial.stat().st_size and not output.exists()
    textgym("score", spec, "-i", texts, "-o", output, "--resume")
    textgym("score", spec, "-i", texts, "-o", tmp_path / "whole.jsonl")
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


PEAK = """
import resource
from textgym.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(rows):
        path = tmp_path / f"{rows}.jsonl"
        with path.open("w") as file:
            for i in range(rows):
                text = " ".join(f"w{(i * 7919 + j * j) % 50_000}" for j in range(60))
                file.write(f'{{"completion": "{text}", "prompt": "prompt {i}"}}\n')
        command = [sys.executable, "-c", PEAK, "score", "repetition + distinct", "-i", path, "-o", tmp_path / "out"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # KiB

    small, large = peak(10_000), peak(100_000)
    assert large - small < 4_096, f"peak {small:,} KiB at 10,000 lines, {large:,} KiB at 100,000"
