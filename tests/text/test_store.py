"""The store: a hit is free, damage costs a refit, and nothing that goes wrong with a disk goes wrong with an answer."""

import errno
import logging
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from textgym.text import store as store_module
from textgym.text.store import ArrayStore, default_cache_dir, pack_texts, unpack_texts, write_atomic
from textgym.types import Arrays

ARRAYS = {"counts": np.arange(6).reshape(2, 3), "scale": np.array(0.5), "none": np.zeros((0, 4), np.int32)}


def never() -> Arrays:
    raise AssertionError("made again although it was stored")


def same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(
        left[k].dtype == right[k].dtype and left[k].shape == right[k].shape and np.array_equal(left[k], right[k])
        for k in left
    )


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_hit_in_memory_or_on_disk_does_not_make_again(tmp_path: Path) -> None:
    first = ArrayStore(tmp_path)
    assert same(first.fetch("ngram", "key", lambda: ARRAYS), ARRAYS)
    assert same(first.fetch("ngram", "key", never), ARRAYS)
    assert same(ArrayStore(tmp_path).fetch("ngram", "key", never), ARRAYS)
    assert only_file(tmp_path).name.startswith("ngram-")


def test_another_key_or_kind_is_made_anew(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    for number, (kind, key) in enumerate([("a", "x"), ("a", "y"), ("b", "x")]):
        made = store.fetch(kind, key, lambda n=number: {"n": np.array([n])})
        assert made["n"] == number
    assert len(list(tmp_path.iterdir())) == 3


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("abc/_.", min_size=1, max_size=5),
        hnp.arrays(
            st.sampled_from([np.int32, np.int64, np.float64, np.float32, np.uint8, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=4,
    )
)
def test_arrays_come_back_bit_for_bit_with_type_and_shape(arrays: Arrays) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ArrayStore(Path(folder)).fetch("any", "key", lambda: arrays)
        back = ArrayStore(Path(folder)).fetch("any", "key", never)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


def test_arrays_that_are_not_contiguous_are_stored_as_they_read(tmp_path: Path) -> None:
    transposed = np.arange(12).reshape(3, 4).T
    ArrayStore(tmp_path).fetch("any", "key", lambda: {"t": transposed})
    assert np.array_equal(ArrayStore(tmp_path).fetch("any", "key", never)["t"], transposed)


def test_what_comes_out_cannot_be_changed_whether_made_or_loaded(tmp_path: Path) -> None:
    for store in (ArrayStore(None), ArrayStore(tmp_path), ArrayStore(tmp_path)):
        arrays = store.fetch("any", "key", lambda: {"a": np.arange(3)})
        with pytest.raises(ValueError, match="read-only"):
            arrays["a"][0] = 9
        arrays.clear()
        assert store.fetch("any", "key", never)["a"][0] == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"not safetensors at all",
        lambda data: data[:-8] + bytes(8),
        lambda data: bytes(len(data)),
    ],
    ids=["half", "one byte short", "empty", "foreign", "zeros at the end", "all zeros"],
)
def test_a_damaged_file_is_made_again_and_healed(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {"a": np.arange(1, 100)}
    ArrayStore(tmp_path).fetch("any", "key", lambda: arrays)
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    made = []
    with caplog.at_level(logging.WARNING, "textgym"):
        again = ArrayStore(tmp_path).fetch("any", "key", lambda: made.append(1) or arrays)
    assert made == [1] and same(again, arrays)
    assert len(caplog.records) == 1 and "damaged" in caplog.text
    assert same(ArrayStore(tmp_path).fetch("any", "key", never), arrays)


def test_a_file_of_another_key_under_this_name_is_not_believed(tmp_path: Path) -> None:
    ArrayStore(tmp_path).fetch("any", "one", lambda: {"a": np.array([1])})
    one = only_file(tmp_path)
    ArrayStore(tmp_path).fetch("any", "two", lambda: {"a": np.array([2])})
    (two,) = set(tmp_path.iterdir()) - {one}
    two.write_bytes(one.read_bytes())
    assert ArrayStore(tmp_path).fetch("any", "two", lambda: {"a": np.array([2])})["a"] == 2


def test_a_file_in_place_of_the_folder_costs_one_line_and_memory_takes_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    store = ArrayStore(blocked)
    with caplog.at_level(logging.WARNING, "textgym"):
        for key in ("one", "two"):
            assert same(store.fetch("any", key, lambda: ARRAYS), ARRAYS)
            assert same(store.fetch("any", key, never), ARRAYS)
    assert len(caplog.records) == 1 and "TEXTGYM_CACHE" in caplog.text
    assert blocked.read_text() == "in the way"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_read_only_or_full_disk_costs_one_line_and_memory_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(Path, "replace", refuse)
    store = ArrayStore(tmp_path / "cache")
    with caplog.at_level(logging.WARNING, "textgym"):
        for key in ("one", "two"):
            assert same(store.fetch("any", key, lambda: ARRAYS), ARRAYS)
            assert same(store.fetch("any", key, never), ARRAYS)
    assert len(caplog.records) == 1
    assert not list((tmp_path / "cache").iterdir()), "a partial file was left"


def test_an_unreadable_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ArrayStore(tmp_path).fetch("any", "key", lambda: ARRAYS)

    def refuse(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert same(ArrayStore(tmp_path).fetch("any", "key", lambda: ARRAYS), ARRAYS)


def test_an_interrupted_write_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_atomic(target, b"old")

    def interrupt(self: Path, place: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old" and only_file(tmp_path) == target


def test_an_error_while_making_is_passed_on_and_nothing_is_stored(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    with pytest.raises(AssertionError, match="made again"):
        store.fetch("any", "key", never)
    assert not list(tmp_path.iterdir())
    assert same(store.fetch("any", "key", lambda: ARRAYS), ARRAYS)


def test_the_note_is_logged_only_while_something_is_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "textgym"):
        for _ in range(2):
            ArrayStore(tmp_path).fetch("any", "key", lambda: ARRAYS, "fitting ngram:4 on docstrings")
    assert [record.getMessage() for record in caplog.records] == ["fitting ngram:4 on docstrings"]


def test_a_kind_that_is_no_file_name_is_refused() -> None:
    with pytest.raises(ValueError, match="names a file"):
        ArrayStore(None).fetch("../evil", "key", never)


def _slowly() -> Arrays:
    time.sleep(0.3)
    return {"a": np.arange(200_000)}


def _fetch_in_process(folder: str, barrier, results) -> None:
    barrier.wait()
    arrays = ArrayStore(Path(folder)).fetch("any", "key", _slowly)
    results.put(int(arrays["a"].sum()))


def test_two_processes_at_once_both_get_the_right_arrays(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_fetch_in_process, args=(str(tmp_path), barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sums == [sum(range(200_000))] * 2
    assert only_file(tmp_path).suffix == ".safetensors"
    assert ArrayStore(tmp_path).fetch("any", "key", never)["a"][-1] == 199_999


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters()), max_size=8))
def test_packed_texts_come_back(texts: list[str]) -> None:
    assert unpack_texts(pack_texts(texts)) == texts


def test_the_cache_folder_is_the_variable_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEXTGYM_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("TEXTGYM_CACHE")
    assert default_cache_dir() == Path(store_module.platformdirs.user_cache_dir("textgym", appauthor=False))


def test_the_text_room_loads_no_torch_no_sklearn_and_tokenizers_only_when_needed() -> None:
    code = (
        "import sys, textgym.text as t\n"
        "t.ArrayStore(None).fetch('a', 'k', lambda: {})\n"
        "heavy = {'torch', 'sklearn', 'transformers', 'tokenizers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "t.train_tokenizer('bpe', ['a b'], 300)\n"
        "assert 'tokenizers' in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
