"""Policies on an LSTM and on models of Hugging Face, with and without adapters: the proofs of our own network."""

import io
import shutil
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from textgym.agents.exact_policy import agent_policy

from textgym.errors import CheckpointError, MissingExtraError
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint
from textgym.models.hf_network import HuggingFaceNetwork
from textgym.models.lora import change_nothing
from textgym.oracle import solve
from textgym.sb3 import A2C_DEFAULTS, PPO_DEFAULTS, RewardLog, TransformerExtractor, TransformerPolicy, make_sb3_env
from textgym.sb3.checkpoints import TrainingCheckpoint, resume
from textgym.sb3.segments import Segments
from textgym.testing.networks import check_network
from textgym.text.hugging_face import open_hugging_face

sys.path.append(str(Path(__file__).parents[1] / "models"))

import hf_samples

LENGTH = 24
PROMPTS = [f"{who} {where}." for who in ("The cat", "A dog", "Every queen") for where in ("sat", "ran", "slept", "hid")]
SMALL = {**PPO_DEFAULTS, "n_steps": 12, "batch_size": 12, "n_epochs": 1, "seed": 0}
KINDS = ["lstm", "gpt2", "llama", "lora"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model of each kind over one tokenizer, and the prompts of a task."""
    root = tmp_path_factory.mktemp("networks")
    (root / "prompts.jsonl").write_text("".join(f'{{"prompt": "{text}", "reference": " ran."}}\n' for text in PROMPTS))
    hf_samples.gpt2(root / "gpt2")
    hf_samples.llama(root / "llama")
    tokenizer = open_hugging_face(root / "gpt2")
    lstm = new_model(
        "lstm-tiny", vocab_size=tokenizer.vocab_size, context=64, banned=(tokenizer.unk_id, tokenizer.sep_id)
    )
    save_checkpoint(root / "lstm", lstm, tokenizer)
    return root


@pytest.fixture
def make(folders):
    """An environment of so many rows."""

    def made(rows=4, **settings):
        return make_sb3_env(
            "TextGen-v0",
            n_envs=rows,
            seed=0,
            prompts=str(folders / "prompts.jsonl"),
            tokenizer=str(folders / "gpt2"),
            max_new_tokens=6,
            max_prompt_tokens=16,
            reward="length",
            **settings,
        )

    return made


def kwargs(folders, kind):
    return {"model": f"hf:{folders / 'gpt2'}", "lora": {"r": 4}} if kind == "lora" else {"model": str(folders / kind)}


def make_policy(folders, kind) -> TransformerPolicy:
    tokenizer = open_hugging_face(folders / "gpt2")
    torch.manual_seed(0)
    observations = spaces.Box(-1, tokenizer.vocab_size - 1, (LENGTH,), np.int32)
    policy = TransformerPolicy(
        observations, spaces.Discrete(tokenizer.vocab_size), lambda _: 1e-2, **kwargs(folders, kind)
    )
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad and (kind != "gpt2" or "value" in name):
            torch.nn.init.normal_(parameter, std=0.1)
    return policy


def observe(*rows):
    tokens = np.full((len(rows), LENGTH), -1, np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return torch.as_tensor(tokens)


SEP = 320


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_of_a_policy_keeps_the_contract(folders, kind):
    check_network(make_policy(folders, kind).transformer, sep_id=SEP, tolerance=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_over_segments_equals_scoring_each_step_alone(folders, kind):
    policy = make_policy(folders, kind)
    rows = [([4, 5, SEP], [6, 7, 8]), ([SEP], [10]), ([3, SEP, 3, 3], [3, 4, 5, 6, 7])]
    tokens = torch.zeros(3, LENGTH, dtype=torch.long)
    for i, (prefix, actions) in enumerate(rows):
        tokens[i, : len(prefix) + len(actions)] = torch.tensor(prefix + actions)
    segments = Segments(tokens, torch.tensor([3, 1, 4]), torch.tensor([3, 1, 5]))
    prefixes = [prefix + actions[:t] for prefix, actions in rows for t in range(len(actions))]
    chosen = torch.tensor([action for _, actions in rows for action in actions])
    gradients = []
    for observations in (segments, observe(*prefixes)):
        policy.zero_grad()
        values, logp, entropy = policy.evaluate_actions(observations, chosen)
        (logp.sum() + entropy.sum() + values.sum()).backward()
        trained = [weight for weight in policy.parameters() if weight.requires_grad]
        gradients.append((logp.detach(), entropy.detach(), [w.grad.clone() for w in trained if w.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_probability_of_a_rollout_is_that_of_training(folders, kind):
    """The first ratio is 1, while rows go on, begin again and are predicted in between."""
    policy = make_policy(folders, kind)
    rows = [[4, 5, SEP], [6, SEP], [7, 8, 9, SEP]]
    for step in range(6):
        policy.set_training_mode(False)
        with torch.no_grad():
            actions, values, logp = policy(observe(*rows))
        policy.predict(observe([9, SEP]).numpy())
        again_values, again, _ = policy.train().evaluate_actions(observe(*rows), actions)
        torch.testing.assert_close(logp, again, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(values, again_values, rtol=1e-3, atol=1e-3)
        rows = [[*row, int(action)] for row, action in zip(rows, actions, strict=True)]
        if step == 2:
            rows[1] = [5, 5, SEP]


@pytest.mark.parametrize("kind", KINDS)
def test_the_distribution_can_be_differentiated_twice(folders, kind):
    policy = make_policy(folders, kind)
    logits = policy.get_distribution(observe([4, SEP], [5, 6, SEP, 7])).distribution.logits
    weights = [weight for weight in policy.transformer.parameters() if weight.requires_grad]
    first = torch.autograd.grad(logits.softmax(-1).square().sum(), weights, create_graph=True, allow_unused=True)
    total = sum(gradient.square().sum() for gradient in first if gradient is not None)
    second = torch.autograd.grad(total, weights, allow_unused=True)
    assert any(bool(gradient.any()) for gradient in second if gradient is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_ppo_trains_saves_and_loads_where_the_folder_is_gone(folders, make, kind, tmp_path):
    given = kwargs(shutil.copytree(folders, tmp_path / "copy"), kind)
    settings = {**PPO_DEFAULTS, "n_steps": 12, "batch_size": 24, "n_epochs": 1, "seed": 0}
    settings["rollout_buffer_kwargs"] = {"kl_coef": 0.1, "reference": given["model"]}
    agent = PPO(TransformerPolicy, make(), policy_kwargs=given, **settings)
    before = [weight.detach().clone() for weight in agent.policy.transformer.parameters()]
    agent.learn(96, callback=RewardLog())
    moved = [not torch.equal(b, a) for b, a in zip(before, agent.policy.transformer.parameters(), strict=True)]
    trained = [weight.requires_grad for weight in agent.policy.transformer.parameters()]
    assert any(moved) and not any(m and not t for m, t in zip(moved, trained, strict=True))
    file = io.BytesIO()
    agent.save(file)
    shutil.rmtree(tmp_path / "copy")
    loaded = PPO.load(io.BytesIO(file.getvalue()), env=make())
    obs = make().reset()
    for greedy in (agent, loaded):
        greedy.policy.set_training_mode(False)
    assert (agent.predict(obs, deterministic=True)[0] == loaded.predict(obs, deterministic=True)[0]).all()
    policy = io.BytesIO()
    agent.policy.save(policy)
    again = TransformerPolicy.load(io.BytesIO(policy.getvalue()))
    assert again.transformer.config == agent.policy.transformer.config
    assert (agent.predict(obs, deterministic=True)[0] == again.predict(obs, deterministic=True)[0]).all()


@pytest.mark.parametrize("kind", ["lstm", "lora"])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(folders, make, kind, tmp_path):
    settings = {**A2C_DEFAULTS, "n_steps": 8, "seed": 0, "policy_kwargs": kwargs(folders, kind)}
    whole = A2C(TransformerPolicy, make(), **settings)
    whole.learn(96)
    half = A2C(TransformerPolicy, make(), **settings)
    half.learn(64, callback=TrainingCheckpoint(tmp_path / "checkpoints"))
    again = A2C(TransformerPolicy, make(), **settings)
    resume(again, tmp_path / "checkpoints")
    again.learn(32, reset_num_timesteps=False)
    for wanted, found in zip(whole.policy.parameters(), again.policy.parameters(), strict=True):
        assert torch.equal(wanted, found)


def test_maskable_ppo_and_dqn_run_on_them(folders, make):
    contrib = pytest.importorskip("sb3_contrib")
    from textgym.sb3.maskable import MASKABLE_PPO_DEFAULTS, MaskableTransformerPolicy

    for kind in ("lstm", "llama"):
        settings = {**MASKABLE_PPO_DEFAULTS, "n_steps": 12, "batch_size": 24, "n_epochs": 1, "seed": 0}
        agent = contrib.MaskablePPO(
            MaskableTransformerPolicy, make(), policy_kwargs=kwargs(folders, kind), **settings
        ).learn(48)
        assert agent.num_timesteps == 48
        values = TransformerExtractor.policy_kwargs(str(folders / kind), frozen=True)
        DQN("MlpPolicy", make(1), policy_kwargs=values, buffer_size=100, learning_starts=8, batch_size=8).learn(16)


# --- adapters -------------------------------------------------------------------------------------------------------


def test_with_adapters_the_frozen_reference_shares_every_weight(folders):
    network = load_checkpoint(f"hf:{folders / 'gpt2'}").model.with_adapters({"r": 4})
    tokens = torch.tensor([[4, 5, SEP, 6, 7]])
    start = network(tokens).detach()
    reference = network.frozen()
    assert change_nothing(network.network)
    assert {w.data_ptr() for w in reference.parameters()} == {w.data_ptr() for w in network.parameters()}
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.requires_grad:
                assert "lora_" in name
                weight.normal_()
    assert not torch.allclose(network(tokens), start)
    torch.testing.assert_close(reference(tokens), start)
    assert not torch.allclose(network(tokens), start)  # and the adapters are there again
    assert all(weight.requires_grad == ("lora_" in name) for name, weight in network.named_parameters())
    copied = network.frozen()  # they have moved: what it is now can only be copied
    torch.testing.assert_close(copied(tokens), network(tokens))
    assert not any(weight.requires_grad for weight in copied.parameters())


def test_a_look_at_the_reference_between_forward_and_backward_changes_no_gradient(folders):
    gradients = []
    for look in (False, True):
        torch.manual_seed(0)
        network = load_checkpoint(f"hf:{folders / 'gpt2'}").model.with_adapters({"r": 4})
        reference = network.frozen()
        states = network(torch.tensor([[4, 5, SEP, 6, 7]]))
        if look:
            reference(torch.tensor([[4, 5, SEP, 6, 7]]))
        states.square().sum().backward()
        gradients.append([weight.grad for weight in network.parameters() if weight.requires_grad])
    assert all(torch.equal(plain, looked) for plain, looked in zip(*gradients, strict=True))
    assert any(bool(gradient.any()) for gradient in gradients[0])


def test_adapters_are_merged_into_the_model_that_is_saved(folders, tmp_path):
    checkpoint = load_checkpoint(f"hf:{folders / 'llama'}")
    network = checkpoint.model.with_adapters({"r": 4, "target_modules": ["q_proj", "down_proj"]})
    for weight in network.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.2)
    tokens = torch.tensor([[4, 5, SEP, 6, 7]])
    states = network(tokens)
    save_checkpoint(tmp_path / "m", network, checkpoint.tokenizer)
    merged = load_checkpoint(tmp_path / "m").model
    assert isinstance(merged, HuggingFaceNetwork) and merged.config.lora is None
    torch.testing.assert_close(merged(tokens), states, rtol=1e-3, atol=1e-3)
    assert torch.equal(network(tokens), states)  # saving changes nothing


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "lstm-tiny", "lora": {"r": 4}}, "adapts a model that is there"),
        ({"model": "FOLDER/lstm", "lora": {"r": 4}}, "adapts models of Hugging Face"),
        ({"model": "hf:FOLDER/gpt2", "lora": {"rank": 4}}, r"lora=.*rank"),
        ({"model": "hf:FOLDER/gpt2", "lora": {"r": 4, "target_modules": ["lm_head"]}}, "adapts the head"),
        ({"model": "hf:FOLDER/gpt2", "lora": {"r": 4, "target_modules": ["nothing"]}}, "nothing"),
    ],
)
def test_adapters_that_cannot_be_are_refused(folders, make, given, message):
    given = {**given, "model": given["model"].replace("FOLDER", str(folders))}
    with pytest.raises(CheckpointError, match=message):
        PPO(TransformerPolicy, make(), policy_kwargs=given, **SMALL)


def test_missing_peft_fails_with_the_install_line(folders, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"textgym\[lora\]"):
        PPO(TransformerPolicy, make(), policy_kwargs=kwargs(folders, "lora"), **SMALL)


def test_a_model_that_does_not_fit_the_environment_says_why(folders, make):
    with pytest.raises(CheckpointError, match=r"vocabulary of 322 tokens, the environment has"):
        env = make_sb3_env("TextGenMicro-v0", n_envs=1)
        PPO(TransformerPolicy, env, policy_kwargs={"model": str(folders / "gpt2")}, **SMALL)
    short = hf_samples.gpt2(folders / "short", positions=8)
    with pytest.raises(CheckpointError, match="context of 8 tokens"):
        PPO(TransformerPolicy, make(), policy_kwargs={"model": f"hf:{short}"}, **SMALL)


# --- the exact optimum ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the policy starts from random weights")
def test_ppo_on_an_lstm_reaches_the_optimum_of_a_micro_world():
    env = make_sb3_env("TextGenMicro-v0", n_envs=32, seed=0)
    settings = {**PPO_DEFAULTS, "n_steps": 24, "batch_size": 256, "learning_rate": 3e-3, "ent_coef": 0.01, "seed": 0}
    agent = PPO(TransformerPolicy, env, policy_kwargs={"model": "lstm-tiny"}, device="cpu", **settings)
    solution = solve(gym.make("TextGenMicro-v0"))
    assert solution.regret(agent_policy(agent)) > 0.5
    agent.learn(30_720)
    assert solution.regret(agent_policy(agent)) < 0.01
    assert solution.regret(agent_policy(agent, deterministic=True)) < 0.01
