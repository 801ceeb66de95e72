"""The docstrings of the standard library, as prose."""

import re
import sysconfig
import warnings
from pathlib import Path

import pytest

from textgym.errors import CorpusError
from textgym.text import docstrings
from textgym.text.corpora import Corpus, open_corpus
from textgym.text.docstrings import prose


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return open_corpus("docstrings").load()


def test_there_is_enough_text(corpus: Corpus) -> None:
    assert sum(map(len, corpus.documents)) > 400_000
    assert len(corpus.documents) > 150


def test_every_line_is_made_of_whole_english_sentences(corpus: Corpus) -> None:
    lines = [line for document in corpus.documents for line in document.split("\n")]
    assert not [
        line for line in lines if not re.match(r"[\"'(`]*[A-Z]", line) or not re.search(r"[.!?][\"')`]*$", line)
    ]
    assert not [line for line in lines if ">>>" in line or "->" in line or "  " in line]
    text = " ".join(lines)
    assert sum(character.isalpha() or character.isspace() for character in text) > 0.93 * len(text)


def test_no_paragraph_appears_twice(corpus: Corpus) -> None:
    lines = [line for document in corpus.documents for line in document.split("\n")]
    assert len(set(lines)) == len(lines)


def test_the_same_python_gives_the_same_fingerprint() -> None:
    first, second = open_corpus("docstrings"), open_corpus("docstrings")
    assert first.fingerprint == second.fingerprint


def test_code_lists_tables_and_signatures_are_dropped() -> None:
    docstring = """partition(sep, /) -> tuple

    Cut the string at the first
    occurrence of a sepa-
    rator. For example:

        >>> "a,b".partition(",")
        ('a', ',', 'b')

    sep -- what to look for
    :param sep: what to look for

    - one item
    - another item

    name        meaning of it.
    other       another meaning.

    The result has three parts (see above).  x = y.
    """
    assert prose(docstring) == [
        "Cut the string at the first occurrence of a sepa-rator.",
        "The result has three parts (see above).",
    ]


def test_only_docstrings_are_read_in_the_order_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "skipped.py").write_text('"""This is a test module."""')
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "module.py").write_text(
        '"""The module comes first."""\n'
        "if True:\n"
        "    def f():\n"
        '        """The function comes second."""\n'
        '        x = "This is no docstring."\n'
        "class C:\n"
        '    """The class comes third.\\d"""\n'  # an invalid escape must not warn
        "    async def g(self):\n"
        '        """The method comes fourth."""\n'
        "def again():\n"
        '    """The module comes first.\n\n    This paragraph is new."""\n'
    )
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (document,) = docstrings.read_docstrings()
    assert (
        document
        == "The module comes first.\nThe function comes second.\nThe method comes fourth.\nThis paragraph is new."
    )


def test_a_python_without_sources_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match="corpus of your own"):
        open_corpus("docstrings").load()
