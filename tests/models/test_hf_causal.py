"""Causal models of Hugging Face: equal to a direct computation, whatever the batch, the length, the tokenizer."""

import json
import shutil

import hf_samples
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from textgym.envs.taskless import TasklessContext
from textgym.errors import CheckpointError, MissingExtraError, ScorerError
from textgym.models.hf_causal import CausalLM
from textgym.models.hf_files import open_saved
from textgym.models.hf_logits import windows
from textgym.models.text_models import load_text_model
from textgym.scorers import parse
from textgym.scorers.plain import batch_of_texts
from textgym.testing.models import check_language_model
from textgym.testing.scorers import check_scorer
from textgym.text.hugging_face import open_hugging_face
from textgym.text.tokenizers import train_tokenizer
from textgym.types import TextBatch, TextLanguageModel

PROMPTS = ["The cat", "", "Every clever queen ", "x", "A dog"]
TEXTS = [" sat on the mat.", "The cat slept.", "followed the river", "", " ran and ran 🦊 é"]
ENDED = [True, False, True, True, False]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return hf_samples.gpt2(tmp_path_factory.mktemp("hf") / "gpt2")


@pytest.fixture(scope="session")
def model(folder):
    return load_text_model(TextLanguageModel, f"hf:{folder}")


@pytest.fixture
def forwards(model, monkeypatch):
    """How often the network runs."""
    calls = []
    model._memo._values.clear()
    hook = model.network.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    hook.remove()


def direct(folder, prompt, text, ended):
    """One text, token by token, by transformers alone."""
    network = GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(prompt + text, return_offsets_mapping=True, add_special_tokens=False)
    ids = [0, *encoded.input_ids, *[0] * (ended or not text)]
    with torch.no_grad():
        table = network(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    first = sum(end <= len(prompt) for _, end in encoded.offset_mapping)
    return [float(table[place - 1, ids[place]]) for place in range(first + 1, len(ids))]


def test_logprobs_are_those_of_a_direct_computation(folder, model):
    rows = model.text_logprobs(PROMPTS, TEXTS, ENDED)
    for prompt, text, ended, (values, ends) in zip(PROMPTS, TEXTS, ENDED, rows, strict=True):
        assert values == pytest.approx(direct(folder, prompt, text, ended), abs=1e-5)
        assert values.std() > 0.1 or len(values) < 2  # the weights make a difference
        assert len(ends) == len(values)
        assert (np.diff(ends) >= 0).all()
        assert ends[-1] == len(text) + (ended or not text)
        assert ends[0] > 0


def test_a_token_that_begins_in_the_prompt_and_ends_in_the_completion_counts_whole(folder, model):
    [(values, ends)] = model.text_logprobs(["The "], ["cat"], [False])
    [(apart, _)] = model.text_logprobs(["The"], [" cat"], [False])
    assert values.tolist() == apart.tolist()
    assert ends[-1] == 3


def test_a_row_does_not_depend_on_its_batch(folder, model):
    together = model.text_logprobs(PROMPTS, TEXTS, ENDED)
    again = CausalLM(open_saved(str(folder)))
    for place in reversed(range(len(TEXTS))):
        [(values, ends)] = again.text_logprobs(PROMPTS[place : place + 1], TEXTS[place : place + 1], [ENDED[place]])
        assert values == pytest.approx(together[place][0], abs=1e-5)
        assert ends.tolist() == together[place][1].tolist()


def test_a_long_text_is_read_in_windows_that_overlap_by_half(tmp_path):
    folder = hf_samples.gpt2(tmp_path / "short", positions=16)
    model = load_text_model(TextLanguageModel, f"hf:{folder}")
    text = "The cat sat on the mat. A dog ran and ran; unhappily it found nothing. " * 3
    [(values, _)] = model.text_logprobs(["The"], [" " + text], [True])
    tokenizer, network = AutoTokenizer.from_pretrained(folder), GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = [0, *tokenizer("The " + text, add_special_tokens=False).input_ids, 0]
    expected = []
    for place in range(1, len(ids)):  # the earliest window of the grid 0, 8, 16 ... that predicts the token
        begin = max(0, -(-(place - 16) // 8) * 8)
        with torch.no_grad():
            logits = network(torch.tensor([ids[begin:place]])).logits[0, -1].double()
        expected.append(float(logits.log_softmax(-1)[ids[place]]))
    assert len(ids) > 60
    assert values == pytest.approx(expected[len(expected) - len(values) :], abs=1e-5)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 23, 40])
@pytest.mark.parametrize("first", [1, 5, 8, 9, 22, 40])
def test_windows_answer_for_each_token_once_from_half_a_window_or_more(length, first):
    answered = []
    for begin, end, asked in windows(length, 8, first):
        assert 0 < end - begin <= 8
        assert all(t - begin > 4 or begin == 0 for t in range(asked, end + 1))
        answered += range(asked, end + 1)
    assert answered == list(range(first, length + 1))


def test_all_that_ask_of_one_batch_share_one_forward(model, forwards, folder):
    spec = f"fluency(lm='hf:{folder}')"
    context = TasklessContext()
    context._text_models.known[TextLanguageModel, f"hf:{folder}"] = model
    batch = batch_of_texts(TEXTS, PROMPTS)
    parse(spec).bind(context).score(batch)
    assert len(forwards) == 1
    several = parse(
        f"{spec} + fluency(lm='hf:{folder}', form='perplexity') + informativeness(lm='hf:{folder}')"
        f" + slor(lm='hf:{folder}', unigram='hf:{folder}')"
    )
    several.bind(context).score(batch)
    assert len(forwards) == 1
    parse(f"{spec} + pmi(lm='hf:{folder}')").bind(context).score(batch)
    assert len(forwards) == 2  # without the prompts


def test_an_empty_batch_and_texts_that_are_equal_run_nothing_twice(model, forwards):
    assert model.text_logprobs([], [], []) == []
    rows = model.text_logprobs(["a"] * 3, ["b"] * 3, [True] * 3)
    assert len(forwards) == 1
    assert rows[0][0].tolist() == rows[1][0].tolist() == rows[2][0].tolist()


def test_the_scorers_keep_the_laws_with_no_task_and_with_one(folder, model):
    context = TasklessContext()
    context._text_models.known[TextLanguageModel, f"hf:{folder}"] = model
    batch = batch_of_texts(TEXTS, PROMPTS)
    names = [f"{name}(lm='hf:{folder}')" for name in ("fluency", "informativeness", "pmi")]
    for name in [*names, f"fluency(lm='hf:{folder}', form='sum')"]:
        bound = parse(name).bind(context)
        scores = bound.score(batch)
        lengths = [len(ids) > 0 for ids in batch.completions]
        assert scores.tokens.sum(axis=1)[lengths] == pytest.approx(scores.values[lengths], abs=1e-9)
        alone = [bound.score(batch.row(row)).values[0] for row in range(len(batch))]
        assert scores.values == pytest.approx(alone, abs=1e-5)
        assert bound.signature == parse(name).bind(context).signature
        assert model.signature in bound.signature


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_contributions_go_to_the_tokens_of_the_task_by_characters(model, kind):
    class Context(TasklessContext):
        tokenizer = train_tokenizer(kind, hf_samples.TEXTS * 20, {"char": 60, "bpe": 300, "word": 60}[kind])
        signature = "a task"

        def references(self):
            ids = [self.tokenizer.encode(text) for text in hf_samples.TEXTS]
            eos = np.array([self.tokenizer.eos_id], dtype=np.int32)
            return TextBatch([ids[0][:2]] * 3, [np.concatenate([row, eos]) for row in ids], self.tokenizer)

    context = Context()
    context._text_models.known[TextLanguageModel, "hf:x"] = model
    check_scorer(parse("fluency(lm='hf:x')"), context, tolerance=1e-5)
    batch = context.references()
    scores = parse("fluency(lm='hf:x', form='sum')").bind(context).score(batch)
    rows = model.text_logprobs(batch.prompt_texts, batch.completion_texts, [True] * 3)
    for row, (values, _) in enumerate(rows):
        assert scores.tokens[row, len(batch.completions[row]) - 1] == pytest.approx(values[-1])  # EOS goes to EOS
        assert scores.values[row] == pytest.approx(values.sum())


class OwnTokens(TasklessContext):
    """A task whose tokens are the model's."""

    def __init__(self, folder, model):
        super().__init__()
        self.tokenizer = open_hugging_face(folder)
        self._text_models.known[TextLanguageModel, "hf:x"] = model


def test_a_task_with_the_models_tokens_uses_its_ids(folder, model):
    context = OwnTokens(folder, model)
    over = model.over(context.tokenizer)
    ids = [context.tokenizer.encode(text) for text in TEXTS]
    check_language_model(over, ids, tolerance=1e-5)
    eos = np.array([context.tokenizer.eos_id], dtype=np.int32)
    rows = [np.concatenate([row, eos]) if ended else row for row, ended in zip(ids, ENDED, strict=True)]
    batch = TextBatch([context.tokenizer.encode(p.strip()) for p in PROMPTS], rows, context.tokenizer)
    scores = parse("fluency(lm='hf:x')").bind(context).score(batch)
    told = over.logprobs(batch.prompts, [row if len(row) else eos for row in rows])
    for row, ids_of_row in enumerate(rows):
        assert scores.tokens[row, : len(ids_of_row)] * max(len(ids_of_row), 1) == pytest.approx(
            told[row, : len(ids_of_row)]
        )
    by_text = model.text_logprobs(batch.prompt_texts, batch.completion_texts, ENDED)
    same = [len(values) == len(row) for (values, _), row in zip(by_text, rows, strict=True)]
    assert sum(same) >= 3
    for row in np.flatnonzero(same):
        assert told[row, : len(rows[row])] == pytest.approx(by_text[row][0], abs=1e-5)
    assert model.over(train_tokenizer("char", TEXTS * 20, 60)) is None


def test_the_signature_is_of_the_content(folder, model, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert load_text_model(TextLanguageModel, f"hf:{copy}").signature == model.signature
    other = hf_samples.gpt2(tmp_path / "other", seed=1)
    assert load_text_model(TextLanguageModel, f"hf:{other}").signature != model.signature


def test_no_weights_but_safetensors_are_read_and_no_code_of_the_folder(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    state = GPT2LMHeadModel.from_pretrained(folder).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_text_model(TextLanguageModel, f"hf:{copy}")
    coded = shutil.copytree(folder, tmp_path / "coded")
    config = json.loads((coded / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (coded / "config.json").write_text(json.dumps(config))
    (coded / "mine.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(CheckpointError):
        load_text_model(TextLanguageModel, f"hf:{coded}")


def test_what_is_no_causal_model_says_what_to_write(folder, tmp_path, monkeypatch):
    masked = hf_samples.bert(tmp_path / "bert")
    with pytest.raises(CheckpointError, match=r"pseudo_fluency\(model='hf:"):
        load_text_model(TextLanguageModel, f"hf:{masked}")
    with pytest.raises(CheckpointError, match="no model folder"):
        load_text_model(TextLanguageModel, "hf:/no/such/folder")
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot load the model"):
        load_text_model(TextLanguageModel, f"hf:{damaged}")
    monkeypatch.setenv("TEXTGYM_DEVICE", "gpu")
    with pytest.raises(CheckpointError, match="TEXTGYM_DEVICE='gpu'"):
        load_text_model(TextLanguageModel, f"hf:{folder}")


def test_a_name_that_cannot_be_downloaded_says_so(monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(CheckpointError, match=r"could not be downloaded from the hub \(no route\).*hf:FOLDER"):
        load_text_model(TextLanguageModel, "hf:no/such-model")


def test_without_transformers_the_extra_is_named(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"textgym\[hf\]"):
        load_text_model(TextLanguageModel, f"hf:{folder}")


def test_without_a_context_the_scorer_asks_for_one():
    with pytest.raises(ScorerError, match="context"):
        parse("fluency(lm='hf:x')").score_texts(["a"])
