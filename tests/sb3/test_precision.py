import io

import numpy as np
import pytest
import torch
from gymnasium import spaces

from textgym.errors import SpaceError
from textgym.models import likelihood
from textgym.models.causal_network import product_dtype
from textgym.models.likelihood import action_likelihood
from textgym.models.sampling import generate
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3.policies import TransformerPolicy
from textgym.sb3.segments import Segments

V, L = 13, 10
SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16}
TEXTS = torch.tensor([[4, 1, 5, 6, 7, 8, 9, 0, 0, 0], [5, 6, 7, 1, 9, 9, 3, 2, 8, 4]])
SEGMENTS = Segments(TEXTS, torch.tensor([2, 4]), torch.tensor([5, 6]))
NARROW = {"rtol": 0.03, "atol": 0.03}  # eight bits of mantissa
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def make_policy(**kwargs) -> TransformerPolicy:
    torch.manual_seed(0)
    box, actions = spaces.Box(-1, V - 1, (L,), np.int32), spaces.Discrete(V)
    policy = TransformerPolicy(box, actions, lambda _: 1e-2, **{"model": SHAPE, **kwargs})
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return policy


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def on(device):
    return Segments(*(tensor.to(device) for tensor in (SEGMENTS.tokens, SEGMENTS.first, SEGMENTS.steps)))


def trained_once(policy, device):
    segments = on(device)
    values, logp, entropy = policy.to(device).evaluate_actions(segments, segments.actions)
    (logp.sum() + entropy.square().sum() + values.sum()).backward()
    return (values, logp, entropy), {name: p.grad for name, p in policy.named_parameters()}


def prefixes(steps):
    obs = TEXTS.clone()
    for row, length in enumerate(SEGMENTS.first + steps):
        obs[row, length:] = -1
    return obs


@pytest.mark.parametrize("chunked", [False, True])
def test_bfloat16_is_float32_up_to_its_digits_in_training(device, chunked, monkeypatch):
    if chunked:
        for name in ("WHOLE", "CHUNK", "FAR"):
            monkeypatch.setattr(likelihood, name, 0)
        monkeypatch.setattr(likelihood, "CHUNK_ROWS", 4)
    wide, wide_grads = trained_once(make_policy(), device)
    narrow, narrow_grads = trained_once(make_policy(dtype="bfloat16"), device)
    for ours, exact in zip(narrow, wide, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, exact, **NARROW)
        assert not torch.equal(ours, exact)
    for name, exact in wide_grads.items():
        assert narrow_grads[name].dtype == torch.float32
        assert (narrow_grads[name] - exact).norm() <= 0.03 * exact.norm(), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_rollout_says_of_its_actions_is_what_training_says(device, dtype):
    policy = make_policy(dtype=dtype).to(device)
    policy.set_training_mode(False)
    tolerance = NARROW if dtype == "bfloat16" else {"rtol": 1e-4, "atol": 1e-5}
    for step in range(5):
        obs = prefixes(step).to(device)
        with torch.no_grad():
            actions, values, logp = policy(obs)
            again_values, again_logp, _ = policy.evaluate_actions(obs, actions)
        assert values.dtype == logp.dtype == torch.float32
        torch.testing.assert_close(logp, again_logp, **tolerance)
        torch.testing.assert_close(values, again_values, **tolerance)
    assert policy._rollout_cache._cache.keys.dtype == getattr(torch, dtype)


def test_the_head_alone_sums_gradients_of_many_chunks_in_float32(monkeypatch):
    monkeypatch.setattr(likelihood, "WHOLE", 0)
    monkeypatch.setattr(likelihood, "CHUNK", 0)
    monkeypatch.setattr(likelihood, "CHUNK_ROWS", 1)
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, 4, n_layer=1, n_head=1, n_embd=8))
    actions = torch.randint(0, V, (2000,))
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logp, _ = action_likelihood(model, torch.ones(2000, 8), actions)
        logp.sum().backward()
        gradients.append(model.wte.weight.grad.clone())
    assert (gradients[1] - gradients[0]).norm() < 0.04 * gradients[0].norm()


def test_products_have_the_dtype_of_autocast_where_it_is_on():
    weight = torch.zeros(2, dtype=torch.float64)
    assert product_dtype(weight) == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert product_dtype(weight) == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert product_dtype(weight) == torch.float64


def test_texts_are_made_and_scored_inside_autocast():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, 12, banned=(0, 1), **SHAPE))
    prompts = [np.array([3, 4], np.int32), np.array([5], np.int32)]
    with torch.autocast("cpu", torch.bfloat16):
        made = generate(model, prompts, sep_id=1, eos_id=2, max_new_tokens=6)
    wide = generate(model, prompts, sep_id=1, eos_id=2, max_new_tokens=6)
    for ours, exact, ids, same in zip(made.logprobs, wide.logprobs, made.ids, wide.ids, strict=True):
        assert np.array_equal(ids, same)
        np.testing.assert_allclose(ours, exact, atol=0.03)


def test_another_dtype_is_refused():
    with pytest.raises(SpaceError, match="dtype='float16': the network runs in float32 or bfloat16"):
        make_policy(dtype="float16")


def test_a_saved_policy_keeps_its_dtype():
    policy, file = make_policy(dtype="bfloat16", cuda_graph=False), io.BytesIO()
    policy.save(file)
    file.seek(0)
    found = TransformerPolicy.load(file)._get_constructor_parameters()
    assert (found["dtype"], found["cuda_graph"]) == ("bfloat16", False)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@needs_cuda
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_graph_gives_what_plain_decoding_gives_after_updates_too(dtype):
    graphed, plain = (make_policy(dtype=dtype, cuda_graph=on).to("cuda") for on in (True, False))
    graphs = set()
    for _ in range(3):
        for policy in (graphed, plain):
            policy.set_training_mode(False)
        for step in range(6):
            obs = prefixes(min(step, 5)).to("cuda")
            with torch.no_grad():
                ours, exact = (policy._hidden(obs, policy._rollout_cache) for policy in (graphed, plain))
            tolerance = NARROW if dtype == "bfloat16" else {"rtol": 1e-4, "atol": 1e-4}
            torch.testing.assert_close(ours, exact, **tolerance)
        assert graphed._rollout_cache._graph is not None and plain._rollout_cache._graph is None
        graphs.add(id(graphed._rollout_cache._graph))
        for policy in (graphed, plain):  # the same step of both, in place, as an optimizer takes it
            policy.set_training_mode(True)
            with torch.no_grad():
                for i, parameter in enumerate(policy.parameters()):
                    parameter.add_(0.01 * (i % 3 - 1))
    assert len(graphs) == 1


@needs_cuda
def test_a_graph_follows_rows_that_start_anew():
    graphed, plain = (make_policy(cuda_graph=on).to("cuda") for on in (True, False))
    for policy in (graphed, plain):
        policy.set_training_mode(False)
    for step in range(8):
        obs = prefixes(step % 6)
        if step > 4:
            obs[0] = prefixes(step - 5)[1]
        with torch.no_grad():
            ours, exact = (policy._hidden(obs.to("cuda"), policy._rollout_cache) for policy in (graphed, plain))
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)


@needs_cuda
def test_a_graph_is_made_anew_for_other_rows_and_other_weights():
    policy = make_policy().to("cuda")
    policy.set_training_mode(False)
    keys = []
    for change in (lambda: None, lambda: policy.to("cpu").to("cuda")):
        change()
        for rows in (2, 1):
            for step in range(5):
                obs = prefixes(step)[:rows].to("cuda")
                with torch.no_grad():
                    found = policy._hidden(obs, policy._rollout_cache)
                    lengths = (obs >= 0).sum(1)
                    exact = policy.transformer(obs.clamp(min=0))[torch.arange(rows), lengths - 1]
                torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)
            keys.append(policy._rollout_cache._graph.key)
    assert [key[0] for key in keys] == [2, 1, 2, 1]
