"""The text room on real files: sizes, and passages verbatim from the documents."""

from pathlib import Path

import numpy as np
import pytest

from textgym.testing.tokenizers import check_tokenizer
from textgym.text.corpora import Corpus, open_corpus
from textgym.text.prompts import build_prompts, split_documents
from textgym.text.tokenizers import train_tokenizer

FILES = {
    "tang": ("chinese_poetry/poet.tang.0.json", "paragraphs", 1000, "char"),
    "fairytales": ("fairytales/sentence_level_train.csv", "text", 230, "bpe"),
    "shakespeare": ("tinyshakespeare/input.txt", None, 7222, "bpe"),
}
USED = {"tang": 1000, "fairytales": 50, "shakespeare": 1000}  # documents, so that the test stays short


@pytest.mark.parametrize("name", list(FILES))
def test_a_real_corpus_becomes_passages_that_stand_in_it(name: str, data: Path) -> None:
    file, field, documents, kind = FILES[name]
    corpus = open_corpus(data / file, field).load()
    assert len(corpus.documents) == documents
    corpus = Corpus(corpus.name, corpus.documents[: min(documents, USED[name])])
    split = split_documents(corpus)
    tokenizer = train_tokenizer("auto", [corpus.documents[i] for i in split["train"]], 1024)
    assert tokenizer.kind == kind
    check_tokenizer(tokenizer, [corpus.documents[0][:500]])

    sets = build_prompts(corpus, tokenizer, max_new_tokens=48)
    assert len(sets["train"]) > 5 * len(sets["heldout"]) > 0
    rng = np.random.default_rng(0)
    for prompts in sets.values():
        for i in rng.integers(len(prompts), size=100).tolist():
            ids = np.concatenate([prompts.prompt(i), prompts.reference(i)])
            if tokenizer.unk_id not in ids and prompts.ended[i]:
                assert tokenizer.decode(ids) in corpus.documents[int(prompts.document[i])]
    tiles = sets["heldout"].tiling()
    tokens = sum(len(prompts.prompt(i)) + len(prompts.reference(i)) - prompts.ended[i] for i in tiles.tolist())
    whole = sum(len(tokenizer.encode(corpus.documents[i])) for i in split["heldout"])
    assert 0.9 * whole < tokens < 1.1 * whole
