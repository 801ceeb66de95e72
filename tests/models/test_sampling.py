import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from textgym.errors import CheckpointError, TaskError
from textgym.models.causal_network import BANNED_LOGIT
from textgym.models.sampling import Sampling, draw, generate, warp
from textgym.models.transformer import Transformer, TransformerConfig

SEP, EOS, V = 1, 2, 12


def network(context: int = 24, eos_bias: float = 0.0) -> Transformer:
    config = TransformerConfig(vocab_size=V, context=context, n_layer=2, n_head=2, n_embd=16, banned=(0, SEP))
    model = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25 * torch.randn(parameter.shape, generator=generator))
        model.banned_bias[EOS] += eos_bias
    return model


def prompts(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, V, n).astype(np.int32) for n in lengths]


def complete(model, given, *, tokens=10, **settings):
    return generate(model, given, sep_id=SEP, eos_id=EOS, max_new_tokens=tokens, **settings)


logit_rows = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=30).map(torch.tensor)


SETTINGS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=1.6, top_k=4),
    Sampling(top_p=0.6),
    Sampling(temperature=0.8, top_k=6, top_p=0.7),
    Sampling(temperature=0.0),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_logprobs_are_those_of_the_sampled_distribution_computed_without_a_cache(sampling):
    model, given = network(), prompts([3, 0, 5, 1, 5, 2])
    result = complete(model, given, sampling=sampling, seed=3)
    for prompt, ids, logprobs in zip(given, result.ids, result.logprobs, strict=True):
        assert ids.dtype == np.int32 and logprobs.dtype == np.float64 and len(ids) == len(logprobs) > 0
        for t, (token, logprob) in enumerate(zip(ids, logprobs, strict=True)):
            prefix = torch.tensor([[*prompt.tolist(), SEP, *ids[:t].tolist()]])
            expected = by_hand(model.logits(model(prefix))[0, -1], sampling)[token]
            assert logprob == pytest.approx(np.log(expected), abs=2e-5)


def by_hand(logits: torch.Tensor, sampling: Sampling) -> np.ndarray:
    """The sampled distribution with a sort and a loop."""
    z = logits.detach().double().numpy()
    if sampling.temperature == 0:
        return np.eye(len(z))[z.argmax()]
    p = np.exp((z - z.max()) / sampling.temperature)
    order = np.argsort(-p, kind="stable")[: sampling.top_k]
    p /= p[order].sum()
    kept, mass = [], 0.0
    for i in order:
        if mass >= (sampling.top_p or 1):
            break
        kept.append(i)
        mass += p[i]
    result = np.zeros(len(z))
    result[kept] = p[kept] / p[kept].sum()
    return result


@pytest.mark.parametrize("sampling", [s for s in SETTINGS if s.temperature], ids=str)
def test_frequencies_follow_the_exact_probabilities(sampling):
    model, count = network(), 6000
    prompt = prompts([4])[0]
    first = [ids[0] for ids in complete(model, [prompt] * count, tokens=1, sampling=sampling, seed=11).ids]
    expected = by_hand(model.logits(model(torch.tensor([[*prompt.tolist(), SEP]])))[0, -1], sampling)
    observed = np.bincount(first, minlength=V)
    assert (observed[expected == 0] == 0).all()
    assert (expected > 0).sum() >= 2
    assert chisquare(observed[expected > 0], count * expected[expected > 0]).pvalue > 0.01


def test_greedy_takes_the_likeliest_token_with_certainty():
    model, given = network(), prompts([3, 6])
    result = complete(model, given, sampling=Sampling(temperature=0.0))
    for prompt, ids, logprobs in zip(given, result.ids, result.logprobs, strict=True):
        text = torch.tensor([[*prompt.tolist(), SEP, *ids.tolist()]])
        likeliest = model.logits(model(text))[0].argmax(-1)
        assert ids.tolist() == likeliest[len(prompt) : -1].tolist()
        assert (logprobs == 0).all()


def test_completions_end_with_their_first_eos_or_with_the_budget():
    result = complete(network(eos_bias=1.5), prompts([3] * 200), seed=1)
    lengths = {len(ids) for ids in result.ids}
    assert {1, 2, 3, 10} <= lengths <= set(range(1, 11))
    for ids in result.ids:
        assert EOS not in ids[:-1] and (ids[-1] == EOS or len(ids) == 10)
        assert not np.isin(ids, (0, SEP)).any()


def test_the_same_seed_gives_the_same_tokens_whatever_was_drawn_before():
    model, given = network(), prompts([2, 4, 3])
    first = complete(model, given, seed=5)
    torch.rand(7)
    np.random.default_rng(0).random(3)
    complete(model, given, seed=6)
    again = complete(model, given, seed=5)
    assert [ids.tolist() for ids in first.ids] == [ids.tolist() for ids in again.ids]
    assert all((a == b).all() for a, b in zip(first.logprobs, again.logprobs, strict=True))
    other = complete(model, given, seed=6)
    assert [ids.tolist() for ids in first.ids] != [ids.tolist() for ids in other.ids]


def test_torchs_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    complete(network(), prompts([2]), seed=5)
    torch.manual_seed(0)
    fresh = torch.get_rng_state()
    model = network()
    state = torch.get_rng_state()
    complete(model, prompts([2]), seed=5)
    assert torch.equal(torch.get_rng_state(), state) and not torch.equal(before, fresh)


def test_a_generator_goes_on_from_where_it_stands():
    model, given = network(), prompts([2, 4, 3])
    generator = torch.Generator().manual_seed(5)
    first, second = complete(model, given, seed=generator), complete(model, given, seed=generator)
    assert [ids.tolist() for ids in first.ids] == [ids.tolist() for ids in complete(model, given, seed=5).ids]
    assert [ids.tolist() for ids in first.ids] != [ids.tolist() for ids in second.ids]


def test_neither_the_batch_size_nor_dropped_rows_change_a_draw():
    model, given = network(eos_bias=1.5), prompts([1, 5, 2, 2, 7, 0, 3] * 8)
    whole = complete(model, given, seed=2)
    for batch_rows in (1, 5):
        split = complete(model, given, seed=2, batch_rows=batch_rows)
        assert [ids.tolist() for ids in whole.ids] == [ids.tolist() for ids in split.ids]
        for a, b in zip(whole.logprobs, split.logprobs, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_no_prompts_give_no_completions():
    result = complete(network(), [])
    assert result.ids == [] and result.logprobs == []


def test_settings_that_change_nothing_give_the_very_same_logits_back():
    logits = torch.randn(3, V, generator=torch.Generator().manual_seed(0))
    assert warp(logits, Sampling()) is logits
    assert warp(logits, Sampling(top_p=1.0)) is logits
    assert warp(logits, Sampling(top_k=V)) is logits
    assert warp(logits, Sampling(top_k=V + 5)) is logits


def test_top_p_keeps_the_hand_computed_sets():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    for p, kept in [(0.05, 1), (0.5 - 1e-6, 1), (0.6, 2), (0.8 + 1e-6, 3), (0.951, 4)]:
        assert (warp(logits, Sampling(top_p=p)) > BANNED_LOGIT).tolist() == [i < kept for i in range(4)]
    renormalised = warp(logits, Sampling(top_k=2)).softmax(-1)
    torch.testing.assert_close(renormalised, torch.tensor([0.625, 0.375, 0.0, 0.0]))


def test_temperature_divides_the_logits():
    logits = torch.randn(5, V, generator=torch.Generator().manual_seed(0))
    expected = (logits / 0.3).softmax(-1)
    torch.testing.assert_close(warp(logits, Sampling(temperature=0.3)).softmax(-1), expected)


def test_top_k_keeps_k_tokens_even_where_they_tie():
    assert (warp(torch.zeros(2, 9), Sampling(top_k=4)) > BANNED_LOGIT).sum(-1).tolist() == [4, 4]


@given(
    logit_rows,
    st.floats(0.05, 5) | st.just(1e-30) | st.just(0.0),
    st.none() | st.integers(1, 40),
    st.none() | st.floats(0.01, 1),
)
@settings(max_examples=200, deadline=None)
def test_warped_probabilities_sum_to_one_and_have_a_finite_entropy(logits, temperature, top_k, top_p):
    warped = warp(logits, Sampling(temperature, top_k, top_p))
    logprobs = warped.log_softmax(-1)
    assert torch.isfinite(warped).all()
    assert logprobs.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert 0 <= -(logprobs.exp() * logprobs).sum().item() + 1e-5 < 10


@given(logit_rows, st.floats(0.01, 0.999))
@settings(max_examples=200, deadline=None)
def test_the_kept_set_is_the_smallest_with_mass_p(logits, p):
    kept = (warp(logits, Sampling(top_p=p)) > BANNED_LOGIT).numpy()
    probabilities = logits.double().softmax(-1).numpy()
    likeliest = np.sort(probabilities)[::-1]
    assert probabilities[kept].sum() >= p - 1e-9  # it has the mass
    assert likeliest[: kept.sum() - 1].sum() < p + 1e-9  # no smaller set has
    assert probabilities[kept].min() >= probabilities[~kept].max(initial=0)  # and it is made of the likeliest


@given(logit_rows, st.floats(0, 1, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_a_draw_inverts_the_distribution_function(logits, uniform):
    token, logprob = draw(logits[None], torch.tensor([uniform], dtype=torch.float64))
    probabilities = logits.double().softmax(-1)
    below = probabilities[: int(token)].sum().item()
    assert below - 1e-5 <= uniform <= below + probabilities[int(token)].item() + 1e-5
    assert logprob.item() == pytest.approx(probabilities[int(token)].log().item(), abs=1e-4)


def test_a_token_without_probability_is_never_drawn():
    logits = torch.full((2, 5), BANNED_LOGIT)
    logits[0, 1:3], logits[1, 3] = 0.0, 0.0
    for uniform in (0.0, 0.5, 1 - 2**-53):
        tokens, _ = draw(logits, torch.full((2,), uniform, dtype=torch.float64))
        assert tokens[0] in (1, 2) and tokens[1] == 3


def test_warp_lets_gradients_through_to_the_kept_tokens_only():
    logits = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
    warp(logits, Sampling(temperature=0.5, top_k=2)).log_softmax(-1)[0].backward()
    p = 1 / (1 + np.exp(-2.0))
    torch.testing.assert_close(logits.grad, torch.tensor([2 * (1 - p), -2 * (1 - p), 0.0], dtype=torch.float32))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": -0.1}, r"temperature=-0\.1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 0.0}, r"top_p=0\.0"),
        ({"top_p": 1.2}, r"top_p=1\.2"),
    ],
)
def test_impossible_settings_are_refused(given, message):
    with pytest.raises(TaskError, match=message):
        Sampling(**given)


def test_a_context_too_short_for_prompt_and_budget_is_refused_with_both_numbers():
    model = network(context=16)
    complete(model, prompts([5]), tokens=10)
    with pytest.raises(CheckpointError, match=r"6 tokens, the separator and 10 new tokens make 17.* context is 16"):
        complete(model, prompts([6]), tokens=10)
    with pytest.raises(TaskError, match="max_new_tokens=0"):
        complete(model, prompts([3]), tokens=0)
