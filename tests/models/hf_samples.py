"""Small models of Hugging Face with random weights, each in a folder as `save_pretrained` leaves it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLNetConfig,
    XLNetForSequenceClassification,
    XLNetLMHeadModel,
)
from transformers.utils import logging

logging.disable_progress_bar()

TEXTS = [
    "The cat sat on the mat. The cat slept.",
    "A dog ran and ran; unhappily it found nothing.",
    "Every clever queen followed the river to the castle at night.",
]
WIDTH: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "llama": {
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
        "num_key_value_heads": 2,
    },
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
}


def byte_level(texts: Sequence[str], specials: Sequence[str], size: int = 320) -> Tokenizer:
    """As GPT-2 and RoBERTa have it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*texts] * 5, trainer)
    return made


def word_piece(texts: Sequence[str], size: int = 120) -> Tokenizer:
    """As BERT has it."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        [*texts] * 5, trainers.WordPieceTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def sentence_piece(texts: Sequence[str], size: int = 120) -> Tokenizer:
    """As XLNet has it."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    specials = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=specials, unk_token="<unk>", show_progress=False)
    made.train_from_iterator([*texts] * 5, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="$A <sep> <cls>:2", special_tokens=[("<sep>", 4), ("<cls>", 3)]
    )
    return made


def wrapped(tokenizer: Tokenizer, **settings: Any) -> PreTrainedTokenizerFast:
    """With the names of its special tokens."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)


def keep(folder: Path, network: Any, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Saves both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def gpt2(folder: Path, texts: Sequence[str] = TEXTS, *, positions: int = 64, size: int = 320, seed: int = 0) -> Path:
    """A causal language model."""
    tokenizer = wrapped(
        byte_level(texts, ["<|endoftext|>"], size), bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=positions, bos_token_id=0, eos_token_id=0, **WIDTH["gpt2"]
    )
    network = GPT2LMHeadModel(config)
    return keep(folder, spread(network), tokenizer)


def llama(folder: Path, texts: Sequence[str] = TEXTS, *, positions: int = 64, size: int = 320, seed: int = 0) -> Path:
    """A causal language model whose heads share keys and values."""
    tokenizer = wrapped(
        byte_level(texts, ["<|endoftext|>"], size), bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    torch.manual_seed(seed)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "max_position_embeddings": positions}
    config = LlamaConfig(vocab_size=len(tokenizer), **ids, **WIDTH["llama"])
    return keep(folder, spread(LlamaForCausalLM(config)), tokenizer)


def bert(folder: Path, texts: Sequence[str] = TEXTS, *, positions: int = 64, seed: int = 0) -> Path:
    """A masked language model."""
    tokenizer = _of_bert(texts)
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=positions, **WIDTH["bert"])
    return keep(folder, spread(BertForMaskedLM(config)), tokenizer)


def roberta(folder: Path, texts: Sequence[str] = TEXTS, *, positions: int = 66, seed: int = 0) -> Path:
    """A masked language model that counts its positions from 2 on."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    roles = ("bos", "pad", "eos", "unk", "mask")
    settings = {f"{role}_token": name for role, name in zip(roles, names, strict=True)}
    tokenizer = wrapped(byte_level(texts, names), cls_token="<s>", sep_token="</s>", **settings)
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=positions, pad_token_id=1, **WIDTH["bert"]
    )
    return keep(folder, spread(RobertaForMaskedLM(config)), tokenizer)


def xlnet(folder: Path, texts: Sequence[str] = TEXTS, *, seed: int = 0) -> Path:
    """A permutation language model."""
    tokenizer = _of_xlnet(texts)
    torch.manual_seed(seed)
    config = XLNetConfig(vocab_size=len(tokenizer), pad_token_id=5, **WIDTH["xlnet"])
    return keep(folder, spread(XLNetLMHeadModel(config)), tokenizer)


def classifier(folder: Path, kind: str, labels: Sequence[str] | None, *, several: bool = False, seed: int = 0) -> Path:
    """A sequence classifier.

    Args:
        folder: where to.
        kind: "bert", "gpt2" or "xlnet".
        labels: names of its classes; None leaves them LABEL_0 and so on.
        several: whether a text may belong to several classes.
        seed: of the weights.
    """
    names = {} if labels is None else {"id2label": dict(enumerate(labels)), "num_labels": len(labels)}
    names |= {"problem_type": "multi_label_classification"} if several else {}
    torch.manual_seed(seed)
    if kind == "bert":
        tokenizer: Any = _of_bert(TEXTS)
        config: Any = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **WIDTH["bert"], **names)
        network: Any = BertForSequenceClassification(config)
    elif kind == "gpt2":
        tokenizer = wrapped(byte_level(TEXTS, ["<|endoftext|>"]), eos_token="<|endoftext|>")
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=64, bos_token_id=0, eos_token_id=0, **WIDTH["gpt2"], **names
        )
        network = GPT2ForSequenceClassification(config)
    else:
        tokenizer = _of_xlnet(TEXTS)
        config = XLNetConfig(vocab_size=len(tokenizer), pad_token_id=5, **WIDTH["xlnet"], **names)
        network = XLNetForSequenceClassification(config)
    return keep(folder, spread(network), tokenizer)


def spread(network: Any) -> Any:
    """Weights far enough from 0 that what a token is makes a difference."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and "norm" not in name.lower():
                weight.mul_(6.0)
    return network


def _of_bert(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return wrapped(
        word_piece(texts),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{role}_token": name for role, name in names.items()},
    )


def _of_xlnet(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    names = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "cls": "<cls>", "sep": "<sep>", "pad": "<pad>"}
    return wrapped(
        sentence_piece(texts),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        padding_side="left",
        mask_token="<mask>",
        **{f"{role}_token": name for role, name in names.items()},
    )
