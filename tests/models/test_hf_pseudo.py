"""BERT, RoBERTa and XLNet: equal to a computation token by token, whatever the batch and the length."""

import hf_samples
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForMaskedLM, RobertaForMaskedLM, XLNetLMHeadModel

from textgym.envs.taskless import TasklessContext
from textgym.errors import CheckpointError, SpecError
from textgym.models import hf_pseudo
from textgym.models.text_models import load_text_model
from textgym.scorers import parse
from textgym.scorers.plain import OpenVocabulary, batch_of_texts
from textgym.testing.scorers import ODD_TEXTS, check_scorer
from textgym.types import PseudoLanguageModel, TextBatch

PROMPTS = ["The cat", "", "Every clever queen", "A dog ran and"]
TEXTS = [" sat on the mat.", "unhappily slept; the castle's river", " followed", " 🦊 [MASK] <sep> found nothing"]
MASKED = {"bert": BertForMaskedLM, "roberta": RobertaForMaskedLM}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pseudo")
    return {kind: getattr(hf_samples, kind)(root / kind) for kind in ("bert", "roberta", "xlnet")}


@pytest.fixture(scope="session")
def models(folders):
    return {kind: load_text_model(PseudoLanguageModel, f"hf:{folder}") for kind, folder in folders.items()}


def ask(model, prompts, texts, within="word_l2r", orders=3):
    return model.pseudo_logprobs(prompts, texts, within=within, orders=orders)


def cut(folder, prompt, text):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(prompt + text, return_offsets_mapping=True, add_special_tokens=False, split_special_tokens=True)
    first = sum(end <= len(prompt) for _, end in encoded.offset_mapping) if prompt else 0
    return tokenizer, encoded.input_ids, encoded.word_ids(), first


@torch.no_grad()
def masked_one_by_one(kind, folder, prompt, text, within):
    """One copy of the text a token, each through the network alone."""
    network = MASKED[kind].from_pretrained(folder).eval()
    tokenizer, ids, words, first = cut(folder, prompt, text)
    values = []
    for target in range(first, len(ids)):
        row = list(ids)
        for place in range(target, len(ids)):
            if place == target or (within == "word_l2r" and words[place] == words[target]):
                row[place] = tokenizer.mask_token_id
        inputs = torch.tensor([[tokenizer.cls_token_id, *row, tokenizer.sep_token_id]])
        logits = network(inputs).logits[0, target + 1].double()
        values.append(float(logits.log_softmax(-1)[ids[target]]))
    return values


@pytest.mark.parametrize("within", ["word_l2r", "original"])
@pytest.mark.parametrize("kind", MASKED)
def test_a_masked_model_equals_one_copy_of_the_text_for_each_token(kind, within, folders, models):
    rows = ask(models[kind], PROMPTS, TEXTS, within)
    for prompt, text, (values, ends) in zip(PROMPTS, TEXTS, rows, strict=True):
        expected = masked_one_by_one(kind, folders[kind], prompt, text, within)
        assert values == pytest.approx(expected, abs=1e-5)
        assert len(ends) == len(values) > 0
        assert ends[-1] == len(text)
        assert (np.diff(ends) >= 0).all()


def test_the_rest_of_a_word_is_hidden_from_its_first_token_only_in_the_variant_that_says_so(models):
    [(apart, _)] = ask(models["bert"], [""], ["foundriver"], "original")
    [(hidden, _)] = ask(models["bert"], [""], ["foundriver"], "word_l2r")
    assert len(apart) > 1
    assert apart[-1] == pytest.approx(hidden[-1], abs=1e-6)  # nothing to its right
    assert abs(apart[0] - hidden[0]) > 1e-3


@torch.no_grad()
def xlnet_one_by_one(folder, prompt, text, orders):
    """One target of one order at a time: what comes later in the order is not seen, by anyone that is seen."""
    network = XLNetLMHeadModel.from_pretrained(folder).eval()
    tokenizer, ids, _, first = cut(folder, prompt, text)
    row = [*ids, tokenizer.sep_token_id, tokenizer.cls_token_id]
    values = np.zeros(len(ids) - first)
    for number in range(orders):
        order = np.random.default_rng([number, len(ids) - first]).permutation(len(ids) - first)
        for target in range(first, len(ids)):
            mask = torch.zeros(1, len(row), len(row))
            for j in range(first, len(ids)):
                mask[0, :, j] = 1.0
                for i in range(first, len(ids)):
                    mask[0, i, j] = float(order[j - first] >= order[i - first])
            mapping = torch.zeros(1, 1, len(row))
            mapping[0, 0, target] = 1.0
            told = network(
                torch.tensor([row]),
                token_type_ids=torch.tensor([[0] * (len(row) - 1) + [2]]),
                perm_mask=mask,
                target_mapping=mapping,
            )
            values[target - first] += float(told.logits[0, 0].double().log_softmax(-1)[ids[target]]) / orders
    return values


def test_xlnet_equals_one_target_of_one_order_at_a_time(folders, models):
    rows = ask(models["xlnet"], PROMPTS, TEXTS, orders=2)
    for prompt, text, (values, ends) in list(zip(PROMPTS, TEXTS, rows, strict=True))[:3]:
        expected = xlnet_one_by_one(folders["xlnet"], prompt, text, 2)
        assert values == pytest.approx(expected, abs=2e-5)
        assert len(ends) == len(values) > 0


def test_in_an_order_no_token_sees_what_is_written_after_it(models):
    """Each order is a factorisation: what the token that is written last is worth changes no other value."""
    [(values, _)] = ask(models["xlnet"], ["The cat"], [" sat on the mat"], orders=1)
    last = int(np.argmax(hf_pseudo._order(len(values), 0)))
    model = models["xlnet"]
    cuts = model.tokens.cut(["The cat"], [" sat on the mat"])
    cuts[0].ids[cuts[0].first + last] = 20
    [changed] = model._read(cuts, "original", 1)
    assert np.delete(changed, last) == pytest.approx(np.delete(values, last), abs=1e-6)
    assert abs(changed[last] - values[last]) > 1e-3


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet"])
def test_a_row_does_not_depend_on_its_batch(kind, folders, models):
    together = ask(models[kind], PROMPTS, TEXTS)
    again = hf_pseudo.load(str(folders[kind]))
    for place in reversed(range(len(TEXTS))):
        [(values, _)] = ask(again, PROMPTS[place : place + 1], TEXTS[place : place + 1])
        assert values == pytest.approx(together[place][0], abs=1e-5)
    assert again.signature == models[kind].signature


def test_a_long_text_is_read_in_windows(tmp_path, monkeypatch, folders):
    text = " The cat sat on the mat. A dog ran and ran." * 4
    short = hf_pseudo.load(str(hf_samples.bert(tmp_path / "bert", positions=18)))
    assert short.longest == 18
    [(values, _)] = ask(short, ["The"], [text])
    [whole] = short.tokens.cut(["The"], [text])
    assert len(values) == len(whole.ids) - whole.first > 40
    for target in (3, 20, len(whole.ids) - 1):
        begin = min(max(round((target - 8) / 8), 0) * 8, len(whole.ids) - 16)
        assert begin <= target < begin + 16
        part = whole.ids[begin : begin + 16]
        shown = [
            4 if begin + i >= target and whole.words[begin + i] == whole.words[target] else token
            for i, token in enumerate(part)
        ]
        with torch.no_grad():
            logits = short.network(torch.tensor([[2, *shown, 3]])).logits[0, 1 + target - begin].double()
        assert values[target - whole.first] == pytest.approx(float(logits.log_softmax(-1)[whole.ids[target]]), abs=1e-5)
    monkeypatch.setattr(hf_pseudo, "XLNET_WINDOW", 20)
    [(values, _)] = ask(hf_pseudo.load(str(folders["xlnet"])), ["The"], [text])
    assert np.isfinite(values).all()
    assert (values < 0).all()
    assert len(values) > 40


def test_the_scorer_keeps_the_laws(models, monkeypatch):
    monkeypatch.setattr("textgym.testing.scorers.LONG", 300)  # a copy of the text for each token

    class Context(TasklessContext):
        tokenizer = OpenVocabulary([*TEXTS, *PROMPTS, *ODD_TEXTS])

        def references(self):
            return batch_of_texts(TEXTS, PROMPTS, tokenizer=self.tokenizer)

    for kind in ("bert", "xlnet"):
        context = Context()
        context._text_models.known[PseudoLanguageModel, "hf:x"] = models[kind]
        check_scorer(parse("pseudo_fluency(model='hf:x', orders=2)"), context, tolerance=1e-5)
        batch = batch_of_texts([*TEXTS, ""], [*PROMPTS, "a"])
        scores = parse("pseudo_fluency(model='hf:x', form='sum')").bind(context).score(batch)
        assert scores.valid.tolist() == [True] * 4 + [False]
        assert scores.tokens.sum(axis=1) == pytest.approx(scores.values)


def test_scoring_twice_runs_the_network_once(models):
    runs = []
    hook = models["bert"].network.register_forward_hook(lambda *_: runs.append(1))
    batch = TextBatch(*([batch_of_texts(["a quiet boy"]).completions] * 2), batch_of_texts(["a quiet boy"]).tokenizer)
    context = TasklessContext()
    context._text_models.known[PseudoLanguageModel, "hf:x"] = models["bert"]
    for form in ("mean", "sum"):
        parse(f"pseudo_fluency(model='hf:x', form='{form}')").bind(context).score(batch)
    hook.remove()
    assert len(runs) == 1


def test_what_cannot_be_used_says_what_to_write(tmp_path):
    causal = hf_samples.gpt2(tmp_path / "gpt2")
    with pytest.raises(CheckpointError, match=r"write fluency\(lm='hf:"):
        load_text_model(PseudoLanguageModel, f"hf:{causal}")
    headless = hf_samples.classifier(tmp_path / "classifier", "bert", ["a", "b"])
    with pytest.raises(CheckpointError, match="answer at random"):
        load_text_model(PseudoLanguageModel, f"hf:{headless}")
    with pytest.raises(SpecError, match="orders counts"):
        parse("pseudo_fluency(model='hf:x', orders=0)")


def test_roberta_counts_its_positions_behind_the_padding_token_and_reads_that_many_fewer(models):
    assert models["roberta"].longest == 64  # of a table of 66
    [(values, _)] = ask(models["roberta"], [""], ["The cat sat on the mat. " * 12])
    assert len(values) > 64
    assert np.isfinite(values).all()
