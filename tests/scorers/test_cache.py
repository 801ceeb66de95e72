"""The cache says what the uncached expression says, to the last bit, and asks it once; the time limit is kept."""

import builtins
import logging
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_expressions import build, text_expressions
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.envs.taskless import TasklessContext
from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers import resolve
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.scorers.reward import Reward
from textgym.testing.scorers import check_scorer


class Counting:
    """A reward function that remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, batch):
        self.asked.append(list(batch.completion_texts))
        if "bad" in batch.completion_texts:
            failure = ScoringFailure("a bad word")
            failure.row = batch.completion_texts.index("bad")
            raise failure
        return [len(text) / 7 for text in batch.completion_texts]


def score(bound, *texts, **columns):
    return bound.score(batch_of_texts(list(texts), **columns)).values.tolist()


def test_a_row_is_scored_once_and_only_the_misses_of_a_batch_are():
    function = Counting()
    bound = s.cache(resolve(function)).bind(None)
    assert score(bound, "a", "bb", "a") == [1 / 7, 2 / 7, 1 / 7]
    assert score(bound, "bb", "ccc", "a", "ccc") == [2 / 7, 3 / 7, 1 / 7, 3 / 7]
    assert function.asked == [["a", "bb"], ["ccc"]]


def test_everything_that_a_score_may_depend_on_is_part_of_the_key():
    function = Counting()
    bound = s.cache(resolve(function)).bind(None)
    for columns in (
        {},
        {"prompts": ["p"]},
        {"references": [["r"]]},
        {"references": [["r", "r"]]},
        {"metadata": [{"a": 1}]},
        {"metadata": [{"a": "1"}]},
        {"metadata": [{"a": True}]},
    ):
        score(bound, "text", **columns)
        score(bound, "text", **columns)
    assert len(function.asked) == 7


def test_the_ids_and_the_end_of_a_text_are_part_of_the_key():
    context = FakeContext()
    bound = s.cache(s.fluency(form="sum")).bind(context)
    open_end, ended = context.batch(["the cat"], ended=False), context.batch(["the cat"])
    assert bound.score(open_end).values != bound.score(ended).values


def test_metadata_that_are_no_json_are_scored_each_time():
    function = Counting()
    bound = s.cache(resolve(function)).bind(None)
    for _ in range(2):
        assert score(bound, "a", "a", metadata=[{"x": object()}] * 2) == [1 / 7, 1 / 7]
    assert function.asked == [["a", "a"]] * 2


def test_memory_keeps_what_was_asked_for_last():
    function = Counting()
    bound = s.cache(resolve(function), size=2).bind(None)
    for text in ("a", "b", "a", "c", "a", "b"):
        score(bound, text)
    assert function.asked == [["a"], ["b"], ["c"], ["b"]]


@settings(max_examples=60, deadline=None)
@given(text_expressions, st.lists(st.sampled_from(["", "a", "a a a", "b c", "c c b!"]), min_size=1, max_size=8))
def test_any_cached_expression_has_the_same_bits(drawn, texts):
    expression = build(drawn)
    if expression.set_level or expression.moving:
        return
    bound, plain = s.cache(expression).bind(None), expression.bind(None)
    for rows in (texts, texts[::-1], texts[:1], [*texts, "new"]):
        batch = batch_of_texts(rows, references=[["a", "b c"]] * len(rows))
        one, other = bound.score(batch), plain.score(batch)
        assert one.values.tobytes() == other.values.tobytes() and one.valid.tobytes() == other.valid.tobytes()
        assert (one.tokens is None) == (other.tokens is None)
        assert one.tokens is None or np.array_equal(one.tokens, other.tokens)


@pytest.mark.parametrize(
    "text", ["cache(fluency(form='sum'))", "cache(0.5*coherence + bleu)", "cache(keywords, size=1)"]
)
def test_a_cached_expression_keeps_the_laws(text):
    check_scorer(s.parse(text), FakeContext())


def test_a_cache_is_signed_as_what_it_holds():
    assert s.parse("2*cache(length + distinct)").signature == s.parse("2*(length + distinct)").signature
    assert s.cache(s.length(), size=3).to_spec() == "cache(length, size=3)"
    assert s.cache(s.length(), path="x").signature == s.length().signature


def test_values_that_are_not_finite_are_asked_for_again():
    answers = [[float("nan")], [3.0]]
    bound = s.cache(resolve(lambda batch: answers.pop(0))).bind(None)
    assert np.isnan(score(bound, "a")[0]) and score(bound, "a") == [3.0] and score(bound, "a") == [3.0]


def test_a_failure_names_the_row_of_the_whole_batch():
    context = FakeContext()
    context.tokenizer = OpenVocabulary(["cat dog bad"])
    reward = Reward(s.cache(resolve(Counting())).bind(context))
    reward.score(context.batch(["cat", "dog"]))
    with pytest.raises(ScoringFailure, match=r"(?s)failed on row 2 of 3: a bad word.*completion 'bad'"):
        reward.score(context.batch(["cat", "dog", "bad"]))


def test_a_measure_of_sets_is_refused_and_on_disk_what_has_no_text_form(tmp_path):
    with pytest.raises(ScorerError, match="a measure of a set"):
        s.cache(s.rank(s.length()))
    with pytest.raises(ScorerError, match="no name that a configuration could hold"):
        s.cache(resolve(len), path=str(tmp_path))
    with pytest.raises(ScorerError, match="no name that a configuration could hold"):
        (s.cache(resolve(len)) + 1).to_spec()


def write_scorer(folder, body="len(text) / 7"):
    file = folder / "mine.py"
    log = f"    with open({str(folder / 'log')!r}, 'a') as log:\n        log.write(text + ' ')\n"
    file.write_text(f"def score(text):\n{log}    return {body}\n")
    return file


def cached(folder, file):
    return s.parse(f"cache(call('{file}:score'), path='{folder / 'kept'}')")


def test_the_disk_keeps_scores_for_another_run_until_the_function_changes(tmp_path):
    file, context = write_scorer(tmp_path), FakeContext()
    batch = context.batch(["cat", "the mat"])
    values = [cached(tmp_path, file).bind(context).score(batch).values.tolist() for _ in range(3)]
    assert values == [[3 / 7, 1.0]] * 3
    assert (tmp_path / "log").read_text() == "cat the mat "
    write_scorer(tmp_path, "0.1")
    assert cached(tmp_path, file).bind(context).score(batch).values.tolist() == [0.1, 0.1]


def test_without_a_context_what_reads_a_file_is_not_kept_on_disk(tmp_path):
    with pytest.raises(ScorerError, match="is signed by a context, and there is none"):
        cached(tmp_path, write_scorer(tmp_path)).bind(None)
    assert cached(tmp_path, write_scorer(tmp_path)).bind(TasklessContext())


def test_token_contributions_survive_the_disk(tmp_path):
    context = FakeContext()
    batch = context.batch(["the cat sat", "red", ""])
    plain = s.fluency(form="sum").bind(context).score(batch)
    for _ in range(2):
        kept = s.cache(s.fluency(form="sum"), path=str(tmp_path)).bind(context).score(batch)
        assert kept.values.tobytes() == plain.values.tobytes() and kept.tokens.tobytes() == plain.tokens.tobytes()


def test_two_processes_share_a_folder(tmp_path):
    code = (
        "import sys; from textgym import scorers as s\n"
        "from textgym.scorers.plain import OpenVocabulary, batch_of_texts\n"
        "bound = s.cache(s.length(), path=sys.argv[1]).bind(None)\n"
        "for i in range(0, 120, 8):\n"
        "    texts = ['word ' * (j % 50) for j in range(i, i + 8)]\n"
        "    same = s.length().bind(None).score(batch_of_texts(texts)).values\n"
        "    assert (bound.score(batch_of_texts(texts)).values == same).all()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2
    assert score(s.cache(s.length(), path=str(tmp_path)).bind(None), "word word") == [2]


@pytest.mark.parametrize("damage", ["not a database", "cut", "folder is a file"])
def test_a_damaged_database_is_a_warning_and_the_scores_are_right(tmp_path, caplog, damage):
    path = tmp_path / "kept"
    if damage == "folder is a file":
        path.write_text("x")
    else:
        score(s.cache(s.length(), path=str(path)).bind(None), *(f"word {i}" for i in range(200)))
        for file in path.glob("cache.db*"):
            data = file.read_bytes()
            file.write_bytes(b"x" * 5000 if damage == "not a database" else data[: len(data) // 3])
    bound = s.cache(s.length(), path=str(path)).bind(None)
    with caplog.at_level(logging.WARNING, "textgym"):
        assert score(bound, "a", "b c") == [1, 2] and score(bound, "a", "d") == [1, 1]
    assert len(caplog.records) == 1 and "scoring goes on without it" in caplog.text


@pytest.mark.parametrize("row", ["[1]", '["x", true, null]', "[1.0, true, [null]]", "{}", "\x00garbage"])
def test_a_row_of_another_form_is_scored_anew(tmp_path, row):
    import zlib

    bound = s.cache(s.length(), path=str(tmp_path)).bind(None)
    score(bound, "a b")
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("UPDATE Cache SET value = ?", (zlib.compress(row.encode()) if row[0] != "\x00" else b"\x00",))
    database.close()
    assert score(s.cache(s.length(), path=str(tmp_path)).bind(None), "a b") == [2]


def test_a_pickled_value_is_never_loaded(tmp_path):
    import diskcache

    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    score(s.cache(s.length(), path=str(tmp_path)).bind(None), "a b")
    with diskcache.Cache(tmp_path) as other, sqlite3.connect(tmp_path / "cache.db") as database:
        (key,) = database.execute("SELECT key FROM Cache").fetchone()
        other.set("bomb", Bomb())
        mode, value = database.execute("SELECT mode, value FROM Cache WHERE key = 'bomb'").fetchone()
        database.execute("UPDATE Cache SET mode = ?, value = ? WHERE key = ?", (mode, value, key))
    database.close()
    assert score(s.cache(s.length(), path=str(tmp_path)).bind(None), "a b") == [2]


def test_without_diskcache_the_install_line_is_given(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *rest):
        if name == "diskcache":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'textgym\[cache\]'"):
        s.cache(s.length(), path=str(tmp_path)).bind(None)
    assert score(s.cache(s.length()).bind(None), "a") == [1], "memory needs no library"


def test_a_scorer_that_takes_too_long_is_an_error_at_once():
    free = threading.Event()
    bound = s.timeout(resolve(lambda text: float(free.wait(30))), seconds=0.05).bind(None)
    began = time.perf_counter()
    with pytest.raises(ScoringFailure, match=r"took more than 0\.05 s on 2 texts"):
        score(bound, "a", "b")
    assert time.perf_counter() - began < 20
    free.set()


def test_within_its_limit_a_scorer_is_as_without_one():
    assert score(s.timeout(s.length() + 1, 5).bind(None), "a b", "") == [3, 1]
    assert s.parse("timeout(length, 5)").signature == s.length().signature
    check_scorer(s.parse("timeout(fluency, 60)"), FakeContext())

    def broken(text):
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        score(s.timeout(resolve(broken), 5).bind(None), "a")
    with pytest.raises(ScorerError, match="more than 0 seconds"):
        s.timeout(s.length(), 0)
