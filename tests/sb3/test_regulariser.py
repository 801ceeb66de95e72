"""The KL in the loss: its estimators, their gradients, and the same term under PPO and under whole texts."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from textgym.agents import grpo, ppo, rloo

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint
from textgym.models.likelihood import kl_divergence
from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3 import make_sb3_env
from textgym.sb3.kl_control import RefreshReference
from textgym.sb3.regulariser import full_kl, kl_estimate
from textgym.sb3.segments import hidden_states

ROWS = 8


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=10)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "start"
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    sizes = {"vocab_size": task.tokenizer.vocab_size, "context": task.observation_length}
    save_checkpoint(path, new_model("tiny", banned=banned, **sizes), task.tokenizer)
    return str(path)


def logprobs_of(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def test_the_estimators_by_hand():
    """pi 0.5, pi_ref 0.25: r = 1/2."""
    ours, theirs = logprobs_of(0.5), logprobs_of(0.25)
    assert kl_estimate("k1", ours, theirs).item() == pytest.approx(np.log(2))
    assert kl_estimate("k2", ours, theirs).item() == pytest.approx(np.log(2) ** 2 / 2)
    assert kl_estimate("k3", ours, theirs).item() == pytest.approx(-0.5 + np.log(2))
    with pytest.raises(CheckpointError, match="Did you mean 'k3'"):
        kl_estimate("k33", ours, theirs)


def expected(estimator, logits, reference):
    """Value and gradient by the logits of E_(a ~ pi)[k(a)], where the draw is not differentiated."""
    logits = logits.clone().requires_grad_()
    logp, p = logits.log_softmax(-1), logits.detach().softmax(-1)
    value = (p * kl_estimate(estimator, logp, reference.log_softmax(-1))).sum()
    return value.item(), torch.autograd.grad(value, logits)[0]


def test_what_each_estimator_is_in_expectation_and_what_its_gradient_is():
    torch.manual_seed(0)
    logits, reference = torch.randn(2, 6, dtype=torch.float64)
    own = logits.clone().requires_grad_()
    kl = kl_divergence(own[None], reference[None]).sum()
    gradient = torch.autograd.grad(kl, own)[0]
    backward = logits.clone().requires_grad_()
    of_reverse = torch.autograd.grad(kl_divergence(reference[None], backward[None]).sum(), backward)[0]
    for estimator, value, slope in [("k1", kl.item(), 0 * gradient), ("k3", kl.item(), of_reverse)]:
        found = expected(estimator, logits, reference)
        assert found[0] == pytest.approx(value, abs=1e-12)
        assert torch.allclose(found[1], slope, atol=1e-12)
    of_k2 = expected("k2", logits, reference)
    assert torch.allclose(of_k2[1], gradient, atol=1e-12) and of_k2[0] != pytest.approx(kl.item(), rel=0.01)


@pytest.mark.parametrize("chunk", [2**21, 16])
def test_the_full_kl_is_that_of_the_distributions_in_chunks_too(monkeypatch, chunk):
    monkeypatch.setattr("textgym.sb3.regulariser.CHUNK", chunk)
    torch.manual_seed(0)
    ours, theirs = (Transformer(TransformerConfig(7, 5, 1, 1, 8)) for _ in range(2))
    hidden, reference_hidden = torch.randn(2, 9, 8)
    hidden.requires_grad_()
    masks = torch.rand(9, 7) > 0.3
    masks[:, 2] = True
    for masked, temperature in [(None, 1.0), (masks, 2.0)]:
        a, b = ours.logits(hidden) / temperature, theirs.logits(reference_hidden) / temperature
        if masked is not None:
            a, b = (logits.masked_fill(~masked, -1e9) for logits in (a, b))
        due = kl_divergence(a, b)
        found = full_kl(ours, hidden, theirs, reference_hidden, masked, temperature)
        assert torch.allclose(found, due, atol=1e-6)
        slopes = [torch.autograd.grad(kl.sum(), (hidden, ours.wte.weight)) for kl in (found, due)]
        for one, other in zip(*slopes, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


class Keep(BaseCallback):
    """Keeps a copy of the buffer's figures of the first rollout."""

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.kept = {name: getattr(self.model.rollout_buffer, name).copy() for name in ("rewards", "log_probs")}


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "full"])
def test_unmodified_ppo_pays_the_kl_in_its_loss(task, folder, estimator):
    """The loss of PPO's minibatch, put together by hand from its parts."""
    env = make_sb3_env(n_envs=ROWS, task=task, reward="length")
    settings = {"kl_coef": 0.3, "kl_in": "loss", "kl_estimator": estimator, "ent_coef": 0.1, "seed": 0, "device": "cpu"}
    agent = ppo.build(env, folder, n_steps=10, batch_size=80, n_epochs=1, **settings)
    with torch.no_grad():
        agent.policy.transformer.wte.weight.mul_(3)  # off the reference
    assert agent.ent_coef == 1.0
    agent.learn(1, callback=(keep := Keep()))
    buffer, policy = agent.rollout_buffer, agent.policy
    segments = buffer.segments(range(buffer.n_segments))
    (sample,) = buffer.get(10**6)
    assert sample.observations.regulariser.kl_coef == 0.3
    _, logp, bonus = policy.evaluate_actions(sample.observations, sample.actions)
    plain = sample.observations.__class__(
        sample.observations.tokens, sample.observations.first, sample.observations.steps
    )
    _, same, entropy = policy.evaluate_actions(plain, sample.actions)
    ours = policy.transformer.logits(hidden_states(policy.transformer, plain))
    theirs = buffer.reference.logits(hidden_states(buffer.reference, plain))
    chosen = theirs.log_softmax(-1).gather(1, plain.actions[:, None])[:, 0]
    kl = kl_divergence(ours, theirs) if estimator == "full" else kl_estimate(estimator, same, chosen)
    assert torch.equal(logp, same)
    assert torch.allclose(bonus, 0.1 * entropy - 0.3 * kl, atol=1e-5)
    assert len(segments.row) == keep.kept["rewards"].size


def test_the_reward_is_what_was_paid_where_the_kl_is_in_the_loss(task, folder):
    env = make_sb3_env(n_envs=ROWS, task=task, reward="length", delivery="terminal")
    agent = ppo.build(
        env, folder, n_steps=10, batch_size=80, kl_coef=0.3, kl_in="loss", seed=0, device="cpu", learning_rate=0.0
    )
    with torch.no_grad():
        agent.policy.transformer.wte.weight.mul_(3)
    agent.learn(1, callback=(keep := Keep()))
    assert set(np.unique(keep.kept["rewards"])) <= {0.0, *range(11)}
    assert agent.rollout_buffer.kl_penalty > 0.1


def test_whole_texts_and_ppo_have_one_regulariser(task, folder):
    """GRPO's entropy_loss is the mean of beta KL - c H over its texts, as PPO's is."""
    env = make_sb3_env(n_envs=ROWS, task=task, reward="length", autoreset=False, group_size=4)
    agent = grpo.build(
        env, folder, kl_coef=0.3, kl_estimator="full", ent_coef=0.1, n_epochs=1, batch_size=None, seed=0, device="cpu",
        aggregate="token_mean", learning_rate=0.0,
    )  # fmt: skip
    with torch.no_grad():
        agent.policy.transformer.wte.weight.mul_(3)
    agent.learn(1)
    buffer = agent.rollout_buffer
    segments = buffer.segments(range(ROWS))
    ours = agent.policy.transformer.logits(hidden_states(agent.policy.transformer, segments))
    theirs = buffer.reference.logits(hidden_states(buffer.reference, segments))
    entropy = torch.distributions.Categorical(logits=ours).entropy()
    due = (0.3 * kl_divergence(ours, theirs) - 0.1 * entropy).mean()
    assert agent.logger.name_to_value["train/entropy_loss"] == pytest.approx(due.item(), abs=1e-5)


def test_settings_that_cannot_be_meant_are_errors(task, folder):
    env = make_sb3_env(n_envs=ROWS, task=task, autoreset=False, group_size=4)
    for settings, words in [
        ({"kl_in": "los"}, "reward or in the loss"),
        ({"kl_in": "loss", "kl_estimator": "k4"}, "Known: full, k1"),
        ({"kl_in": "reward", "kl_estimator": "full"}, "log-ratio k1"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            rloo.build(env, folder, kl_coef=0.1, **settings)


def test_the_reference_shares_the_temperature(task, folder):
    """A policy that is its own reference pays nothing, at any temperature."""
    for goes_on in (False, True):
        env = make_sb3_env(n_envs=ROWS, task=task, reward="length", autoreset=goes_on, group_size=4)
        build, more = (ppo.build, {"n_steps": 10, "batch_size": 80}) if goes_on else (rloo.build, {})
        agent = build(env, folder, kl_coef=0.1, temperature=1.7, seed=0, device="cpu", **more)
        agent.learn(1)
        assert agent.rollout_buffer.kl_penalty == pytest.approx(0, abs=1e-6)


def test_a_reference_that_is_refreshed_is_the_policy_as_it_was(task, folder):
    env = make_sb3_env(n_envs=ROWS, task=task, reward="length", autoreset=False, group_size=4)
    agent = rloo.build(env, folder, kl_coef=0.1, seed=0, device="cpu", learning_rate=1e-2)
    first = agent.rollout_buffer.reference

    class Watch(BaseCallback):
        penalties: list = []

        def _on_step(self):
            return True

        def _on_rollout_end(self):
            self.penalties.append(self.model.rollout_buffer.kl_penalty)

    watch = Watch()
    agent.learn(4 * ROWS * 10, callback=[RefreshReference(every=2), watch])
    assert len(watch.penalties) >= 4
    assert watch.penalties[0] == pytest.approx(0, abs=1e-6) and abs(watch.penalties[1]) > 1e-4
    assert watch.penalties[2] == pytest.approx(0, abs=1e-6), "refreshed, and moved from since by one update less"
    assert agent.rollout_buffer.reference is not first
    begun = load_checkpoint(folder).model
    assert torch.equal(first.wte.weight, begun.wte.weight), "whoever held the first one keeps it"


def test_a_refreshed_reference_is_part_of_the_state(task, folder):
    env = make_sb3_env(n_envs=ROWS, task=task, reward="length", autoreset=False, group_size=4)
    agents = [rloo.build(env, folder, kl_coef=0.1, seed=0, device="cpu") for _ in range(2)]
    with torch.no_grad():
        agents[0].policy.transformer.wte.weight.add_(1)
    agents[0].rollout_buffer.refresh(agents[0].policy.transformer)
    agents[1].rollout_buffer.load_state_dict(agents[0].rollout_buffer.state_dict())
    assert torch.equal(agents[1].rollout_buffer.reference.wte.weight, agents[0].policy.transformer.wte.weight)


def test_nothing_to_refresh_is_an_error(task):
    env = make_sb3_env(n_envs=ROWS, task=task, reward="length", autoreset=False, group_size=4)
    agent = rloo.build(env, "tiny", seed=0, device="cpu")
    with pytest.raises(CheckpointError, match="kl_coef above 0"):
        agent.learn(1, callback=RefreshReference(every=1))
    with pytest.raises(CheckpointError, match="at least 1"):
        RefreshReference(every=0)
