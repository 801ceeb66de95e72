"""Maximum likelihood as an agent, beside `fit`; expert iteration, beside what it should keep and the optimum."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from textgym.agents import expert_iteration, mle
from textgym.agents.exact_policy import agent_policy
from textgym.agents.expert_iteration import ExpertIteration

import textgym
from textgym.envs.tasks import make_task
from textgym.errors import TaskError
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint
from textgym.models.fit import FitConfig, fit, perplexity
from textgym.oracle import solve
from textgym.sb3 import RewardLog, TransformerPolicy, make_sb3_env

pytestmark = pytest.mark.filterwarnings("ignore:the policy starts from random weights")


# --- maximum likelihood ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", max_new_tokens=8)


@pytest.fixture(scope="module")
def start(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mle") / "start"
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=banned)
    save_checkpoint(folder, model, task.tokenizer)
    return folder


def test_it_takes_the_steps_of_a_fit(task, start):
    agent = mle.build(make_sb3_env(n_envs=2, task=task), start, learning_rate=4e-3, n_steps=5, seed=3)
    agent.learn(6000)
    model = load_checkpoint(start).model
    config = FitConfig(tokens=6000, learning_rate=4e-3, seed=3, patience=0, evaluate_every=10**9)
    report = fit(model, task.train, task.heldout, sep_id=task.tokenizer.sep_id, config=config)
    assert report.best == report.tokens == agent.num_timesteps  # else it would have gone back to the best
    for ours, theirs in zip(agent.policy.transformer.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_its_log_has_loss_and_perplexity_and_no_texts(task, start, tmp_path):
    agent = mle.build(make_sb3_env(n_envs=2, task=task), start, n_steps=2, seed=0)
    assert agent.peak == mle.GOING_ON
    agent.learn(8000, callback=RewardLog(tmp_path / "metrics.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train/perplexity"] < rows[0]["train/perplexity"] and rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert rows[-1]["tokens/total"] == agent.num_timesteps >= 8000 and "reward/paid" not in rows[0]
    agent.save(tmp_path / "agent.zip")
    loaded = type(agent).load(tmp_path / "agent.zip")
    sep = task.tokenizer.sep_id
    assert perplexity(loaded.policy.transformer, task.heldout, sep_id=sep) == pytest.approx(
        perplexity(agent.policy.transformer, task.heldout, sep_id=sep)
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"n_steps": 0}, "n_steps=0"), ({"warmup": 1.5}, "warmup=1.5"), ({"learning_rate": 0.0}, "learning_rate=0.0")],
)
def test_a_setting_of_a_fit_out_of_range_is_an_error(task, start, settings, said):
    with pytest.raises(TaskError, match=said):
        mle.build(make_sb3_env(n_envs=2, task=task), start, **settings)


def test_random_weights_are_fitted_at_a_higher_rate(task):
    assert mle.build(make_sb3_env(n_envs=2, task=task), "tiny").peak == mle.AFRESH


# --- expert iteration ------------------------------------------------------------------------------------------------


def environment(task, n_envs=32, group_size=8):
    return make_sb3_env(n_envs=n_envs, task=task, autoreset=False, group_size=group_size, seed=0)


@pytest.fixture(scope="module")
def world():
    return textgym.micro("bigram", vocab_size=4, horizon=4)


def test_the_best_share_of_each_group_is_kept_and_of_equal_ones_the_first(world):
    agent = expert_iteration.build(environment(world, 8, 4), "tiny", share=0.5)
    valid = np.array([True, True, True, True, False, True, True, True])
    returns = np.array([1.0, 3.0, 2.0, 3.0, 9.0, 0.0, 0.0, 0.0])
    assert agent.best(returns, valid).tolist() == [False, True, False, True, False, True, True, False]
    agent.threshold = 1.5
    assert agent.best(returns, valid).tolist() == [False, True, False, True, False, False, False, False]
    agent.share = None
    assert agent.best(returns, valid).tolist() == [False, True, True, True, False, False, False, False]


@settings(max_examples=50, deadline=None)
@given(
    returns=st.lists(st.integers(-3, 3), min_size=8, max_size=8),
    valid=st.lists(st.booleans(), min_size=8, max_size=8),
    share=st.floats(0.01, 1.0),
)
def test_nothing_that_is_kept_is_worse_than_what_is_not(returns, valid, share):
    agent = ExpertIteration.__new__(ExpertIteration)
    agent.share, agent.threshold, agent.group_size = share, None, 4
    returns, valid = np.array(returns, float), np.array(valid)
    kept = agent.best(returns, valid)
    for group in (slice(0, 4), slice(4, 8)):
        ours, scored, found = kept[group], valid[group], returns[group]
        assert ours.sum() == min(np.ceil(share * 4), scored.sum()) and not (ours & ~scored).any()
        left = scored & ~ours
        assert not (ours.any() and left.any()) or found[ours].min() >= found[left].max()


def test_an_update_is_the_gradient_of_the_likelihood_of_the_kept_texts(world):
    agent = expert_iteration.build(environment(world), "tiny", share=0.25, n_epochs=1, batch_size=None, seed=0)
    agent.policy.optimizer = torch.optim.SGD(agent.policy.parameters(), lr=1.0)
    agent.learning_rate, agent.max_grad_norm = 1.0, None
    agent._setup_lr_schedule()
    before = [parameter.clone() for parameter in agent.policy.transformer.parameters()]
    ends = []

    def keep(found, _):
        ends.extend(found["infos"][row] for row in np.flatnonzero(found["dones"]))
        return True

    agent.learn(1, callback=keep)
    buffer = agent.rollout_buffer
    kept = np.flatnonzero(buffer.advantages[0])
    assert len(kept) == 8 and buffer.paid[kept].min() >= np.delete(buffer.paid, kept).min()
    after = [parameter.clone() for parameter in agent.policy.transformer.parameters()]
    with torch.no_grad():
        for parameter, old in zip(agent.policy.transformer.parameters(), before, strict=True):
            parameter.copy_(old)
    segments = buffer.segments(kept.tolist())
    _, logprobs, _ = agent.policy.evaluate_actions(segments, segments.actions)
    gradients = torch.autograd.grad(logprobs.mean(), [*agent.policy.transformer.parameters()], allow_unused=True)
    for old, new, gradient in zip(before, after, gradients, strict=True):
        step = torch.zeros_like(old) if gradient is None else gradient
        assert torch.allclose(new - old, step, atol=1e-5)


def test_where_no_text_is_good_enough_nothing_is_learned(world, tmp_path):
    agent = expert_iteration.build(environment(world), "tiny", threshold=1e6, seed=0)
    before = [parameter.clone() for parameter in agent.policy.parameters()]
    agent.learn(300, callback=RewardLog(tmp_path / "metrics.jsonl"))
    assert all(torch.equal(*pair) for pair in zip(before, agent.policy.parameters(), strict=True))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["train/kept"] == 0


def test_it_climbs_to_the_optimum(world):
    agent = expert_iteration.build(environment(world, 64), "tiny", learning_rate=3e-3, seed=0)
    agent.learn(12_000)
    solution = solve(world)
    assert solution.regret(agent_policy(agent, masked=True)) < 0.05
    assert solution.regret(agent_policy(agent, deterministic=True, masked=True)) < 0.02


@pytest.mark.parametrize(
    ("given_settings", "said"),
    [
        ({"share": 0.0}, "share=0.0"),
        ({"share": 1.5}, "share=1.5"),
        ({"share": None}, "one of them says which texts are kept"),
    ],
)
def test_a_share_that_is_none_is_an_error(world, given_settings, said):
    with pytest.raises(TaskError, match=said):
        ExpertIteration(TransformerPolicy, environment(world), policy_kwargs={"model": "tiny"}, **given_settings)
