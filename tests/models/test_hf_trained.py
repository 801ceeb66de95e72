"""Models of Hugging Face that were trained for seconds on the story world tell its stories from shuffled words."""

import hf_samples
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from transformers import AutoTokenizer, BertForMaskedLM, GPT2LMHeadModel

from textgym.envs.taskless import TasklessContext
from textgym.envs.tasks import make_task
from textgym.scorers import parse

pytestmark = pytest.mark.slow

CLS, SEP, MASK = 2, 3, 4
"""Of the BERT of `hf_samples`."""


@pytest.fixture(scope="module")
def stories():
    """Training and held-out stories of the world."""
    task = make_task("story")
    train, heldout = (
        [task.tokenizer.decode(prompts.reference(i)).strip() for i in range(number)]
        for prompts, number in ((task.train, 1500), (task.heldout, 100))
    )
    return train, heldout


def train(network, tokenizer, texts, loss_of, *, steps, rows, length):
    """A few hundred steps on pieces of the texts; the weights begin small again."""
    torch.manual_seed(0)
    for weight in network.parameters():
        weight.data.div_(6.0 if weight.ndim > 1 else 1.0)  # what hf_samples.spread did
    rng = np.random.default_rng(0)
    ids = np.concatenate([tokenizer(text, add_special_tokens=False).input_ids for text in texts])
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = rng.integers(len(ids) - length, size=rows)
        pieces = torch.from_numpy(np.stack([ids[start : start + length] for start in starts]).astype(np.int64))
        optimiser.zero_grad()
        loss_of(network, pieces, rng).backward()
        optimiser.step()
    return network


def causal_loss(network, rows, rng):
    return network(rows, labels=rows).loss


def masked_loss(network, rows, rng):
    rows = torch.nn.functional.pad(torch.nn.functional.pad(rows, (1, 0), value=CLS), (0, 1), value=SEP)
    hidden = torch.from_numpy(rng.random(rows.shape) < 0.25) & (rows > MASK)
    return network(torch.where(hidden, MASK, rows), labels=torch.where(hidden, rows, -100)).loss


def auc(spec, texts):
    """How surely a real story outscores one whose words were shuffled."""
    rng = np.random.default_rng(1)
    shuffled = [" ".join(rng.permutation(text.split())) for text in texts]
    scores = parse(spec).score_texts([*texts, *shuffled], context=TasklessContext())
    return roc_auc_score([1] * len(texts) + [0] * len(texts), scores)


def test_a_small_gpt2_finds_real_stories_more_fluent(stories, tmp_path):
    texts, heldout = stories
    folder = hf_samples.gpt2(tmp_path / "gpt2", texts[:300], size=400, positions=128)
    before = auc(f"fluency(lm='hf:{folder}')", heldout[:40])
    tokenizer, network = AutoTokenizer.from_pretrained(folder), GPT2LMHeadModel.from_pretrained(folder)
    train(network, tokenizer, texts, causal_loss, steps=300, rows=32, length=64)
    hf_samples.keep(folder, network, tokenizer)
    assert before < 0.8
    assert auc(f"fluency(lm='hf:{folder}')", heldout) >= 0.9


def test_a_small_bert_finds_that_the_words_of_real_stories_fit(stories, tmp_path, monkeypatch):
    texts, heldout = stories
    monkeypatch.setitem(
        hf_samples.WIDTH, "bert", hf_samples.WIDTH["bert"] | {"hidden_size": 64, "intermediate_size": 128}
    )
    folder = hf_samples.bert(tmp_path / "bert", texts[:300], positions=128)
    openings = [" ".join(text.split()[:10]) for text in heldout]  # it learned the positions of short pieces only
    before = auc(f"pseudo_fluency(model='hf:{folder}')", openings)
    tokenizer, network = AutoTokenizer.from_pretrained(folder), BertForMaskedLM.from_pretrained(folder)
    train(network, tokenizer, texts, masked_loss, steps=800, rows=96, length=12)
    hf_samples.keep(folder, network, tokenizer)
    assert before < 0.8
    assert auc(f"pseudo_fluency(model='hf:{folder}')", openings) >= 0.9
