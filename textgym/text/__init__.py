"""Text and its tokens: tokenizers, corpora, sentences, prompts, and the store of what is fitted on them."""

from textgym.text.corpora import Corpus, CorpusSource, open_corpus
from textgym.text.hugging_face import HuggingFaceTokenizer, open_hugging_face
from textgym.text.prompt_files import PromptFile, PromptRecord, open_prompts
from textgym.text.prompt_sets import RecordSet, build_record_sets
from textgym.text.prompts import PromptSet, build_prompts
from textgym.text.sentences import sentences, split_units, words
from textgym.text.store import ArrayStore, default_cache_dir
from textgym.text.tokenizers import (
    BPETokenizer,
    CharTokenizer,
    WordTokenizer,
    load_tokenizer,
    open_tokenizer,
    save_tokenizer,
    tokenizer_from_json,
    tokenizer_to_json,
    train_tokenizer,
)

__all__ = [
    "ArrayStore",
    "BPETokenizer",
    "CharTokenizer",
    "Corpus",
    "CorpusSource",
    "HuggingFaceTokenizer",
    "PromptFile",
    "PromptRecord",
    "PromptSet",
    "RecordSet",
    "WordTokenizer",
    "build_prompts",
    "build_record_sets",
    "default_cache_dir",
    "load_tokenizer",
    "open_corpus",
    "open_hugging_face",
    "open_prompts",
    "open_tokenizer",
    "save_tokenizer",
    "sentences",
    "split_units",
    "tokenizer_from_json",
    "tokenizer_to_json",
    "train_tokenizer",
    "words",
]
