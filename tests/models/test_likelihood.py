import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from textgym.models import likelihood
from textgym.models.likelihood import action_likelihood
from textgym.models.masks import PackedMasks, forbid, pack
from textgym.models.transformer import Transformer, TransformerConfig

V, C, N = 37, 8, 50


def make_model(banned=(0, 1), seed=0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(TransformerConfig(V, 4, n_layer=1, n_head=1, n_embd=C, banned=banned))
    torch.nn.init.normal_(model.wte.weight)  # at their usual size all tokens are as good as equally likely
    return model


def some_masks(seed=0, share=0.5) -> np.ndarray:
    masks = np.random.default_rng(seed).random((N, V)) < share
    masks[:, 5] = True
    return masks


def measured(model, hidden, actions, masks):
    """Values, and the gradients of a loss that weighs every row of both differently."""
    hidden = hidden.clone().requires_grad_()
    model.zero_grad()
    logp, entropy = action_likelihood(model, hidden, actions, masks)
    weights = torch.linspace(-1, 2, len(hidden))
    (logp @ weights + entropy @ weights.flip(0).square()).backward()
    return logp.detach(), entropy.detach(), hidden.grad, model.wte.weight.grad.clone()


@pytest.fixture
def chunked(monkeypatch):
    """Chunks of 7 rows, whatever the size."""
    monkeypatch.setattr(likelihood, "CHUNK_ROWS", 1)
    monkeypatch.setattr(likelihood, "CHUNK", 7 * V)

    def switch(on: bool) -> None:
        monkeypatch.setattr(likelihood, "WHOLE", 0 if on else 10**9)

    return switch


@pytest.mark.parametrize("kind", ["no masks", "bools", "bits"])
def test_chunks_give_the_values_and_gradients_of_one_piece(chunked, kind):
    model, hidden, actions = make_model(), torch.randn(N, C), torch.randint(2, V, (N,))
    bools = some_masks() | (np.arange(V) == actions[:, None].numpy())
    masks = {"no masks": None, "bools": torch.tensor(bools), "bits": PackedMasks(torch.tensor(pack(bools)), V)}[kind]
    results = []
    for on in (False, True):
        chunked(on)
        results.append(measured(model, hidden, actions, masks))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)
    assert results[0][3].abs().max() > 0.1


def test_both_ways_equal_torchs_categorical_over_the_allowed_tokens(chunked):
    model, hidden, masks = make_model(banned=()), torch.randn(N, C), some_masks(share=0.2)
    actions = torch.tensor([np.flatnonzero(row)[-1] for row in masks])
    expected = []
    for row, allowed, action in zip(model.logits(hidden).detach().double(), masks, actions.tolist(), strict=True):
        kept = torch.distributions.Categorical(logits=row[torch.tensor(allowed)])
        expected.append((kept.log_prob(torch.tensor(allowed[:action].sum())), kept.entropy()))
    for on in (False, True):
        chunked(on)
        ours = action_likelihood(model, hidden, actions, torch.tensor(masks))
        torch.testing.assert_close(torch.stack(ours, 1).detach().double(), torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_a_large_vocabulary_is_scored_in_chunks_that_never_hold_all_logits(monkeypatch):
    sizes = []
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args: sizes.append(args[1:]) or plain(*args))
    model = Transformer(TransformerConfig(50_257, 4, n_layer=1, n_head=1, n_embd=2))
    hidden = torch.randn(150, 2, requires_grad=True)
    action_likelihood(model, hidden, torch.arange(150))[0].sum().backward()
    assert sizes == 2 * [(64, 50_257)]  # once forward, once backward
    sizes.clear()
    action_likelihood(make_model(), torch.randn(N, C), torch.arange(N) % V)
    assert sizes == []  # a small one in one piece


def test_without_gradient_nothing_is_kept(chunked):
    chunked(True)
    model = make_model().requires_grad_(False)
    logp, _ = action_likelihood(model, torch.randn(N, C), torch.randint(0, V, (N,)))
    assert not logp.requires_grad


@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 40))),
    st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_bits_give_the_masks_back(masks, begin):
    rows, vocabulary = masks.shape
    packed = PackedMasks(torch.tensor(pack(masks)), vocabulary)
    assert packed.bits.shape == (rows, -(-vocabulary // 8)) and len(packed) == rows
    np.testing.assert_array_equal(packed.unpack().numpy(), masks)
    np.testing.assert_array_equal(packed[begin:].unpack().numpy(), masks[begin:])


def test_where_the_model_bans_all_that_is_allowed_the_mask_wins():
    model, mask = make_model(banned=(3, 4)), torch.zeros(1, V, dtype=torch.bool)
    mask[0, [3, 4]] = True
    probabilities = forbid(model.logits(torch.randn(1, C)), mask).softmax(-1)[0]
    assert probabilities[[3, 4]].tolist() == [0.5, 0.5] and probabilities.sum() == 1
