"""Corpora: how files become documents, and what is said of files that cannot."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CorpusError, UnknownNameError
from textgym.text.corpora import Corpus, open_corpus


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def documents(path: Path, field: str | None = None) -> list[str]:
    return list(open_corpus(path, field).load().documents)


def test_blank_lines_separate_the_documents_of_a_text_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeff\n one\r\ntwo\r\n\r\n \t\r\nthree\n\n\n")
    assert documents(path) == [" one\ntwo", "three"]


def test_a_single_block_is_cut_into_runs_of_twenty_lines(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(45)]
    found = documents(write(tmp_path / "a.txt", "\n".join(lines)))
    assert [len(document.split("\n")) for document in found] == [20, 20, 5]
    assert "\n".join(found).split("\n") == lines


def test_a_few_sentences_on_one_line_still_make_two_documents(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "a.txt", "One. Two. Three.")) == ["One. Two. ", "Three."]


def test_each_text_file_of_a_folder_is_a_document(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "second\n\nstill second")
    write(tmp_path / "a.txt", "first")
    write(tmp_path / "c.md", "not text")
    source = open_corpus(tmp_path)
    assert list(source.load().documents) == ["first", "second\n\nstill second"]
    assert source.name == tmp_path.name


def test_rows_of_one_document_in_sequence_are_joined(tmp_path: Path) -> None:
    rows = 'document_id,text\na,"One, two."\na,Three.\nb,Four.\nb,\na,Five.\n'
    assert documents(write(tmp_path / "a.csv", rows), "text") == ["One, two. Three.", "Four.", "Five."]
    assert documents(write(tmp_path / "a.tsv", rows.replace(",", "\t").replace('"One\t two."', "One")), "text") == [
        *("One Three.", "Four.", "Five."),
    ]


def test_chinese_rows_are_joined_without_a_blank(tmp_path: Path) -> None:
    rows = [{"doc_id": 1, "text": "床前明月光，"}, {"doc_id": 1, "text": "疑是地上霜。"}]
    assert documents(write(tmp_path / "a.json", json.dumps(rows))) == ["床前明月光，疑是地上霜。"]


def test_without_a_document_column_each_row_is_one(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "a.csv", 'n,text\n1,a cat\n2,"two\nlines"\n3,\n')) == ["a cat", "two\nlines"]


def test_a_cell_longer_than_the_csv_librarys_limit_is_read(tmp_path: Path) -> None:
    long = "word " * 50_000
    assert documents(write(tmp_path / "a.csv", f"text,n\n{long},1\n")) == [long]


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"data": rows, "version": 1}])
def test_json_fields_may_be_text_or_lists_of_lines(tmp_path: Path, wrap) -> None:
    rows = [{"id": "x1", "lines": ["one two", "three four"]}, {"id": "x2", "lines": "five six"}, {"id": "x3"}]
    path = write(tmp_path / "a.json", json.dumps(wrap(rows)))
    assert documents(path) == documents(path, "lines") == ["one two\nthree four", "five six"]


def test_json_lines_and_lists_of_plain_strings(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "a.jsonl", '{"t": "a b"}\n\n{"t": "c d", "n": 1}\n')) == ["a b", "c d"]
    assert documents(write(tmp_path / "a.json", '["a b", "c d"]')) == ["a b", "c d"]


def test_a_field_that_is_not_clear_or_not_there_lists_the_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"title": "An old tale", "text": "Once upon a time", "year": 1812}))
    with pytest.raises(CorpusError, match=r"2 fields look like text.*--field.*title, text"):
        open_corpus(path).load()
    with pytest.raises(CorpusError, match=r"Did you mean 'title'.*title, text, year"):
        open_corpus(path, "titel").load()
    numbers = write(tmp_path / "b.csv", "x,y\n1,2\n")
    with pytest.raises(CorpusError, match=r"no field looks like text.*x, y"):
        open_corpus(numbers).load()


def test_bytes_that_are_no_utf8_name_file_line_and_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "gb.txt", b"first\n" + "明月".encode("gb18030"))
    with pytest.raises(CorpusError, match=r"gb\.txt, line 2: .*iconv"):
        open_corpus(path).load()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "empty"),
        ("a.txt", " \n\n", "empty or blank"),
        ("a.csv", "", "empty"),
        ("a.csv", "text\n", "no rows"),
        ("a.csv", 'text\n" "\n""\n', "no field looks like text"),
        ("a.json", "[{]", "line 1, column 3"),
        ("a.json", "[]", "no rows"),
        ("a.json", "3", "list of objects"),
        ("a.json", "[[1]]", "item 1"),
        ("a.jsonl", '{"t": "a b"}\n{"t": ', "line 2"),
        ("a.jsonl", '{"t": "a b"}\n7', "line 2: expected an object"),
        ("a.jsonl", '{"t": "a b"}\n{"t": "c d"}\n{"t": {"deep": 1}}', "record 3: .*found dict"),
    ],
)
def test_ill_formed_files_say_what_is_wrong_and_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(CorpusError, match=message) as caught:
        open_corpus(path).load()
    assert str(path) in str(caught.value)


def test_names_and_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'docstrings'"):
        open_corpus("docstring")
    with pytest.raises(CorpusError, match="there is no file"):
        open_corpus(tmp_path / "none.txt")
    with pytest.raises(CorpusError, match=r"\.jsonl"):
        open_corpus(write(tmp_path / "a.pdf", "x"))
    with pytest.raises(CorpusError, match="no file that can be read"):
        (tmp_path / "empty").mkdir()
        open_corpus(tmp_path / "empty")
    with pytest.raises(CorpusError, match="has no fields"):
        open_corpus("docstrings", "text")
    with pytest.raises(CorpusError, match="has no fields"):
        open_corpus(write(tmp_path / "a.txt", "x"), "text")


def test_the_fingerprint_follows_bytes_and_field_and_needs_no_parsing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "not json at all")
    first = open_corpus(path).fingerprint
    assert first == open_corpus(path).fingerprint
    assert first != open_corpus(path, "text").fingerprint
    write(path, "not json at all!")
    assert first != open_corpus(path).fingerprint


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_signatures_are_equal_iff_the_documents_are(left: list[str], right: list[str]) -> None:
    assert (Corpus("x", left).signature == Corpus("x", right).signature) == (left == right)
