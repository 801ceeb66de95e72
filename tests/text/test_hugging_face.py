"""Tokenizers of Hugging Face: their ids, our contract; what is lossy is refused."""

import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

from textgym.envs.tasks import make_task
from textgym.errors import MissingExtraError, TokenizerError, UnknownNameError
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint
from textgym.testing import check_tokenizer
from textgym.text import hugging_face
from textgym.text.hugging_face import HuggingFaceTokenizer, open_hugging_face
from textgym.text.tokenizers import load_tokenizer, open_tokenizer, save_tokenizer

TEXTS = [
    "The cat sat on the mat, and the dog sat on the cat.",
    "There was once a cat. 明月幾時有？",
    "a <|endoftext|> b",
]


def byte_level(special: tuple[str, ...] = ("<|endoftext|>",), add_prefix_space: bool = False) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def sentencepiece(byte_fallback: bool = True) -> tokenizers.Tokenizer:
    """As Llama 2 has it: blanks are ▁, one of them before the text, and bytes for what is not in the vocabulary."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *"▁abcdehinorst.T",
        "▁t",
        "▁th",
        "at",
    ]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    merges = [("▁", "t"), ("▁t", "h"), ("a", "t")]
    made = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback)
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    return made


def word_piece() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=500,
        special_tokens=["[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=[chr(i) for i in range(33, 127)],
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def opened(made: tokenizers.Tokenizer, folder: Path, name: str = "tokenizer.json") -> HuggingFaceTokenizer:
    made.save(str(folder / name))
    return open_hugging_face(folder / name)


def test_a_byte_level_bpe_keeps_the_contract(tmp_path):
    check_tokenizer(opened(byte_level(), tmp_path), TEXTS)


def test_ids_are_the_original_ones_and_missing_reserved_ids_stand_behind_them(tmp_path):
    made = byte_level()
    ours = opened(made, tmp_path)
    for text in TEXTS[:2]:
        assert ours.encode(text).tolist() == made.encode(text, add_special_tokens=False).ids
    size = made.get_vocab_size()
    assert ours.eos_id == made.token_to_id("<|endoftext|>") == 0
    assert (ours.sep_id, ours.unk_id, ours.vocab_size) == (size, size + 1, size + 2)
    assert [ours.token(index) for index in (ours.unk_id, ours.sep_id, ours.eos_id)] == ["<unk>", "<sep>", "<eos>"]


def test_no_text_encodes_to_a_reserved_id_whatever_it_says(tmp_path):
    ours = opened(byte_level(("<|endoftext|>", "<unk>", "<sep>")), tmp_path)
    assert {ours.unk_id, ours.sep_id, ours.eos_id} == {0, 1, 2}
    text = "<|endoftext|><sep> <unk>"
    assert ours.decode(ours.encode(text)) == text and not {0, 1, 2} & {*ours.encode(text).tolist()}


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(), max_size=40), other=st.text(max_size=20))
def test_every_text_comes_back_and_texts_join(text, other):
    ours = SAMPLES["byte level"]
    sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert ours.decode(ours.encode(text)) == sound
    assert ours.decode(np.concatenate([ours.encode(text), ours.encode(other)])) == sound + other


def from_library(made: tokenizers.Tokenizer) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_definition(json.loads(made.to_str()), {})


SAMPLES = {"byte level": from_library(byte_level()), "sentencepiece": from_library(sentencepiece())}


def test_a_blank_that_would_be_put_before_a_text_is_not(tmp_path):
    ours = opened(byte_level(add_prefix_space=True), tmp_path)
    assert ours.decode(ours.encode("cat")) == "cat"
    check_tokenizer(ours, TEXTS)


def test_sentencepiece_with_byte_fallback_keeps_the_contract():
    ours = SAMPLES["sentencepiece"]
    check_tokenizer(ours, TEXTS)
    assert (ours.unk_id, ours.eos_id, ours.sep_id) == (0, 2, 3 + 256 + 18)
    assert [ours.token(i) for i in ours.encode("the that é").tolist()] == [
        *("t", "h", "e", "␣th", "at", "␣", "<0xC3>", "<0xA9>"),
    ]
    assert ours.special_ids == (1,), "<s> stands in no text, so that nobody may choose it"


@pytest.mark.parametrize(
    "change",
    [
        {"truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}},
        {"post_processor": json.loads(sentencepiece().to_str())["post_processor"]},
        {"model": {**json.loads(byte_level().to_str())["model"], "dropout": 0.9}},
    ],
    ids=["truncation", "post-processor", "dropout"],
)
def test_what_would_change_a_text_is_switched_off(change):
    definition = json.loads(byte_level(("<|endoftext|>", "<s>")).to_str()) if "post_processor" in change else None
    definition = definition or json.loads(byte_level().to_str())
    ours = HuggingFaceTokenizer.from_definition({**definition, **change}, {})
    rows = [ours.encode(TEXTS[0]).tolist() for _ in range(5)]
    assert all(row == rows[0] for row in rows) and ours.decode(rows[0]) == TEXTS[0]


@pytest.mark.parametrize("make", [word_piece, lambda: sentencepiece(byte_fallback=True)], ids=["WordPiece", "NFKC"])
def test_a_lossy_tokenizer_is_refused_and_shows_what_it_does(make, tmp_path):
    made = make()
    if made.decoder.__class__ is decoders.Sequence:
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), made.normalizer])
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: it is not lossless: '.*' comes back as '.*'"):
        opened(made, tmp_path)


def test_a_byte_level_bpe_that_lacks_bytes_is_refused(tmp_path):
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=100, show_progress=False))
    with pytest.raises(TokenizerError, match="all 256 bytes"):
        opened(made, tmp_path)


def test_reserved_tokens_are_those_that_the_files_beside_name(tmp_path):
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"eos_token": {"content": "</done>"}, "sep_token": "</done>", "unk_token": "?none?"})
    )
    made = byte_level(("<|endoftext|>", "</done>"))
    ours = opened(made, tmp_path)
    assert ours.eos_id == made.token_to_id("</done>")
    assert len({ours.unk_id, ours.sep_id, ours.eos_id}) == 3, "one token has one role"


def test_it_is_saved_and_loaded_and_signed_by_content(tmp_path):
    ours = opened(byte_level(), tmp_path)
    save_tokenizer(ours, tmp_path / "saved.json")
    again = load_tokenizer(tmp_path / "saved.json")
    assert isinstance(again, HuggingFaceTokenizer) and again == ours and again.signature.startswith("hf:")
    check_tokenizer(again)
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert opened(byte_level(("<|endoftext|>", "<sep>")), tmp_path, "other.json") != ours


def test_a_model_folder_has_its_tokenizer_with_it(tmp_path):
    ours = opened(byte_level(), tmp_path)
    model = new_model("tiny", vocab_size=ours.vocab_size, context=8, banned=(ours.unk_id, ours.sep_id))
    save_checkpoint(tmp_path / "model", model, ours)
    (tmp_path / "tokenizer.json").unlink()
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.tokenizer == ours and checkpoint.eos_id == ours.eos_id
    assert open_tokenizer(str(tmp_path / "model" / "tokenizer.json")) == ours


def test_a_task_takes_it_and_forbids_what_no_text_is_made_of(tmp_path):
    made = byte_level()
    made.add_special_tokens(["<pad>"])
    made.add_tokens([AddedToken(" dog and", normalized=False)])
    made.save(str(tmp_path / "tokenizer.json"))
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"{text} This is text number {i}." for i in range(8) for text in TEXTS[:2]))
    task = make_task(corpus=path, tokenizer=str(tmp_path), cache_dir=tmp_path / "cache")
    assert make_task(corpus=path, tokenizer=str(tmp_path / "tokenizer.json"), cache_dir=tmp_path / "cache") is task
    from textgym.envs.textgen import TextGenEnv

    env = TextGenEnv(task=task, reward="length")
    env.reset(seed=0)
    forbidden = np.flatnonzero(~env.action_masks()).tolist()
    assert forbidden == sorted([made.token_to_id("<pad>"), task.tokenizer.sep_id, task.tokenizer.unk_id])


def test_gpt2_from_its_published_files(data):
    ours = open_tokenizer(str(data / "gpt2_bpe"))
    theirs = json.loads((data / "gpt2_bpe" / "encoder.json").read_text(encoding="utf-8"))
    assert (ours.eos_id, ours.vocab_size) == (theirs["<|endoftext|>"], len(theirs) + 2)
    assert ours.encode("Hello world").tolist() == [theirs["Hello"], theirs["Ġworld"]]
    check_tokenizer(ours, TEXTS)
    assert open_tokenizer(str(data / "gpt2_bpe" / "encoder.json")) is open_tokenizer(
        str(data / "gpt2_bpe" / "encoder.json")
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vocab.json", '{"a": 0}', "vocab.json with merges.txt beside it"),
        ("t.json", "[]", "holds a list"),
        ("t.json", '{"model": {"type": "Nothing"}}', "the tokenizers library cannot read it"),
    ],
)
def test_files_that_are_no_tokenizer_are_named(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError) as error:
        open_hugging_face(tmp_path / name)
    assert said in str(error.value) and name in str(error.value)


def fake_transformers(monkeypatch, load) -> None:
    hugging_face._from_hub.cache_clear()
    auto = types.SimpleNamespace(from_pretrained=load)
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=auto))


def test_a_name_on_the_hub_is_loaded_by_transformers(monkeypatch):
    made = byte_level(("<|endoftext|>", "<end>"))
    loaded = types.SimpleNamespace(backend_tokenizer=made, eos_token="<end>", unk_token=None, sep_token=None)
    fake_transformers(monkeypatch, {"someone/model": loaded}.__getitem__)
    ours = open_tokenizer("someone/model")
    assert ours.eos_id == made.token_to_id("<end>")
    check_tokenizer(ours)


def test_without_a_connection_the_error_says_what_to_do(monkeypatch):
    def load(name: str) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nmore")

    fake_transformers(monkeypatch, load)
    with pytest.raises(
        TokenizerError, match=r"(?s)'someone/model': We couldn't connect.*Without a connection, give a folder"
    ):
        open_tokenizer("someone/model")


def test_a_tokenizer_without_a_fast_version_is_refused(monkeypatch):
    fake_transformers(monkeypatch, lambda name: types.SimpleNamespace())
    with pytest.raises(TokenizerError, match="no fast version"):
        open_tokenizer("someone/slow")


def test_without_transformers_the_extra_is_named(monkeypatch):
    hugging_face._from_hub.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"textgym\[hf\]"):
        open_tokenizer("someone/model")


def test_a_kind_that_is_misspelt_is_not_looked_for_on_the_hub():
    with pytest.raises(UnknownNameError, match="Did you mean 'bpe'"):
        open_tokenizer("bep")
