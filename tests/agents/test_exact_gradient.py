"""The exact policy gradient, beside autograd of the enumerated J and finite differences."""

import itertools

import numpy as np
import pytest
import torch
from textgym.agents.exact_gradient import exact_gradient, policy_logits

import textgym
from textgym.errors import TaskError
from textgym.oracle import solve
from textgym.worlds.micro import WORLDS


class Small(torch.nn.Module):
    """A recurrent network of some hundred weights, in float64."""

    def __init__(self, vocab_size, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(vocab_size + 1, 5)
        self.recurrent = torch.nn.GRU(5, 6, batch_first=True)
        self.head = torch.nn.Linear(6, vocab_size)
        self.unused = torch.nn.Parameter(torch.ones(2))
        self.double()

    def forward(self, observations):
        states, _ = self.recurrent(self.embedding(observations.long() + 1))
        last = (observations >= 0).sum(1) - 1
        return self.head(states[torch.arange(len(last)), last])


def enumerated(task, network, gamma, delivery):
    """J as one differentiable sum over all texts: probability times discounted return, as the environment pays it."""
    env = textgym.TextGenEnv(task=task, delivery=delivery, gamma=gamma)
    words = range(3, task.tokenizer.vocab_size)
    total = torch.zeros((), dtype=torch.float64)
    for length in range(1, task.max_new_tokens + 1):
        for text in itertools.product([2, *words], repeat=length):
            if 2 in text[:-1] or (text[-1] != 2 and length < task.max_new_tokens):
                continue
            observation, _ = env.reset()
            log, earned = torch.zeros((), dtype=torch.float64), 0.0
            for step, action in enumerate(text):
                logits = network(torch.as_tensor(observation[None]))[0]
                legal = torch.as_tensor(env.action_masks())
                log = log + logits.masked_fill(~legal, -torch.inf).log_softmax(0)[action]
                observation, reward, *_ = env.step(action)
                earned += gamma**step * reward
            total = total + log.exp() * earned
    return total


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("gamma", "delivery"), [(1.0, "terminal"), (0.8, "per_token")])
def test_it_is_autograd_of_the_enumerated_return(world, gamma, delivery):
    task = textgym.micro(world, vocab_size=3, horizon=3)
    network = Small(task.tokenizer.vocab_size)
    value = enumerated(task, network, gamma, delivery)
    parameters = [*network.parameters()]
    due = torch.autograd.grad(value, parameters, allow_unused=True)
    found = exact_gradient(solve(task, gamma, delivery=delivery), network, parameters)
    assert found.value == pytest.approx(value.item(), abs=1e-12)
    for gradient, other, parameter in zip(found.gradients, due, parameters, strict=True):
        expected = torch.zeros_like(parameter) if other is None else other
        assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)
    assert found.flat.norm() > 1e-3 and len(found.flat) == sum(p.numel() for p in parameters)


def test_it_is_the_slope_of_the_return():
    task = textgym.micro("bigram", vocab_size=4, horizon=4)
    network, solution = Small(task.tokenizer.vocab_size, seed=1), solve(task)
    parameters = [*network.parameters()]
    gradient = exact_gradient(solution, network, parameters).gradients
    rng = np.random.default_rng(0)
    for parameter, slope in zip(parameters, gradient, strict=True):
        place = tuple(int(rng.integers(size)) for size in parameter.shape)
        returns = []
        for change in (1e-5, -2e-5):
            with torch.no_grad():
                parameter[place] += change
            returns.append(exact_gradient(solution, network, parameters[:1]).value)
        with torch.no_grad():
            parameter[place] += 1e-5
        assert (returns[0] - returns[1]) / 2e-5 == pytest.approx(slope[place].item(), abs=1e-8)


def test_climbing_it_reaches_the_optimum():
    task = textgym.micro("grammar", vocab_size=3, horizon=4)
    network, solution = Small(task.tokenizer.vocab_size), solve(task)
    parameters = [*network.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.1, maximize=True)
    for _ in range(30):
        found = exact_gradient(solution, network, parameters)
        for parameter, gradient in zip(parameters, found.gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    assert found.value > task.world.optimum.threshold


def test_a_transformer_policy_has_one():
    from stable_baselines3 import PPO

    from textgym.sb3 import TransformerPolicy, make_sb3_env

    task = textgym.micro("bigram", vocab_size=3, horizon=3)
    env = make_sb3_env(n_envs=2, task=task)
    policy = PPO(TransformerPolicy, env, policy_kwargs={"model": "tiny"}, gamma=1.0, device="cpu", seed=0).policy
    parameters = [*policy.transformer.parameters()]
    solution = solve(task)
    found = exact_gradient(solution, policy_logits(policy), parameters)
    step = 1e-2 / found.flat.norm().item()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, found.gradients, strict=True):
            parameter += step * gradient
    after = exact_gradient(solution, policy_logits(policy), parameters[:1]).value
    assert after - found.value == pytest.approx(step * found.flat.norm().item() ** 2, rel=0.05)


def test_what_has_no_exact_gradient_is_an_error():
    task = textgym.micro("bigram", vocab_size=3, horizon=3)
    network = Small(4)
    with pytest.raises(TaskError, match="merge=False"):
        exact_gradient(solve(task, merge=True), network, network.parameters())
    with pytest.raises(TaskError, match=r"logits of shape \(7, 4\) for 7 prefixes: \(7, 5\) is due"):
        exact_gradient(solve(task), lambda o: torch.zeros(len(o), 4), network.parameters())
