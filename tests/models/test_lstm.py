"""The LSTM: equal to its equations written with loops, and to itself a token at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CheckpointError
from textgym.models.causal_network import BANNED_LOGIT
from textgym.models.checkpoint import load_checkpoint, load_language_model, new_model, save_checkpoint
from textgym.models.fit import FitConfig, fit, perplexity
from textgym.models.lstm import LSTM, LSTMConfig
from textgym.models.sampling import Sampling, generate
from textgym.testing.models import check_language_model
from textgym.testing.networks import check_network
from textgym.text.tokenizers import train_tokenizer

CONFIG = LSTMConfig(vocab_size=11, context=12, n_layer=2, n_embd=8, banned=(0, 1))
TOKENIZER = train_tokenizer("char", ["the cat sat on the mat and the dog sat on the log; the end."], 64)


def network(seed: int = 0, config: LSTMConfig = CONFIG) -> LSTM:
    torch.manual_seed(seed)
    model = LSTM(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def by_hand(model: LSTM, tokens: list[int]) -> list[list[float]]:
    """Hidden states of one row with loops over numbers, written from the paper (as Gers et al. 2000 have it)."""
    p = {name: value.tolist() for name, value in model.state_dict().items()}
    width, layers = model.config.n_embd, model.config.n_layer

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    def times(name, layer, vector):
        weight, bias = p[f"lstm.weight_{name}_l{layer}"], p[f"lstm.bias_{name}_l{layer}"]
        return [sum(a * x for a, x in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]

    h, c, states = [[0.0] * width] * layers, [[0.0] * width] * layers, []
    for token in tokens:
        x = p["wte.weight"][token]
        for n in range(layers):
            gates = [a + b for a, b in zip(times("ih", n, x), times("hh", n, h[n]), strict=True)]
            i, f, g, o = (gates[k * width : (k + 1) * width] for k in range(4))
            c[n] = [
                sigmoid(f_) * c_ + sigmoid(i_) * math.tanh(g_) for f_, c_, i_, g_ in zip(f, c[n], i, g, strict=True)
            ]
            h[n] = x = [sigmoid(o_) * math.tanh(c_) for o_, c_ in zip(o, c[n], strict=True)]
        states.append(x)
    return states


def test_forward_equals_the_equations_written_with_loops():
    model, tokens = network(), torch.tensor([[3, 7, 4, 9, 9], [5, 2, 10, 2, 3]])
    expected = torch.tensor([by_hand(model, row.tolist()) for row in tokens], dtype=torch.float64)
    torch.testing.assert_close(model(tokens), expected, rtol=1e-9, atol=1e-9)


def test_the_head_is_tied_to_the_embedding_and_banned_tokens_have_probability_zero():
    model = network()
    hidden = model(torch.tensor([[3, 4]]))
    expected = hidden @ model.wte.weight.T
    expected[..., :2] += BANNED_LOGIT
    torch.testing.assert_close(model.logits(hidden), expected)
    assert (model.logits(hidden).softmax(-1)[..., :2] == 0).all()


def test_it_keeps_the_contract_of_a_network():
    check_network(network(), tolerance=1e-10)


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        ("prefill", lambda m, t, n, c, r: LSTM.prefill(m, t, n.clamp(max=3), c, r), "differ"),
        ("decode", lambda m, t, c: LSTM.decode(m, t.flip(0), c), "decode, rows at different positions"),
        ("forward", lambda m, t: LSTM.forward(m, t) * (2 if m.training else 1), "dropout must be off"),
        ("forward", lambda m, t: LSTM.forward(m, t.flip(1)).flip(1), "before a token that was changed"),
        ("logits", lambda m, h: LSTM.logits(m, h) - m.banned_bias, "a banned id has a probability above 0"),
        ("logits", lambda m, h: 2 * LSTM.logits(m, h), "logits and head"),
    ],
)
def test_a_network_that_breaks_the_contract_is_told_how(name, broken, message):
    model = network().eval()
    model.__class__ = type("Broken", (LSTM,), {name: broken})
    with pytest.raises(AssertionError, match=message):
        check_network(model, tolerance=1e-10)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_schedule_of_decoding_going_back_restarting_and_dropping_rows_equals_forward(data):
    model, token = network(), st.integers(2, 10)
    count = data.draw(st.integers(1, 4))
    cache = model.new_cache(count, CONFIG.context)
    prefixes: list[list[int]] = [[] for _ in range(count)]

    def begin(which):
        for i in which:
            prefixes[i] = data.draw(st.lists(token, min_size=1, max_size=6))
        longest = max(len(prefixes[i]) for i in which)
        padded = torch.tensor([prefixes[i] + [0] * (longest - len(prefixes[i])) for i in which])
        model.prefill(padded, torch.tensor([len(prefixes[i]) for i in which]), cache, torch.tensor(which))

    begin(range(count))
    for _ in range(data.draw(st.integers(1, 8))):
        action = data.draw(st.sampled_from(["decode", "decode", "back", "restart", "keep"]))
        some = st.lists(st.sampled_from(range(len(prefixes))), min_size=1, unique=True)
        if action == "restart":
            begin(data.draw(some))
        elif action == "keep":
            which = data.draw(some)
            prefixes = [prefixes[i] for i in which]
            cache.keep(torch.tensor(which))
        elif action == "back":
            wanted = torch.tensor([data.draw(st.integers(0, len(prefix))) for prefix in prefixes])
            wanted = torch.where(cache.holds(wanted), wanted, cache.lengths)
            prefixes = [prefix[:n] for prefix, n in zip(prefixes, wanted.tolist(), strict=True)]
            cache.lengths = wanted
        elif max(map(len, prefixes)) < CONFIG.context:
            step = [data.draw(token) for _ in prefixes]
            prefixes = [[*prefix, new] for prefix, new in zip(prefixes, step, strict=True)]
            hidden = model.decode(torch.tensor(step), cache)
            for row, prefix in zip(hidden, prefixes, strict=True):
                torch.testing.assert_close(row, model(torch.tensor([prefix]))[0, -1], rtol=1e-9, atol=1e-9)
        assert cache.lengths.tolist() == [len(prefix) for prefix in prefixes]


def test_only_what_was_decoded_can_be_gone_back_to():
    model = network()
    cache = model.new_cache(2, 12)
    model.prefill(torch.tensor([[3, 4, 5], [6, 7, 8]]), torch.tensor([3, 2]), cache, torch.arange(2))
    model.decode(torch.tensor([3, 3]), cache)
    assert cache.holds(torch.tensor([4, 2])).tolist() == [True, True]
    assert cache.holds(torch.tensor([2, 4])).tolist() == [False, False]
    assert cache.holds(torch.tensor([0, 0])).all()


def test_it_runs_in_float32_inside_autocast_and_its_head_does_not():
    model = LSTM(CONFIG)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(torch.tensor([[3, 4]]))
        assert hidden.dtype == torch.float32 and model.logits(hidden).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 0}, "n_layer=0 must be a positive integer"),
        ({"banned": (11,)}, "must be ids below 11"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        LSTMConfig(**{"vocab_size": 11, "context": 12, **change})


def test_a_prefix_beyond_the_context_is_refused_with_both_numbers():
    model = network()
    with pytest.raises(CheckpointError, match="13 tokens does not fit a context of 12"):
        model(torch.full((1, 13), 3))
    cache = model.new_cache(1, 12)
    model.prefill(torch.full((1, 12), 3), torch.tensor([12]), cache, torch.tensor([0]))
    with pytest.raises(CheckpointError, match="13 tokens does not fit a context of 12"):
        model.decode(torch.tensor([3]), cache)


class Rows:
    """Prompts "a", "b" ... each with the same text behind it."""

    def __len__(self):
        return 24

    def prompt(self, index):
        return TOKENIZER.encode("thecatsodg"[index % 10])

    def reference(self, index):
        return np.array([*TOKENIZER.encode(" sat on the mat"), TOKENIZER.eos_id], np.int32)


@pytest.fixture(scope="module")
def fitted():
    model = new_model("lstm-tiny", vocab_size=TOKENIZER.vocab_size, context=24, banned=(0, 1))
    fit(model, Rows(), Rows(), sep_id=1, config=FitConfig(tokens=30_000, batch_tokens=128, evaluate_every=15_000))
    return model


def test_maximum_likelihood_teaches_it_a_text(fitted):
    assert perplexity(fitted, Rows(), sep_id=1) < 1.1
    made = generate(
        fitted, [TOKENIZER.encode("t")] * 3, sep_id=1, eos_id=2, max_new_tokens=20, sampling=Sampling(temperature=0)
    )
    assert [TOKENIZER.decode(ids) for ids in made.ids] == [" sat on the mat"] * 3


def test_sampled_log_probabilities_are_those_of_one_whole_pass(fitted):
    prompts = [TOKENIZER.encode(text) for text in ("t", "the c", "dog")]
    made = generate(fitted, prompts, sep_id=1, eos_id=2, max_new_tokens=16, seed=3)
    for prompt, ids, logprobs in zip(prompts, made.ids, made.logprobs, strict=True):
        row = torch.tensor([[*prompt, 1, *ids]])
        table = fitted.logits(fitted(row[:, :-1])[0, len(prompt) :]).log_softmax(-1)
        expected = table.gather(1, torch.tensor(ids).long()[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(logprobs).float(), expected, rtol=1e-4, atol=1e-4)


def test_a_folder_gives_the_same_network_back_and_a_language_model(fitted, tmp_path):
    save_checkpoint(tmp_path / "m", fitted, TOKENIZER, {"perplexity": 1.0})
    loaded = load_checkpoint(tmp_path / "m").model
    assert isinstance(loaded, LSTM) and loaded.config == fitted.config
    for name, weight in fitted.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    lm = load_language_model(tmp_path / "m")
    assert lm.signature.startswith(f"lstm:{TOKENIZER.vocab_size}:")
    check_language_model(lm, tolerance=1e-4)
