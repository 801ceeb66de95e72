import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CheckpointError
from textgym.models.causal_network import BANNED_LOGIT
from textgym.models.transformer import KVCache, Transformer, TransformerConfig

CONFIG = TransformerConfig(vocab_size=11, context=12, n_layer=2, n_head=2, n_embd=8, banned=(0, 1))


def network(config: TransformerConfig = CONFIG, seed: int = 0) -> Transformer:
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config).double()
    with torch.no_grad():  # far from the start, so that every part of the network shows in the result
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def rows(lengths: list[int], seed: int = 0) -> torch.Tensor:
    return torch.randint(2, 11, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))


def plain_reference(model: Transformer, tokens: list[int]) -> list[list[float]]:
    """Hidden states of one row with loops over numbers, written from the paper and not from the code."""
    p = {name: value.tolist() for name, value in model.state_dict().items()}

    def norm(x, name):
        mean = sum(x) / len(x)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
        return [
            (v - mean) / deviation * w + b for v, w, b in zip(x, p[f"{name}.weight"], p[f"{name}.bias"], strict=True)
        ]

    def linear(x, name):
        weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        return [sum(a * v for a, v in zip(w, x, strict=True)) + b for w, b in zip(weight, bias, strict=True)]

    def gelu(v):
        if model.config.activation == "gelu":
            return 0.5 * v * (1 + math.erf(v / math.sqrt(2)))
        return 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))

    width, heads = model.config.n_embd, model.config.n_head
    size = width // heads
    states = [
        [a + b for a, b in zip(p["wte.weight"][t], p["wpe.weight"][i], strict=True)] for i, t in enumerate(tokens)
    ]
    for n in range(model.config.n_layer):
        qkv = [linear(norm(x, f"blocks.{n}.ln_1"), f"blocks.{n}.qkv") for x in states]
        mixed = []
        for t in range(len(tokens)):
            row = []
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                query = qkv[t][part]
                scores = []
                for s in range(t + 1):
                    key = qkv[s][width : 2 * width][part]
                    scores.append(sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(size))
                weights = [math.exp(v) for v in scores]
                values = [qkv[s][2 * width :][part] for s in range(t + 1)]
                for column in zip(*values, strict=True):
                    row += [sum(w * v for w, v in zip(weights, column, strict=True)) / sum(weights)]
            mixed.append(row)
        for t, row in enumerate(mixed):
            x = [a + b for a, b in zip(states[t], linear(row, f"blocks.{n}.proj"), strict=True)]
            inner = [gelu(v) for v in linear(norm(x, f"blocks.{n}.ln_2"), f"blocks.{n}.fc")]
            states[t] = [a + b for a, b in zip(x, linear(inner, f"blocks.{n}.out"), strict=True)]
    return [norm(x, "ln_f") for x in states]


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_forward_equals_attention_written_with_loops(activation):
    model, tokens = network(replace(CONFIG, activation=activation)), rows([7, 7])
    expected = torch.tensor([plain_reference(model, row.tolist()) for row in tokens], dtype=torch.float64)
    torch.testing.assert_close(model(tokens), expected, rtol=1e-9, atol=1e-9)


def test_banned_tokens_have_probability_zero_and_the_entropy_is_a_number():
    model = network()
    logprobs = model.logits(model(rows([5]))).log_softmax(-1)
    assert (logprobs[..., :2].exp() == 0).all() and (logprobs[..., 2:] > -100).all()
    assert torch.isfinite((logprobs.exp() * logprobs).sum())


def test_the_head_is_tied_to_the_embedding():
    model = network()
    hidden = model(rows([3]))
    expected = hidden @ model.wte.weight.T
    expected[..., :2] += BANNED_LOGIT
    torch.testing.assert_close(model.logits(hidden), expected)


def test_padding_has_no_influence_on_real_positions():
    model, tokens = network(), rows([9, 9])
    for filler in (0, 5):
        padded = tokens.clone()
        padded[1, 4:] = filler
        torch.testing.assert_close(model(padded)[1, :4], model(tokens[1:, :4])[0], rtol=1e-10, atol=1e-10)
    # Nor on what real positions learn: position embeddings beyond the row get no gradient, and the filler none at all.
    padded = tokens[1:].clone()
    padded[0, 4:], tokens[1, :4] = 10, 3
    padded[0, :4] = 3
    model(padded)[0, :4].square().sum().backward()
    assert (model.wpe.weight.grad[4:] == 0).all() and (model.wpe.weight.grad[:4] != 0).any()
    assert (model.wte.weight.grad[10] == 0).all() and (model.wte.weight.grad[3] != 0).any()


def test_later_tokens_do_not_change_earlier_states():
    model, tokens = network(), rows([8])
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] - 2 + 1) % 9 + 2
    torch.testing.assert_close(model(tokens)[:, :5], model(changed)[:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(model(tokens)[:, 5:], model(changed)[:, 5:])


def test_prefill_equals_forward_and_notes_the_lengths():
    model, tokens = network(), rows([6, 6, 6])
    cache = KVCache(CONFIG, 4, dtype=torch.float64)
    hidden = model.prefill(tokens, torch.tensor([6, 2, 4]), cache, torch.tensor([3, 0, 1]))
    torch.testing.assert_close(hidden, model(tokens), rtol=1e-12, atol=1e-12)
    assert cache.lengths.tolist() == [2, 4, 0, 6]


def test_rows_at_mixed_positions_decode_as_forward_does():
    model, tokens = network(), rows([10, 10, 10])
    lengths = torch.tensor([6, 2, 4])
    cache = KVCache(CONFIG, 3, dtype=torch.float64)
    model.prefill(tokens[:, :6], lengths, cache, torch.arange(3))  # row 1 brings four tokens of padding
    expected = model(tokens)
    for step in range(4):
        at = lengths + step
        hidden = model.decode(tokens[torch.arange(3), at], cache)
        torch.testing.assert_close(hidden, expected[torch.arange(3), at], rtol=1e-10, atol=1e-10)


def test_a_cache_may_be_narrower_than_the_context():
    model, tokens = network(), rows([5])
    cache = KVCache(TransformerConfig(vocab_size=11, context=5, n_layer=2, n_head=2, n_embd=8), 1, dtype=torch.float64)
    model.prefill(tokens[:, :4], torch.tensor([4]), cache, torch.tensor([0]))
    torch.testing.assert_close(model.decode(tokens[:, 4], cache), model(tokens)[:, 4], rtol=1e-10, atol=1e-10)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_schedule_of_decoding_restarting_and_dropping_rows_equals_forward(data):
    model = network()
    count = data.draw(st.integers(1, 4))
    cache = KVCache(CONFIG, count, dtype=torch.float64)
    token = st.integers(2, 10)
    prefixes = [data.draw(st.lists(token, min_size=1, max_size=6)) for _ in range(count)]

    def prefill(which):
        longest = max(len(prefixes[i]) for i in which)
        padded = torch.tensor([prefixes[i] + [0] * (longest - len(prefixes[i])) for i in which])
        model.prefill(padded, torch.tensor([len(prefixes[i]) for i in which]), cache, torch.tensor(which))

    prefill(list(range(count)))
    for _ in range(data.draw(st.integers(1, 6))):
        action = data.draw(st.sampled_from(["decode", "decode", "restart", "keep"]))
        some = st.lists(st.sampled_from(range(len(prefixes))), min_size=1, unique=True)
        if action == "restart":
            which = data.draw(some)
            for i in which:
                prefixes[i] = data.draw(st.lists(token, min_size=1, max_size=6))
            prefill(which)
        elif action == "keep":
            which = data.draw(some)
            prefixes = [prefixes[i] for i in which]
            cache.keep(torch.tensor(which))
        elif max(map(len, prefixes)) < CONFIG.context:
            step = [data.draw(token) for _ in prefixes]
            prefixes = [[*prefix, new] for prefix, new in zip(prefixes, step, strict=True)]
            hidden = model.decode(torch.tensor(step), cache)
            for row, prefix in zip(hidden, prefixes, strict=True):
                torch.testing.assert_close(row, model(torch.tensor([prefix]))[0, -1], rtol=1e-9, atol=1e-9)
        assert cache.lengths.tolist() == [len(prefix) for prefix in prefixes]


def test_a_prefix_beyond_the_context_is_refused_with_both_numbers():
    model = network()
    with pytest.raises(CheckpointError, match="13 tokens does not fit a context of 12"):
        model(rows([13]))
    cache = KVCache(CONFIG, 1, dtype=torch.float64)
    model.prefill(rows([12]), torch.tensor([12]), cache, torch.tensor([0]))
    with pytest.raises(CheckpointError, match="13 tokens does not fit a context of 12"):
        model.decode(torch.tensor([3]), cache)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 0}, "n_layer=0 must be a positive integer"),
        ({"context": -2}, "context=-2 must be a positive integer"),
        ({"n_head": 3}, "n_embd=8 is no multiple of n_head=3"),
        ({"banned": (11,)}, "must be ids below 11"),
        ({"banned": tuple(range(11))}, "must be ids below 11"),
        ({"activation": "relu"}, "activation='relu' must be one of gelu, gelu_tanh"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        TransformerConfig(**{**CONFIG.to_dict(), **change})


def test_the_configuration_survives_json():
    assert TransformerConfig(**CONFIG.to_dict()) == CONFIG


def test_four_blocks_of_width_128_over_512_tokens_have_0_87_million_weights():
    model = Transformer(TransformerConfig(vocab_size=512, context=96, n_layer=4, n_head=4, n_embd=128))
    block = (3 + 1 + 4 + 4) * 128**2 + (3 + 1 + 4 + 1 + 4) * 128  # matrices; biases and two norms
    expected = (512 + 96) * 128 + 4 * block + 2 * 128
    assert sum(p.numel() for p in model.parameters()) == expected
    assert round(expected / 1e6, 2) == 0.87


def test_residual_branches_start_smaller_in_deeper_networks():
    deep = Transformer(TransformerConfig(vocab_size=8, context=4, n_layer=8, n_head=1, n_embd=64))
    assert deep.blocks[0].proj.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)
    assert deep.blocks[0].fc.weight.std().item() == pytest.approx(0.02, rel=0.1)
