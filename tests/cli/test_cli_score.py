import json
import subprocess
import sys

import pytest


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_score_gives_every_row_its_number_in_order(textgym, jsonl, tmp_path):
    path = jsonl([{"id": "x", "completion": "a a a a a"}, {"prompt": "p", "completion": "a b c d e"}])
    result = textgym("score", "repetition(n=2)", "--input", path, "--output", tmp_path / "out.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    assert rows_of((tmp_path / "out.jsonl").read_text()) == [
        {"id": "x", "score": 0.75, "components": {"repetition": 0.75}, "valid": True},
        {"id": 2, "score": 0.0, "components": {"repetition": 0.0}, "valid": True},
    ]


def test_without_output_the_rows_go_to_stdout_and_nothing_else_does(textgym, jsonl):
    result = textgym("score", "1 - repetition(n=1)", "--input", jsonl([{"completion": "b b"}]))
    assert rows_of(result.stdout) == [{"id": 1, "score": 0.5, "components": {"repetition": 0.5}, "valid": True}]
    assert result.stderr == ""


def test_a_score_that_is_not_applicable_is_null_and_not_valid(textgym, jsonl):
    path = jsonl([{"completion": "yes"}, {"completion": "yes", "references": ["yes"]}])
    none, one = rows_of(textgym("score", "exact_match + 0*length", "-i", path).stdout)
    assert none == {"id": 1, "score": None, "components": {"exact_match": None, "length": 1.0}, "valid": False}
    assert (one["score"], one["valid"]) == (1.0, True)


def test_a_row_scores_the_same_in_whatever_company(textgym, jsonl):
    chinese, english = {"completion": "一一二"}, {"completion": "one one two three four five six"}
    alone = [rows_of(textgym("score", "repetition(n=1)", "-i", jsonl([row])).stdout)[0] for row in (chinese, english)]
    many = rows_of(textgym("score", "repetition(n=1)", "-i", jsonl([english] * 300 + [chinese] + [english])).stdout)
    assert [many[300]["score"], many[301]["score"]] == [row["score"] for row in alone] == [1 / 3, 1 / 7]
    assert [row["id"] for row in many] == list(range(1, 303))


def test_standard_input_blank_lines_and_a_byte_order_mark_are_taken(textgym):
    text = '\ufeff{"completion": "a"}\n\n{"completion": "a a"}\n'
    result = textgym("score", "length", "-i", "-", input=text)
    assert [(row["id"], row["score"]) for row in rows_of(result.stdout)] == [(1, 1.0), (3, 2.0)]


def test_scorers_that_need_a_task_take_it_from_a_corpus(textgym, jsonl, tiny_corpus):
    path = jsonl(
        [{"prompt": "The old", "completion": " king saw the river at night."}, {"completion": "river king the a."}]
    )
    result = textgym("score", "standard(fluency)", "-i", path, "--corpus", tiny_corpus)
    text, salad = rows_of(result.stdout)
    assert text["score"] > salad["score"] + 1, "an n-gram model of the corpus tells its language from word salad"
    assert set(text["components"]) == {"fluency"}


def test_a_scorer_without_the_task_it_needs_says_how_to_name_one(textgym, jsonl):
    result = textgym("score", "fluency - repetition", "-i", jsonl([{"completion": "a"}]))
    assert result.exit_code == 1
    assert "needs language model" in result.stderr and "--corpus FILE" in result.stderr


def test_a_typo_in_the_expression_is_underlined(textgym, jsonl):
    result = textgym("score", "0.5*fluencey + coherence", "-i", jsonl([{"completion": "a"}]))
    assert result.exit_code == 1
    assert result.stderr == (
        "error: unknown scorer 'fluencey'\n"
        "    0.5*fluencey + coherence\n"
        "        ^^^^^^^^\n"
        "    Did you mean 'fluency'?  All scorers: textgym list scorers\n"
    )


BAD_LINES = [
    ('{"completion": "x"', "no JSON"),
    ("[1]", "an object is expected, not list"),
    ('{"text": "x"}', "no 'completion'"),
    ('{"completion": 3}', "'completion' must be text, not int"),
    ('{"completion": "x", "references": "y"}', "'references' must be a list of texts"),
    ('{"completion": "x", "prompt": ["y"]}', "'prompt' must be text, not list"),
    ('{"completion": "x", "id": NaN}', "NaN is no JSON number"),
    ('{"completion": "x", "id": 1e999}', "1e999 is too large a number"),
    ("[" * 100_000, "nested too deeply"),
    (b'{"completion": "\xe9"}', "it is not UTF-8"),
]


@pytest.fixture
def with_bad_lines(tmp_path):
    """Every kind of bad line, each after two good ones; the path."""
    lines = [line if isinstance(line, bytes) else line.encode() for line, _ in BAD_LINES]
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join(b'{"completion": "a b"}\n\n{"completion": "c"}\n' + line + b"\n" for line in lines))
    return path


def test_bad_lines_are_reported_by_number_and_the_others_are_scored(textgym, with_bad_lines):
    result = textgym("score", "length", "-i", with_bad_lines)
    assert result.exit_code == 3
    rows = rows_of(result.stdout)
    assert [row["score"] for row in rows] == [2.0, 1.0, None] * len(BAD_LINES)
    for place, (_, complaint) in enumerate(BAD_LINES, start=1):
        row = rows[3 * place - 1]
        assert complaint in row["error"] and row["id"] == 4 * place
        assert (row["valid"], row["components"]) == (False, {})
        assert f"warning: {with_bad_lines}, line {4 * place}: {row['error']}" in result.stderr
    assert "error" not in rows[0]
    assert result.stderr.splitlines()[-1] == f"warning: {len(BAD_LINES)} of 30 lines could not be scored"


def test_after_ten_bad_lines_the_rest_is_counted(textgym, jsonl):
    path = jsonl([{"id": f"row {i}", "completion": i} for i in range(1000)])
    result = textgym("score", "length", "-i", path)
    said = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in said[:10]] == [f"{path}, line {i}" for i in range(1, 11)]
    assert said[10:] == [
        "warning: further lines like this are only counted",
        "warning: 1,000 of 1,000 lines could not be scored",
    ]
    assert [row["id"] for row in rows_of(result.stdout)] == [f"row {i}" for i in range(1000)]


@pytest.mark.parametrize(("line", "complaint"), BAD_LINES)
def test_a_strict_run_stops_at_the_first_bad_line_and_names_it(textgym, tmp_path, line, complaint):
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    line = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(b'{"completion": "good"}\n' * 30 + line + b"\n[2]\n")
    result = textgym("score", "length", "-i", path, "-o", output, "--strict")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {path}, line 31: ") and complaint in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"], "neither an output nor a temporary file is left"


def test_a_failure_leaves_an_earlier_output_as_it_was(textgym, tmp_path, jsonl):
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    path = jsonl([{"completion": 1}])
    assert textgym("score", "length", "-i", path, "-o", output, "--strict").exit_code == 1
    assert output.read_text() == "precious"


def test_missing_empty_and_wrong_files_are_told_apart(textgym, tmp_path, jsonl):
    jsonl([{"completion": "a"}], name="texts.jsonl")
    (tmp_path / "empty.jsonl").touch()
    said = {name: textgym("score", "length", "-i", tmp_path / name) for name in ("text.jsonl", "empty.jsonl", "")}
    assert {result.exit_code for result in said.values()} == {1}
    assert "no such file" in said["text.jsonl"].stderr and "Did you mean 'texts.jsonl'?" in said["text.jsonl"].stderr
    assert "is empty" in said["empty.jsonl"].stderr
    assert "is a folder; give a file" in said[""].stderr


def test_an_output_that_cannot_be_written_is_said_before_scoring(textgym, tmp_path, jsonl):
    path = jsonl([{"completion": "a"}])
    assert "cannot be written" in textgym("score", "length", "-i", path, "-o", tmp_path / "no" / "out.jsonl").stderr
    assert "is a folder" in textgym("score", "length", "-i", path, "-o", tmp_path).stderr


def test_a_text_that_the_scorer_fails_on_keeps_its_place_and_costs_no_other_its_score(textgym, tmp_path, jsonl):
    (tmp_path / "mine.py").write_text("def f(completion):\n    return 1 / (len(completion) - 3)\n")
    path = jsonl([{"completion": "two" if i in (7, 300) else "four"} for i in range(600)])
    result = textgym("score", f"{tmp_path}/mine.py:f", "-i", path)
    rows = rows_of(result.stdout)
    assert result.exit_code == 3
    assert [i for i, row in enumerate(rows) if row["score"] != 1.0] == [7, 300]
    assert rows[7]["error"] == rows[300]["error"] == "ZeroDivisionError: division by zero"
    assert f"{path}, line 8: ZeroDivisionError: division by zero" in result.stderr and "'two'" in result.stderr
    strict = textgym("score", f"{tmp_path}/mine.py:f", "-i", path, "--strict")
    assert strict.exit_code == 1 and f"error: {path}, line 8: ZeroDivisionError" in strict.stderr


def test_a_score_that_is_no_number_is_a_failure_of_its_line(textgym, tmp_path, jsonl):
    (tmp_path / "mine.py").write_text("def f(completion):\n    return float(completion)\n")
    result = textgym("score", f"{tmp_path}/mine.py:f", "-i", jsonl([{"completion": "nan"}, {"completion": "1"}]))
    bad, good = rows_of(result.stdout)
    assert result.exit_code == 3 and good["score"] == 1.0
    assert (bad["score"], bad["valid"]) == (None, False) and bad["error"].endswith(" is nan")


def test_a_measure_of_the_whole_file_that_fails_fails_the_command(textgym, tmp_path, jsonl):
    (tmp_path / "mine.py").write_text("def f(completion):\n    return 1 / len(completion)\n")
    result = textgym("score", f"rank(call('{tmp_path}/mine.py:f'))", "-i", jsonl([{"completion": ""}] * 2))
    assert result.exit_code == 1 and "lines 1 to 2: ZeroDivisionError" in result.stderr


def test_other_keys_of_a_row_are_metadata(textgym, jsonl):
    path = jsonl(
        [{"completion": "the dog", "concepts": ["dog", "cat"]}, {"completion": "a", "metadata": {"concepts": "a"}}]
    )
    assert [row["score"] for row in rows_of(textgym("score", "keywords", "-i", path).stdout)] == [0.5, 1.0]


def test_debug_shows_the_traceback_wherever_it_stands_and_is_quiet_otherwise(textgym, jsonl):
    path = jsonl([{"completion": 1}])
    assert "Traceback" not in textgym("score", "length", "-i", path, "--strict").stderr
    for arguments in (["--debug", "score", "length", "-i", path], ["score", "length", "-i", path, "--debug"]):
        assert "Traceback" in textgym(*arguments, "--strict").stderr


def test_texts_that_no_terminal_could_show_survive(textgym, jsonl, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "\\ud800", "completion": "\\u001b[31m\\u0000"}\n')
    (row,) = rows_of(textgym("score", "length", "-i", path).stdout)
    assert row["id"] == "\ud800"


def test_a_closed_pipe_is_silent(textgym_process, jsonl):
    path = jsonl([{"completion": "a b c"}] * 20_000)
    process = textgym_process("score", "length", "-i", path)
    assert json.loads(process.stdout.readline())["score"] == 3.0
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(30) != 0
    process.stderr.close()


LIGHT = """
import sys
from textgym.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "sklearn", "stable_baselines3", "transformers", "matplotlib"} & {*sys.modules}
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["train", "--help"], ["score", "repetition + distinct", "-i"]], ids=" ".join
)
def test_light_commands_load_no_heavy_library(jsonl, arguments):
    path = [str(jsonl([{"completion": "a"}]))] if arguments[-1] == "-i" else []
    command = [sys.executable, "-c", LIGHT, *arguments, *path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_stories_may_be_typed_as_people_type(textgym, jsonl):
    brief = "kitchen barn mill tower | sam kitchen, ann barn, blue knife sam, red cup mill, grey coin barn"
    stories = ["sam was in the kitchen. he had the blue knife. the end.", " sam was in the kitchen . the end ."]
    path = jsonl([{"prompt": brief, "completion": story} for story in stories])
    result = textgym("score", "gold.information + gold.grammar", "--task", "story", "--input", path)
    assert result.exit_code == 0, result.stderr
    scores = [json.loads(line)["score"] for line in result.stdout.splitlines()]
    assert scores == pytest.approx([1 + 3 / 8, 1 + 1 / 8])
