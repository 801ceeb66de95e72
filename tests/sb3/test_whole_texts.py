"""Rollouts of whole texts, and the update that `WholeTextAlgorithm` makes of them."""

import copy
import json

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from textgym.agents.grpo import GRPO
from textgym.agents.reinforce import REINFORCE
from textgym.agents.rloo import RLOO

from textgym.envs.tasks import make_task
from textgym.errors import ScoringFailure, TaskError
from textgym.sb3 import RewardLog, TransformerPolicy, make_sb3_env
from textgym.sb3.checkpoints import TrainingCheckpoint, resume

ROWS, BUDGET, EOS = 8, 10, 2
SMALL = {"n_layer": 1, "n_head": 2, "n_embd": 16}


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=BUDGET)


def make(task, algorithm=RLOO, *, sharp=0.0, env=None, model=SMALL, **settings):
    known = {"reward": "distinct(n=1)", "group_size": 4, "seed": 3, **(env or {})}
    venv = make_sb3_env("TextGen-v0", ROWS, task=task, autoreset=False, **known)
    agent = algorithm(TransformerPolicy, venv, policy_kwargs={"model": model}, seed=0, device="cpu", **settings)
    with torch.no_grad():
        agent.policy.transformer.wte.weight.mul_(1 + sharp)
        agent.policy.transformer.wte.weight[EOS] += sharp / 10  # texts end early, each at its own place
    return agent


class Seen(BaseCallback):
    """The infos of texts that ended, and the buffer's figures, of every rollout."""

    def __init__(self):
        super().__init__()
        self.rollouts = []

    def _on_rollout_start(self):
        self.ends = {}

    def _on_step(self):
        for row in np.flatnonzero(self.locals["dones"]).tolist():
            assert row not in self.ends, "a row wrote twice"
            self.ends[row] = self.locals["infos"][row]
        return True

    def _on_rollout_end(self):
        self.rollouts.append((self.ends, copy.deepcopy(self.model.rollout_buffer)))


def learn(agent, tokens=1):
    agent.learn(tokens, callback=(seen := Seen()))
    return seen.rollouts


def test_a_rollout_is_one_text_a_row_and_counts_the_tokens_that_were_written(task):
    agent = make(task, sharp=4.0)
    ((ends, buffer),) = learn(agent)
    lengths = [len(ends[row]["completion"]) for row in range(ROWS)]
    assert len(set(lengths)) > 2, "all of one length: the test sees little"
    assert buffer.ended.tolist() == lengths and agent.num_timesteps == sum(lengths)
    for row, end in ends.items():
        np.testing.assert_array_equal(buffer.actions[: lengths[row], row], end["completion"])
        assert buffer.paid[row] == pytest.approx(end["episode"]["r"], rel=1e-6)
    segments = buffer.segments(range(ROWS))
    columns = (segments.tokens.numpy(), segments.first.tolist(), segments.steps.tolist())
    written = [tokens[: first + steps] for tokens, first, steps in zip(*columns, strict=True)]
    for row, tokens in enumerate(written):
        last = ends[row]["terminal_observation"]
        np.testing.assert_array_equal(tokens, last[last >= 0])


def test_rows_of_a_group_write_of_one_prompt(task):
    for _, buffer in learn(make(task, sharp=4.0), 150):
        prompts = [tuple(buffer._openings[row]) for row in range(ROWS)]
        assert len(set(prompts[:4])) == len(set(prompts[4:])) == 1


def test_the_log_probabilities_are_those_of_one_pass(task):
    """Decoded token by token, with rows dropped on the way, and scored again as whole texts."""
    agent = make(task, sharp=4.0, learning_rate=0.0)
    ((_, buffer),) = learn(agent)
    segments = buffer.segments(range(ROWS))
    with torch.no_grad():
        _, logp, _ = agent.policy.evaluate_actions(segments, segments.actions)
    steps = buffer._steps(range(ROWS))
    np.testing.assert_allclose(buffer.log_probs[steps], logp.numpy(), atol=1e-5)
    assert agent.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sampling", [{"top_k": 3}, {"top_p": 0.5}, {"top_k": 5, "top_p": 0.9}])
def test_the_log_probabilities_of_truncated_sampling_are_those_that_were_drawn_from(task, sampling):
    agent = make(task, sharp=2.0, learning_rate=0.0, **sampling)
    ((_, buffer),) = learn(agent)
    segments = buffer.segments(range(ROWS))
    steps = buffer._steps(range(ROWS))
    masks = buffer._masks(steps)
    assert int(masks.unpack().sum(1).max()) <= sampling.get("top_k", 64)
    with torch.no_grad():
        _, logp, _ = agent.policy.evaluate_actions(segments, segments.actions, action_masks=masks)
        _, whole, _ = agent.policy.evaluate_actions(segments, segments.actions)
    np.testing.assert_allclose(buffer.log_probs[steps], logp.numpy(), atol=1e-5)
    assert (logp > whole).all() and (logp - whole).max() > 0.1
    assert agent.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-9)


def test_constraints_are_obeyed_and_the_log_probabilities_are_those_of_what_was_allowed(task):
    rules = {"constraint": {"min_new_tokens": 4, "no_repeat_ngram": 1}}
    agent = make(task, sharp=4.0, learning_rate=0.0, env=rules)
    ((ends, buffer),) = learn(agent)
    for end in ends.values():
        words = list(end["completion"])
        assert len(words) >= 5 and len(set(words)) == len(words) and end.get("illegal_actions", 0) == 0
    segments, steps = buffer.segments(range(ROWS)), buffer._steps(range(ROWS))
    with torch.no_grad():
        _, logp, _ = agent.policy.evaluate_actions(segments, segments.actions, action_masks=buffer._masks(steps))
    np.testing.assert_allclose(buffer.log_probs[steps], logp.numpy(), atol=1e-5)


def test_the_log_speaks_of_the_distribution_over_what_was_allowed(task, tmp_path):
    agent = make(task, sharp=4.0, learning_rate=0.0, env={"constraint": {"no_repeat_ngram": 1, "min_new_tokens": 3}})
    agent.policy.trained, agent.policy.temperature = True, 1.3
    agent.learn(1, callback=RewardLog(tmp_path / "metrics.jsonl", sample=ROWS))
    buffer = agent.rollout_buffer
    segments, masks = buffer.segments(range(ROWS)), buffer._masks(buffer._steps(range(ROWS)))
    with torch.no_grad():
        entropies = [
            agent.policy.evaluate_actions(segments, segments.actions, action_masks=m)[2] for m in (masks, None)
        ]
    (row,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert row["rollout/entropy"] == pytest.approx(entropies[0].mean().item(), rel=1e-5)
    assert row["rollout/entropy"] < entropies[1].mean().item() - 0.01


def test_temperature_is_in_what_is_sampled_and_in_its_log_probability(task):
    hot = make(task, sharp=2.0)
    hot.policy.temperature = 5.0
    ((_, buffer),) = learn(hot)
    assert hot.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-9)
    assert buffer.log_probs[buffer.log_probs < 0].mean() == pytest.approx(-np.log(62), rel=0.1), "nearly uniform"


@pytest.mark.parametrize("aggregate", ["token_sum", "token_mean", "sequence_mean"])
def test_the_step_is_the_gradient_of_the_weighted_sum(task, aggregate, monkeypatch):
    """One SGD step of size 1, beside autograd of the objective that is written out text by text; in parts, too."""
    monkeypatch.setattr("textgym.sb3.text_buffer.PART_TOKENS", 25)
    network = {"model": SMALL, "optimizer_class": torch.optim.SGD}
    venv = make_sb3_env("TextGen-v0", ROWS, task=task, autoreset=False, reward="distinct(n=1)", group_size=4, seed=3)
    agent = GRPO(
        TransformerPolicy, venv, learning_rate=1.0, aggregate=aggregate, max_grad_norm=None, policy_kwargs=network,
        seed=0, device="cpu",
    )  # fmt: skip
    before = {name: p.detach().clone() for name, p in agent.policy.transformer.named_parameters()}
    twin = copy.deepcopy(agent.policy)
    ((_, buffer),) = learn(agent)
    objective, tokens = 0.0, int(buffer.ended.sum())
    for row in range(ROWS):
        segment = buffer.segments([row])
        _, logp, _ = twin.evaluate_actions(segment, segment.actions)
        steps = int(buffer.ended[row])
        weight = {"token_sum": 1 / ROWS, "token_mean": 1 / tokens, "sequence_mean": 1 / (ROWS * steps)}[aggregate]
        advantages = torch.as_tensor(buffer.advantages[:steps, row])
        objective = objective + weight * (torch.exp(logp - logp.detach()) * advantages).sum()
    due = torch.autograd.grad(objective, [*twin.transformer.parameters()])
    assert max(float(g.abs().max()) for g in due) > 1e-3
    for (name, p), gradient in zip(agent.policy.transformer.named_parameters(), due, strict=True):
        assert torch.allclose(p - before[name], gradient, atol=1e-6), name


def test_a_text_that_could_not_be_scored_is_left_out(task):
    def moody(prompt: str, completion: str) -> float:
        if len(completion) % 2:
            raise RuntimeError("an odd text")
        return float(len(completion))

    agent = make(task, sharp=2.0, env={"reward": moody, "on_failure": "mask"})
    ((_, buffer),) = learn(agent)
    assert 0 < buffer.dropped < ROWS and buffer.dropped == (~buffer.valid).sum()
    taken = [row for texts in buffer.minibatches(None) for row in texts]
    assert sorted(taken) == np.flatnonzero(buffer.valid).tolist()
    assert np.isfinite(buffer.advantages[:, buffer.valid]).all()
    assert all(torch.isfinite(p).all() for p in agent.policy.parameters())


def test_nothing_that_could_be_scored_is_an_error(task):
    def never(prompt: str, completion: str) -> float:
        raise RuntimeError("no")

    with pytest.raises(ScoringFailure, match="none of the 8 texts"):
        make(task, env={"reward": never, "on_failure": "mask"}).learn(1)


@pytest.mark.parametrize("algorithm", [REINFORCE, RLOO, GRPO])
def test_it_learns_what_it_is_paid_for(task, algorithm):
    """Texts of one kind of word: the share of EOS-free, repeated words can be driven up at once."""
    agent = make(task, algorithm, env={"reward": "repetition(n=1)"}, learning_rate=1e-2, model="tiny")
    rollouts = learn(agent, 60 * ROWS * BUDGET)
    first, last = (np.mean([b.paid.mean() for _, b in part]) for part in (rollouts[:5], rollouts[-5:]))
    assert last > first + 0.3


def test_the_same_seed_gives_the_same_agent(task):
    agents = [make(task, sharp=2.0).learn(200) for _ in range(2)]
    for one, other in zip(*(agent.policy.parameters() for agent in agents), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("algorithm", [REINFORCE, RLOO, GRPO])
def test_a_training_that_is_interrupted_goes_on_exactly(task, algorithm, tmp_path):
    def parts(agent, tokens, **more):
        agent.learn(tokens, callback=TrainingCheckpoint(tmp_path / "state"), **more)
        return agent

    whole = make(task, algorithm, sharp=2.0).learn(400)
    parts(make(task, algorithm, sharp=2.0), 200)
    fresh = make(task, algorithm, sharp=2.0)
    fresh._total_timesteps = 400
    resume(fresh, tmp_path / "state")
    parts(fresh, 400 - fresh.num_timesteps, reset_num_timesteps=False)
    assert fresh.num_timesteps == whole.num_timesteps
    for one, other in zip(whole.policy.parameters(), fresh.policy.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("algorithm", [REINFORCE, RLOO, GRPO])
def test_a_saved_agent_acts_as_before(task, algorithm, tmp_path):
    agent = make(task, algorithm, sharp=2.0, learning_rate=1e-2).learn(100)
    agent.save(tmp_path / "agent.zip")
    loaded = algorithm.load(tmp_path / "agent.zip", device="cpu")
    prefixes = agent.env.reset()
    likeliest = [one.predict(prefixes, deterministic=True)[0] for one in (agent, loaded)]
    np.testing.assert_array_equal(*likeliest)
    resumed = algorithm.load(tmp_path / "agent.zip", env=agent.env, device="cpu")
    resumed.learn(50)
    assert resumed.sampling == agent.sampling and resumed.group_size == 4


def test_predict_takes_masks(task):
    agent = make(task)
    prefixes = agent.env.reset()
    masks = np.zeros((ROWS, agent.action_space.n), bool)
    masks[:, 7] = True
    assert agent.predict(prefixes, action_masks=masks)[0].tolist() == [7] * ROWS
    assert agent.predict(prefixes[0], action_masks=masks[0])[0] == 7


def test_what_it_cannot_learn_in_is_an_error(task):
    going_on = make_sb3_env("TextGen-v0", ROWS, task=task, group_size=4)
    with pytest.raises(TaskError, match="autoreset=False"):
        RLOO(TransformerPolicy, going_on, policy_kwargs={"model": SMALL}, device="cpu")
    for algorithm in (RLOO, GRPO):
        with pytest.raises(TaskError, match="group_size=8"):
            make(task, algorithm, env={"group_size": 1})
    agent = make(task)
    with pytest.raises(TaskError, match="autoreset=False"):
        agent.set_env(going_on)
    for settings, words in [
        ({"aggregate": "mean"}, "token_sum, token_mean, sequence_mean"),
        ({"n_epochs": 0}, "n_epochs=0"),
        ({"top_p": 2.0}, "top_p=2.0"),
        ({"rollout_buffer_kwargs": {"kl_in": "loss"}}, "give ent_coef=1"),
    ]:
        with pytest.raises(TaskError, match=words):
            make(task, GRPO, **settings)
    with pytest.raises(TaskError, match="clip_range"):
        make(task, GRPO, clip_range=0.0)
    with pytest.raises(TaskError, match="Did you mean 'value'"):
        make(task, REINFORCE, baseline="valeu")
