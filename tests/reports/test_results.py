import errno
import hashlib
import json
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import TaskError
from textgym.reports.results import ROWS_FILE, Results, job_key, merge, read_rows

VERSIONS = {"textgym": "1", "numpy": "2"}


def row(seed, **found):
    job = {"design": "fluency", "seed": seed}
    return {"key": job_key(job, VERSIONS), "job": job, "versions": VERSIONS, **(found or {"facts": {"seed": seed}})}


def key_of(seed):
    return row(seed)["key"]


def filled(folder, *rows):
    results = Results(folder)
    for each in rows:
        results.append(each)
    return results


def seeds(folder):
    return [each["job"]["seed"] for each in read_rows(folder)]


# The key


def test_a_key_is_the_hash_of_the_sorted_job_and_versions():
    told = '{"job": {"beta": 0.5, "task": "story"}, "versions": {"textgym": "1"}}'
    expected = hashlib.sha256(told.encode()).hexdigest()[:16]
    assert job_key({"task": "story", "beta": 0.5}, {"textgym": "1"}) == expected


def test_what_a_job_waits_for_is_no_part_of_its_key():
    assert job_key({"seed": 1, "after": ["0" * 16]}, VERSIONS) == job_key({"seed": 1}, VERSIONS)


def test_another_version_or_setting_is_another_key():
    keys = {job_key({"a": 1}, {}), job_key({"a": 2}, {}), job_key({"a": 1}, {"v": "1"}), job_key({"b": 1}, {})}
    assert len(keys) == 4


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x"])
def test_a_job_that_is_no_json_is_refused(value):
    with pytest.raises(TaskError, match=r"a job is not JSON .* None is not known"):
        job_key({"beta": value}, {})


# Appending and reading


def test_rows_come_back_in_the_order_they_were_added(tmp_path):
    filled(tmp_path / "new" / "folder", row(2), row(0), row(1))
    assert seeds(tmp_path / "new" / "folder") == [2, 0, 1]


def test_a_line_begins_with_format_and_key(tmp_path):
    results = filled(tmp_path, {"facts": {}, **row(0)})
    assert results.path.read_text().startswith('{"format": 1, "key": "' + key_of(0) + '", ')


@settings(max_examples=30)  # each row waits for the disk
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_json_value_comes_back_as_it_was(value):
    with tempfile.TemporaryDirectory() as folder:
        results = filled(Path(folder), row(0, facts=value), row(1, facts=value))
        assert [each["facts"] for each in read_rows(Path(folder))] == [value, value]
        assert results.done == {key_of(0), key_of(1)}


def test_texts_may_hold_line_separators_and_lone_surrogates(tmp_path):
    texts = ["a\u2028b\nc\x85d", "\ud800", "故事"]
    filled(tmp_path, *(row(i, texts=[text]) for i, text in enumerate(texts)))
    assert [each["texts"] for each in read_rows(tmp_path)] == [[text] for text in texts]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1}])
def test_a_row_with_what_json_does_not_know_is_refused_and_nothing_is_written(tmp_path, bad):
    results = filled(tmp_path, row(0))
    with pytest.raises(TaskError, match=f"row of job {key_of(1)} is not JSON .*finite numbers"):
        results.append(row(1, values=[bad]))
    assert seeds(tmp_path) == [0]


@pytest.mark.parametrize("bad", [{"facts": {}}, {**row(0), "format": 2}])
def test_a_row_without_key_or_of_another_format_is_refused(tmp_path, bad):
    with pytest.raises(TaskError, match="a row of format 1 has a key, a job and versions"):
        Results(tmp_path).append(bad)


def test_a_folder_without_rows_is_told_apart_from_an_empty_file(tmp_path):
    with pytest.raises(TaskError, match=r"holds no rows\.jsonl"):
        list(read_rows(tmp_path))
    assert Results(tmp_path).done == set()
    (tmp_path / ROWS_FILE).touch()
    assert list(read_rows(tmp_path)) == []


def test_the_latest_row_of_a_job_counts_and_a_failure_never_hides_a_finished_one(tmp_path):
    filled(tmp_path, row(0, facts=1), row(1, failure="a"), row(1, failure="b"), row(0, facts=2), row(0, failure="late"))
    assert [each.get("facts", each.get("failure")) for each in read_rows(tmp_path)] == ["b", 2]


def test_failed_jobs_are_not_done(tmp_path):
    results = filled(tmp_path, row(0), row(1, failure="out of memory"), row(2, failure="a"), row(2))
    assert results.done == {key_of(0), key_of(2)}


def test_a_finished_row_that_speaks_of_failure_is_done(tmp_path):
    results = filled(tmp_path, row(0, facts={"failure": 1}), row(1, texts=['the "failure": a story']))
    assert results.done == {key_of(0), key_of(1)}


# What kills and damages leave


@pytest.mark.parametrize("cut", [2, 30, 100])
def test_a_torn_last_line_is_passed_over_and_cut_off_by_the_next_writer(tmp_path, cut):
    results = filled(tmp_path, row(0), row(1))
    results.path.write_bytes(results.path.read_bytes()[:-cut])
    assert results.done == {key_of(0)}
    assert seeds(tmp_path) == [0]
    results.append(row(2))
    assert seeds(tmp_path) == [0, 2]


def test_a_long_torn_line_is_cut_off_whole(tmp_path):
    results = filled(tmp_path, row(0))
    with results.path.open("ab") as file:
        file.write(b'{"format": 1, "values": [' + b"0.5, " * 600_000)
    results.append(row(1))
    assert [json.loads(line)["job"]["seed"] for line in results.path.read_bytes().splitlines()] == [0, 1]


def test_a_file_that_is_nothing_but_a_torn_line_begins_anew(tmp_path):
    (tmp_path / ROWS_FILE).write_bytes(b'{"format": 1, "k')
    assert list(read_rows(tmp_path)) == []
    assert seeds(filled(tmp_path, row(4)).folder) == [4]


def test_a_whole_last_row_that_lacks_its_line_break_is_kept(tmp_path):
    results = filled(tmp_path, row(0), row(1))
    results.path.write_bytes(results.path.read_bytes()[:-1])
    assert results.done == {key_of(0), key_of(1)}
    results.append(row(2))
    assert seeds(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize(
    "bad", [b"{", b"[]", b"{}", b'{"format": 1, "key": "a", "job": {}, "versions": NaN}', b"\xff", b"[" * 10**5]
)
def test_an_unreadable_line_is_named_by_file_and_number(tmp_path, bad):
    results = filled(tmp_path, row(0), row(1))
    results.path.write_bytes(results.path.read_bytes().replace(b"\n", b"\n" + bad + b"\n", 1))
    for read in (lambda: results.done, lambda: list(read_rows(tmp_path))):
        with pytest.raises(TaskError, match=r"rows\.jsonl, line 2, is no row of results"):
            read()


def test_damage_inside_a_row_is_found_when_it_is_read(tmp_path):
    results = filled(tmp_path, row(0), row(1, values=[1, 2, 3]))
    results.path.write_bytes(results.path.read_bytes().replace(b"[1, 2, 3]", b"[1, \x00, 3]"))
    with pytest.raises(TaskError, match=r"line 2, is no row"):
        list(read_rows(tmp_path))


def test_rows_of_another_format_are_refused(tmp_path):
    results = filled(tmp_path, row(0))
    results.path.write_bytes(results.path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(TaskError, match=r"line 1, is of format 2; this version of textgym reads format 1"):
        list(read_rows(tmp_path))


# Full disks


def test_a_full_disk_leaves_the_file_as_it_was_and_says_which_row(tmp_path, file_limit):
    results = filled(tmp_path, row(0), row(1))
    before = results.path.read_bytes()
    with file_limit(len(before) + 40), pytest.raises(TaskError, match=r"row 3 cannot be written to .*File too large"):
        results.append(row(2))
    assert results.path.read_bytes() == before
    results.append(row(2))
    assert seeds(tmp_path) == [0, 1, 2]


@pytest.fixture
def file_limit():
    """Files of this process cannot grow beyond so many bytes: the first write is cut short, the next one fails."""
    resource = pytest.importorskip("resource", reason="limits of a process: POSIX only")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Limit:
        def __init__(self, size):
            self.size = size

        def __enter__(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, before[1]))

        def __exit__(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return Limit


def test_a_disk_that_is_full_only_when_asked_to_keep_the_row_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    results = filled(tmp_path, row(0))
    before = results.path.read_bytes()

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TaskError, match=r"row 2 cannot be written to .*No space left on device.* make room"):
        results.append(row(1))
    assert results.path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TaskError, match=r"row 1 cannot be written to .*Not a directory|File exists"):
        Results(tmp_path / "file" / "results").append(row(0))


# Several writers


def _write(folder, first):
    for seed in range(first, first + 20):
        Results(folder).append(row(seed, values=[seed] * 20_000))


def test_two_processes_write_at_once_and_every_row_is_whole(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(tmp_path, first)) for first in (0, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(seeds(tmp_path)) == list(range(40))
    assert (tmp_path / ROWS_FILE).read_bytes().count(b"\n") == 40


def test_a_writer_waits_until_another_has_written_the_whole_row(tmp_path, monkeypatch):
    write = os.write

    def slow(file, data):
        time.sleep(0.001)
        return write(file, data[:20])

    monkeypatch.setattr(os, "write", slow)
    writers = [threading.Thread(target=Results(tmp_path).append, args=(row(seed),)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(seeds(tmp_path)) == [0, 1, 2, 3]


# Merging


def test_merging_takes_each_job_once_and_prefers_finished_rows(tmp_path):
    filled(tmp_path / "a", row(0, facts="a"), row(1, failure="a"), row(2, failure="a"))
    filled(tmp_path / "b", row(0, facts="b"), row(1, facts="b"), row(2, failure="b"), row(3))
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c") == 5
    found = {each["job"]["seed"]: each.get("facts", each.get("failure")) for each in read_rows(tmp_path / "c")}
    assert found == {0: "a", 1: "b", 2: "a", 3: {"seed": 3}}
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c") == 0


def test_merging_keeps_what_the_folder_has(tmp_path):
    filled(tmp_path / "a", row(0, facts="a"), row(1))
    filled(tmp_path / "c", row(0, facts="c"), row(2))
    assert merge([tmp_path / "a"], tmp_path / "c") == 1
    assert {each["job"]["seed"]: each["facts"] for each in read_rows(tmp_path / "c")}[0] == "c"


def test_merging_writes_nothing_where_one_folder_cannot_be_read(tmp_path):
    filled(tmp_path / "a", row(0))
    other = filled(tmp_path / "b", row(1), row(2))
    other.path.write_bytes(other.path.read_bytes().replace(b'"format": 1', b'"format": 3', 1))
    with pytest.raises(TaskError, match=r"b.rows\.jsonl, line 1, is of format 3"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


@settings(max_examples=30)  # each row waits for the disk
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=5), min_size=1, max_size=3))
def test_merging_is_a_union_in_which_finished_beats_failed(parts):
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / str(i) for i in range(len(parts))]
        for folder, part in zip(folders, parts, strict=True):
            folder.mkdir()
            (folder / ROWS_FILE).touch()
            filled(folder, *(row(seed) if ended else row(seed, failure="x") for seed, ended in part))
        merge(folders, Path(place) / "into")
        together = [entry for part in parts for entry in part]
        into = Path(place) / "into"
        found = {each["job"]["seed"]: "failure" not in each for each in (read_rows(into) if together else ())}
        assert found == {seed: (seed, True) in together for seed, _ in together}
