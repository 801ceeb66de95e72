import dataclasses
import itertools
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

contrib = pytest.importorskip("sb3_contrib", reason="MaskablePPO: pip install 'textgym[contrib]'")
from sb3_contrib import MaskablePPO  # noqa: E402
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer  # noqa: E402
from sb3_contrib.common.maskable.utils import get_action_masks  # noqa: E402

from textgym.envs.tasks import make_task  # noqa: E402
from textgym.errors import MissingExtraError, SpaceError, TaskError  # noqa: E402
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint  # noqa: E402
from textgym.models.masks import PackedMasks  # noqa: E402
from textgym.sb3 import (  # noqa: E402
    MASKABLE_PPO_DEFAULTS,
    EpisodeRolloutBuffer,
    MaskableEpisodeRolloutBuffer,
    MaskableTransformerPolicy,
    TransformerPolicy,
    make_sb3_env,
)
from textgym.sb3.defaults import check_settings  # noqa: E402

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16}
STEPS, ROWS = 7, 6
REWARD = "0.3*length - repetition(n=1)"


@dataclasses.dataclass(frozen=True)
class Choosy:
    """A token never follows itself, nor one that ends in the same digit; no text ends before its fourth token."""

    vocab_size: int
    eos_id: int

    def mask(self, tokens, lengths, starts):
        last = tokens[np.arange(len(tokens)), lengths - 1]
        masks = np.arange(self.vocab_size) % 10 != last[:, None] % 10
        masks[lengths - starts < 3, self.eos_id] = False
        return masks


@pytest.fixture(scope="module")
def free_task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=12)


@pytest.fixture(scope="module")
def task(free_task):
    tokenizer = free_task.tokenizer
    return dataclasses.replace(free_task, constraint=Choosy(tokenizer.vocab_size, tokenizer.eos_id))


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    model = new_model(
        "tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=banned, seed=3
    )
    torch.nn.init.normal_(model.wte.weight, std=0.2)  # far enough from uniform that the masks take something away
    path = tmp_path_factory.mktemp("models") / "reference"
    save_checkpoint(path, model, task.tokenizer)
    return path


def make_agent(task, buffer=MaskableEpisodeRolloutBuffer, model=SHAPE, buffer_kwargs=None, rows=ROWS, **settings):
    env = make_sb3_env("TextGen-v0", n_envs=rows, seed=5, task=task, reward=REWARD)
    given = {"n_steps": STEPS, "gamma": 1.0, "learning_rate": 1e-2, "seed": 0, "device": "cpu"}
    given |= {"batch_size": STEPS * rows, "n_epochs": 2}
    return MaskablePPO(
        MaskableTransformerPolicy,
        env,
        policy_kwargs={"model": model},
        rollout_buffer_class=buffer,
        rollout_buffer_kwargs=buffer_kwargs or {},
        **{**given, **settings},
    )


def roll(agent, use_masking=True) -> MaskableEpisodeRolloutBuffer:
    """One rollout without training."""
    agent._setup_learn(10**6)
    callback = agent._init_callback(None)
    assert agent.collect_rollouts(agent.env, callback, agent.rollout_buffer, agent.n_steps, use_masking)
    return agent.rollout_buffer


def flat(agent) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in agent.policy.parameters()])


def short_words(text: str) -> float:
    return -len(text) / 12


class Ends(BaseCallback):
    """Keeps the last info of every episode."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[dict] = []

    def _on_step(self) -> bool:
        self.infos += [info for info, done in zip(self.locals["infos"], self.locals["dones"], strict=True) if done]
        return True

    def illegal(self) -> int:
        return sum(info["illegal_actions"] for info in self.infos)


def test_training_equals_maskable_ppos_own_buffer_on_full_batches(task):
    ours, theirs = (make_agent(task, buffer) for buffer in (MaskableEpisodeRolloutBuffer, MaskableRolloutBuffer))
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=0, atol=0)
    start = flat(ours).clone()
    for agent in (ours, theirs):
        agent.set_random_seed(1)  # actions are drawn from torch's one stream
        agent.learn(4 * STEPS * ROWS)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-3, atol=1e-4)
    assert (flat(ours) - start).abs().max() > 0.02


def test_loss_and_gradient_equal_maskable_ppos_own_buffer(task):
    gradients = []
    for buffer in (MaskableEpisodeRolloutBuffer, MaskableRolloutBuffer):
        agent = make_agent(task, buffer)
        (data,) = roll(agent).get(STEPS * ROWS)
        values, logp, entropy = agent.policy.evaluate_actions(
            data.observations, data.actions.long().flatten(), action_masks=data.action_masks
        )
        loss = -(logp * data.advantages).mean() + (values.flatten() - data.returns).square().mean() - entropy.mean()
        loss.backward()
        gradients.append((loss.item(), torch.cat([p.grad.flatten() for p in agent.policy.parameters()])))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], rtol=1e-3, atol=1e-5)


def test_the_stored_log_probabilities_are_those_of_the_masked_distribution(task, folder):
    agent = make_agent(task, model=str(folder))
    for _ in range(3):  # later rollouts begin in mid-episode
        for data in roll(agent).get(16):
            actions, masks = data.actions.long().flatten(), data.action_masks
            _, logp, entropy = agent.policy.evaluate_actions(data.observations, actions, action_masks=masks)
            torch.testing.assert_close(logp, data.old_log_prob, rtol=1e-4, atol=1e-5)
            theirs = agent.policy.get_distribution(data.observations, masks.unpack())  # sb3-contrib's own arithmetic
            torch.testing.assert_close(logp, theirs.log_prob(actions), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(entropy, theirs.entropy(), rtol=1e-4, atol=1e-5)
            _, unmasked, _ = agent.policy.evaluate_actions(data.observations, actions)
            assert (logp - unmasked).min() > -1e-5 and (logp - unmasked).mean() > 0.05


def test_in_thousands_of_steps_no_action_is_illegal(task):
    agent, ends = make_agent(task, rows=64, n_epochs=1, batch_size=256), Ends()
    agent.learn(5_000, callback=ends)
    assert len(ends.infos) > 300 and ends.illegal() == 0
    env = make_sb3_env("TextGen-v0", n_envs=32, seed=5, task=task, reward=REWARD)
    blind = PPO(TransformerPolicy, env, policy_kwargs={"model": SHAPE}, n_steps=STEPS, batch_size=STEPS * 32)
    blind.learn(1_000, callback=(unmasked := Ends()))
    assert unmasked.illegal() > 50  # the constraint does forbid something


def test_an_agent_learns_under_its_masks(task):
    chosen = {**MASKABLE_PPO_DEFAULTS, "n_steps": 24, "batch_size": 256, "learning_rate": 2e-2}
    env = make_sb3_env("TextGen-v0", n_envs=32, seed=5, task=task, reward=short_words)
    agent = MaskablePPO(MaskableTransformerPolicy, env, policy_kwargs={"model": SHAPE}, seed=0, device="cpu", **chosen)
    agent.learn(4 * 24 * 32, callback=(ends := Ends()))
    paid = [info["episode"]["r"] for info in ends.infos]
    assert np.mean(paid[-50:]) > np.mean(paid[:50]) + 0.2, (np.mean(paid[:50]), np.mean(paid[-50:]))


def test_predict_obeys_its_masks(task):
    agent = make_agent(task)
    observations = agent.env.reset()
    for deterministic in (True, False):
        for _ in range(8):
            masks = get_action_masks(agent.env)
            actions, _ = agent.predict(observations, deterministic=deterministic, action_masks=masks)
            assert masks[np.arange(ROWS), actions].all()
            observations = agent.env.step(actions)[0]
    only = np.zeros(task.tokenizer.vocab_size, bool)
    only[17] = True
    assert agent.predict(observations[0], action_masks=only)[0] == 17  # one prefix, one mask
    assert agent.predict(observations[0])[0] < task.tokenizer.vocab_size  # and none at all


def test_masks_that_cannot_be_meant_are_refused(task):
    agent = make_agent(task)
    observations, vocabulary = agent.env.reset(), task.tokenizer.vocab_size
    with pytest.raises(SpaceError, match=rf"\(3, {vocabulary}\) for {ROWS} prefixes.*\({ROWS}, {vocabulary}\)"):
        agent.predict(observations, action_masks=np.ones((3, vocabulary), bool))
    masks = np.ones((ROWS, vocabulary), bool)
    masks[4] = False
    with pytest.raises(SpaceError, match="row 4 allows no token"):
        agent.predict(observations, action_masks=masks)


def test_the_penalty_is_the_log_ratio_to_the_masked_reference(task, folder):
    agent = make_agent(task, buffer_kwargs={"kl_coef": 0.5, "reference": str(folder)})
    rollout, reference = roll(agent), load_checkpoint(folder).model
    (data,) = rollout.get(None)
    segments = data.observations
    logits = reference.logits(reference(segments.tokens)[segments.row, segments.position])
    logits[~data.action_masks.unpack()] = -torch.inf
    logp = logits.log_softmax(-1).gather(1, segments.actions[:, None])[:, 0]
    assert rollout.kl_penalty == pytest.approx((data.old_log_prob - logp).mean().item(), abs=1e-5)


def test_a_masked_policy_at_its_reference_pays_no_penalty(task, folder):
    agent = make_agent(task, model=str(folder), buffer_kwargs={"kl_coef": 1.0, "reference": str(folder)})
    free = roll(make_agent(task, model=str(folder)))
    held = roll(agent)
    assert held.kl_penalty == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(held.rewards, free.rewards, atol=1e-5)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_no_minibatch_has_a_single_step(lengths, batch_size):
    buffer = MaskableEpisodeRolloutBuffer(9, spaces.Box(-1, 9, (8,), np.int32), spaces.Discrete(10), "cpu")
    buffer._spans = [(0, steps, 0) for steps in lengths]
    batches = buffer._batches(np.arange(len(lengths)), batch_size)
    assert all(sum(lengths[i] for i in batch) >= 2 for batch in batches)
    if sum(lengths) > 1:
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


def test_tiny_minibatches_leave_no_nan(task):
    agent = make_agent(task, batch_size=2)
    agent.learn(2 * STEPS * ROWS)
    assert torch.isfinite(flat(agent)).all()


def test_where_one_step_is_all_that_is_left_it_stands_twice(task):
    agent = make_agent(task, rows=2, n_steps=1, batch_size=2)
    rollout = roll(agent)
    rollout._kept = rollout._kept[:1]
    (data,) = rollout.get(2)
    assert len(data.actions) == len(data.action_masks) == 2
    agent.train()
    assert torch.isfinite(flat(agent)).all()


def test_a_rollout_of_one_step_is_refused(task):
    with pytest.raises(TaskError, match="n_steps x n_envs must be at least 2"):
        make_agent(task, rows=1, n_steps=1, batch_size=2)


def test_without_masking_it_is_the_unmasked_policy(task):
    agent = make_agent(task)
    rollout = roll(agent, use_masking=False)
    (data,) = rollout.get(None)
    assert rollout.masks is None and data.action_masks is None
    agent.learn(STEPS * ROWS, use_masking=False)


def test_a_saved_agent_goes_on_where_its_model_folder_is_gone(task, folder, tmp_path):
    checkpoint = load_checkpoint(folder)
    save_checkpoint(tmp_path / "model", checkpoint.model, checkpoint.tokenizer)
    agent = make_agent(task, model=str(tmp_path / "model"))
    agent.learn(STEPS * ROWS)
    agent.save(tmp_path / "agent.zip")
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    loaded = MaskablePPO.load(tmp_path / "agent.zip", env=agent.env)
    torch.testing.assert_close(flat(loaded), flat(agent), rtol=0, atol=0)
    loaded.learn(STEPS * ROWS)
    agent.policy.save(str(tmp_path / "policy.pt"))
    policy = MaskableTransformerPolicy.load(str(tmp_path / "policy.pt"))
    observations, masks = agent.env.reset(), get_action_masks(agent.env)
    chosen, expected = (p.predict(observations, action_masks=masks, deterministic=True)[0] for p in (policy, agent))
    np.testing.assert_array_equal(chosen, expected)


def test_a_vocabulary_of_fifty_thousand_takes_an_eighth_of_a_byte_a_token(tmp_path):
    words = ["".join(letters) for letters in itertools.islice(itertools.product("abcdefghijklmno", repeat=4), 50_000)]
    orders = [np.random.default_rng(seed).permutation(words) for seed in range(2)]
    documents = [" ".join(order[i : i + 200]) + "." for order in orders for i in range(0, 50_000, 200)]
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents))
    wide = make_task(corpus=str(tmp_path / "corpus.txt"), tokenizer="word", vocab_size=50_000, max_new_tokens=4)
    vocabulary = wide.tokenizer.vocab_size
    wide = dataclasses.replace(wide, constraint=Choosy(vocabulary, wide.tokenizer.eos_id))
    agent = make_agent(wide, rows=8, model={"n_layer": 1, "n_head": 1, "n_embd": 4}, n_epochs=1, n_steps=16)
    start = flat(agent)
    agent.learn(8 * 16, callback=(ends := Ends()))
    assert vocabulary > 40_000 and len(ends.infos) == 32 and ends.illegal() == 0
    assert agent.rollout_buffer.masks.nbytes == 16 * 8 * -(-vocabulary // 8)
    assert isinstance(next(agent.rollout_buffer.get(None)).action_masks, PackedMasks)
    assert torch.isfinite(flat(agent)).all() and not torch.equal(flat(agent), start)


def test_masks_of_a_whole_rollout_at_gpt2s_vocabulary_are_26_megabytes():
    steps, rows, vocabulary = 64, 64, 50_257
    tracemalloc.start()
    try:
        space = spaces.Box(-1, vocabulary - 1, (65,), np.int32)
        buffer = MaskableEpisodeRolloutBuffer(steps, space, spaces.Discrete(vocabulary), "cpu", n_envs=rows)
        masks = np.random.default_rng(0).random((rows, vocabulary)) < 0.5
        observation, column = np.full((rows, 65), -1, np.int32), torch.zeros(rows)
        observation[:, 0] = 1
        for step in range(steps):
            flags = np.full(rows, step == 0)
            buffer.add(observation, np.full((rows, 1), 7), np.zeros(rows), flags, column, column, action_masks=masks)
            observation = observation.copy()
            observation[:, step + 1] = 7
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert buffer.masks.nbytes == 64 * 64 * 6_283 < 26e6
    assert peak < 64e6, peak  # with the dense masks of one step and their double beside it
    np.testing.assert_array_equal(buffer._masks((np.array([3]), np.array([5]))).unpack()[0].numpy(), masks[5])


def test_the_defaults_are_those_of_ppo_with_the_buffer_that_holds_masks(task):
    env = make_sb3_env("TextGen-v0", n_envs=2, task=task, reward=REWARD)
    agent = MaskablePPO(MaskableTransformerPolicy, env, policy_kwargs={"model": SHAPE}, **MASKABLE_PPO_DEFAULTS)
    agent.policy.trained = True
    assert agent.gamma == 1.0 and isinstance(agent.rollout_buffer, MaskableEpisodeRolloutBuffer)
    assert check_settings(agent) == []
    agent = make_agent(task, MaskableRolloutBuffer)
    agent.policy.trained = True
    findings = " ".join(check_settings(agent))
    assert "MaskableEpisodeRolloutBuffer (MASKABLE_PPO_DEFAULTS)" in findings


def test_a_constraint_that_the_agent_does_not_look_at_is_named(task, free_task):
    found = []
    for each in (task, free_task):
        env = make_sb3_env("TextGen-v0", n_envs=2, task=each, reward=REWARD)
        agent = PPO(
            TransformerPolicy, env, policy_kwargs={"model": SHAPE}, rollout_buffer_class=EpisodeRolloutBuffer, gamma=1.0
        )
        agent.policy.trained = True
        found.append(check_settings(agent))
    assert len(found[0]) == 1 and "MaskablePPO" in found[0][0] and found[1] == []


def test_a_missing_sb3_contrib_fails_with_the_install_line(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("sb3_contrib.", "textgym.sb3.maskable"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'textgym\[contrib\]'"):
        __import__("textgym.sb3.maskable")
