"""Files of prompts: columns, merging, splits, and errors that say where."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CorpusError, TaskError
from textgym.text.prompt_files import open_prompts
from textgym.text.prompt_sets import RecordSet, build_record_sets
from textgym.text.prompts import PromptSet
from textgym.text.tokenizers import train_tokenizer

ROWS = [
    {"prompt": "dog ball", "references": ["A dog has a ball.", "The ball is the dog's."], "concepts": ["dog", "ball"]},
    {"prompt": "cat", "reference": "A cat.", "concepts": ["cat"], "level": 2},
    {"prompt": "sun moon", "concepts": []},
]


def written(folder: Path, rows: list[dict] | str, name: str = "p.jsonl") -> Path:
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_record_is_a_prompt_its_references_and_all_else_as_metadata(tmp_path):
    dog, cat, sun = open_prompts(written(tmp_path, ROWS)).records
    assert (dog.prompt, dog.references, dog.metadata) == (
        "dog ball",
        ("A dog has a ball.", "The ball is the dog's."),
        {"concepts": ["dog", "ball"]},
    )
    assert cat.references == ("A cat.",) and cat.metadata == {"concepts": ["cat"], "level": 2}
    assert sun.references == () and sun.number == 3


def test_csv_has_the_same_columns(tmp_path):
    text = 'prompt,references,level\ndog,"[""A dog."", ""Dogs!""]",1\ncat,[sic] a cat,2\nsun,,3\n'
    dog, cat, sun = open_prompts(written(tmp_path, text, "p.csv")).records
    assert dog.references == ("A dog.", "Dogs!") and dog.metadata == {"level": "1"}
    assert cat.references == ("[sic] a cat",) and sun.references == ()


def test_columns_of_other_names_are_named_by_field(tmp_path):
    path = written(tmp_path, "mr,ref,id\nname[A],A is here.,1\nname[B],B is there.,2\n", "p.csv")
    first, _ = open_prompts(path, "mr:ref").records
    assert (first.prompt, first.references, first.metadata) == ("name[A]", ("A is here.",), {"id": "1"})
    assert open_prompts(path, "mr").records[0].references == ()


def test_records_of_one_prompt_are_merged_and_what_is_said_twice_counts_once(tmp_path, caplog):
    rows = [("a", "one"), ("b", "two"), ("a", "three"), ("a", "one"), ("b", None)]
    path = written(tmp_path, [{"prompt": p, "reference": r} for p, r in rows])
    with caplog.at_level(logging.INFO, logger="textgym"):
        a, b = open_prompts(path).records
    assert a.references == ("one", "three") and b.references == ("two",)
    assert "2 of 5 records" in caplog.text


def test_a_split_column_is_obeyed(tmp_path):
    rows = [{"prompt": str(i), "split": split} for i, split in enumerate(("train", "Test", "validation", "train"))]
    records = open_prompts(written(tmp_path, rows)).records
    assert [record.split for record in records] == ["train", "heldout", "heldout", "train"]
    assert all(record.metadata == {} for record in records)


@given(order=st.permutations(range(40)))
@settings(max_examples=20, deadline=None)
def test_without_one_a_tenth_is_held_out_by_the_text_of_the_prompt_alone(tmp_path_factory, order):
    rows = [{"prompt": f"prompt {i}", "reference": f"answer {i}"} for i in order]
    records = open_prompts(written(tmp_path_factory.mktemp("p"), rows)).records
    heldout = {record.prompt for record in records if record.split == "heldout"}
    assert len(heldout) == 4
    again = [{"prompt": f"prompt {i}", "reference": "other"} for i in range(40)]
    others = open_prompts(written(tmp_path_factory.mktemp("p"), again)).records
    assert heldout == {record.prompt for record in others if record.split == "heldout"}


def test_a_tokenizer_learns_from_training_prompts_and_references_only(tmp_path):
    rows = [{"prompt": "p", "references": ["r", "s"], "split": "train"}, {"prompt": "q", "split": "test"}]
    assert open_prompts(written(tmp_path, rows)).training_texts() == ["p", "r", "s"]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ('{"text": "a"}\n', "p.jsonl", "no column 'prompt'; it has 'text'. Say which: field='PROMPT:REFERENCE'"),
        ('{"prompt": "a"}\n{"prompt": \n', "p.jsonl", "p.jsonl, line 2: "),
        ('{"prompt": "a"}\n["b"]\n', "p.jsonl", "p.jsonl, line 2: expected an object"),
        ('{"prompt": "a"}\n{"prompt": " "}\n', "p.jsonl", "record 2: 'prompt' is a text that is not blank, not ' '"),
        ('{"prompt": "a"}\n{"prompt": 3}\n', "p.jsonl", "record 2: 'prompt' is a text"),
        ('{"prompt": "a", "reference": 3}\n', "p.jsonl", "record 1: 'reference' holds texts"),
        ('{"prompt": "a", "id": 1}\n{"prompt": "a", "id": 2}\n', "p.jsonl", "records 1 and 2 have the same prompt 'a'"),
        ('{"prompt": "a", "split": "x"}\n', "p.jsonl", "record 1: 'split' is one of train"),
        ('{"prompt": "a", "split": "train"}\n{"prompt": "a", "split": "dev"}\n', "p.jsonl", "in both splits"),
        ('{"prompt": "a", "split": "train"}\n{"prompt": "b", "split": "train"}\n', "p.jsonl", "the heldout split"),
        ('{"prompt": "a"}\n', "p.jsonl", "has 1 prompt"),
        ("", "p.jsonl", "holds no records"),
        ("prompt,reference\n", "p.csv", "holds no records"),
        ("question,answer\na,b\n", "p.csv", "it has 'question', 'answer'"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path, text, name, said):
    with pytest.raises(CorpusError) as error:
        _ = open_prompts(written(tmp_path, text, name)).records
    assert said in str(error.value)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"there is no file .*none\.jsonl"):
        open_prompts(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match=r"\.jsonl"):
        open_prompts(written(tmp_path, "a", "p.txt"))
    path = written(tmp_path, ROWS)
    with pytest.raises(CorpusError, match="Did you mean 'prompt'"):
        _ = open_prompts(path, "promt").records


def sets(folder: Path, rows: list[dict], **limits) -> dict[str, RecordSet]:
    source = open_prompts(written(folder, rows))
    tokenizer = train_tokenizer(
        "char", [text for record in source.records for text in (record.prompt, *record.references)]
    )
    options = {"max_new_tokens": 8, "max_prompt_tokens": 10, "on_long_prompt": "skip", **limits}
    return build_record_sets(source, tokenizer, **options)


SPLIT_ROWS = [
    {"prompt": "ab", "references": ["xyz", "zyxzyxzyx", "x"], "split": "train", "k": {"deep": [1, "é"]}},
    {"prompt": "abcdefghijklm", "references": ["y"], "split": "train"},
    {"prompt": "cd", "split": "train"},
    {"prompt": "ef", "references": ["zz"], "split": "test"},
]


def test_rows_are_prompts_and_the_tiling_has_every_reference(tmp_path):
    train = sets(tmp_path, SPLIT_ROWS)["train"]
    tokenizer = train_tokenizer("char", ["abcdefghijklm xyz"])
    assert len(train) == 2 and train.prompt_lengths.tolist() == [2, 2]
    assert train.references(0, tokenizer) == ("xyz", "zyxzyxzyx", "x") and train.references(1, tokenizer) == ()
    assert train.metadata(0) == {"k": {"deep": [1, "é"]}}
    assert train.reference_lengths.tolist() == [4, 0], "with EOS, and nothing where there is no reference"
    shown = [(len(train.prompt(i)), len(train.reference(i)), bool(train.ended[i])) for i in train.tiling().tolist()]
    assert shown == [(2, 4, True), (2, 8, False), (2, 2, True)], "a long reference is cut at the budget, without EOS"
    assert train.passage(0).tolist() == train.reference(0).tolist() and train.reference(0)[-1] == 2


def test_what_the_store_keeps_is_the_set(tmp_path):
    train = sets(tmp_path, SPLIT_ROWS)["train"]
    again = RecordSet.from_arrays(train.to_arrays())
    assert isinstance(again, PromptSet) and again.metadata(0) == train.metadata(0)
    assert all(np.array_equal(again.prompt(i), train.prompt(i)) for i in range(len(train)))


def test_long_prompts_are_skipped_cut_or_refused(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="textgym"):
        assert len(sets(tmp_path, SPLIT_ROWS)["train"]) == 2
    assert "1 of 4 prompts" in caplog.text and "left out" in caplog.text
    cut = sets(tmp_path, SPLIT_ROWS, on_long_prompt="truncate")["train"]
    assert cut.prompt_lengths.tolist() == [2, 10, 2]
    with pytest.raises(TaskError, match="the longest has 13: 'abcdefghijklm'"):
        sets(tmp_path, SPLIT_ROWS, on_long_prompt="error")
    with pytest.raises(CorpusError, match="every train prompt"):
        sets(tmp_path, SPLIT_ROWS, max_prompt_tokens=1)
