import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError, SpaceError
from textgym.models.checkpoint import load_checkpoint, new_model, save_checkpoint
from textgym.sb3 import TransformerExtractor, make_sb3_env

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16}
OFF_POLICY = {
    "gamma": 1.0,
    "buffer_size": 2_000,
    "learning_starts": 100,
    "batch_size": 32,
    "train_freq": 1,
    "target_update_interval": 50,
    "exploration_fraction": 0.7,
    "seed": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "tiny.txt"
    path.write_text("\n\n".join(" ".join(rng.choice(["ba", "bo", "ko"], 10)) + "." for _ in range(60)))
    return make_task(corpus=str(path), tokenizer="word", max_new_tokens=3, max_prompt_tokens=10)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, seed=3)
    path = tmp_path_factory.mktemp("models") / "start"
    save_checkpoint(path, model, task.tokenizer)
    return path


def say_ko(text: str) -> float:
    return float(text.count("ko"))


def make_env(task, id="TextGen-v0", rows=8):
    return make_sb3_env(id, n_envs=rows, seed=5, task=task, reward=say_ko)


def make_extractor(**settings) -> TransformerExtractor:
    torch.manual_seed(0)
    return TransformerExtractor(spaces.Box(-1, 12, (6,), np.int32), **{"model": SHAPE, **settings})


def observe(*rows: list[int]) -> torch.Tensor:
    return torch.tensor([[*row, *[-1.0] * (6 - len(row))] for row in rows])


@pytest.mark.parametrize("name", ["DQN", "QRDQN"])
def test_off_policy_algorithms_learn_unmodified(task, name):
    contrib = pytest.importorskip("sb3_contrib", reason="QR-DQN: pip install 'textgym[contrib]'")
    algorithm, more = (DQN, {}) if name == "DQN" else (contrib.QRDQN, {"n_quantiles": 10})
    kwargs = {"features_extractor_class": TransformerExtractor, "features_extractor_kwargs": {"model": SHAPE}}
    agent = algorithm(
        "MlpPolicy",
        make_env(task),
        policy_kwargs={**kwargs, "net_arch": [], **more},
        learning_rate=1e-2,
        **{**OFF_POLICY, "exploration_fraction": 0.6},
    )
    agent.learn(1_500)
    after, _ = evaluate_policy(agent, make_env(task), n_eval_episodes=24, deterministic=True)
    assert after > 2.5, after  # of 3; uniform choice has 0.6


def test_features_are_the_hidden_state_of_the_last_token():
    extractor = make_extractor()
    prefixes = [[4, 1], [5, 12, 7, 1], [8, 1, 9]]
    features = extractor(observe(*prefixes))
    assert features.shape == (3, extractor.features_dim) == (3, 16)
    for prefix, row in zip(prefixes, features, strict=True):
        torch.testing.assert_close(extractor.transformer(torch.tensor([prefix]))[0, -1], row, rtol=1e-4, atol=1e-5)


def test_the_network_trains_unless_it_is_frozen():
    for frozen in (False, True):
        extractor = make_extractor(frozen=frozen)
        features = extractor(observe([4, 1]))
        assert features.requires_grad is not frozen
        assert any(p.requires_grad for p in extractor.parameters()) is not frozen


def test_a_frozen_model_is_the_same_after_training(task, folder):
    kwargs = TransformerExtractor.policy_kwargs(folder, frozen=True, net_arch=[16])
    agent = DQN("MlpPolicy", make_env(task), policy_kwargs=kwargs, **OFF_POLICY)
    head = agent.q_net.q_net[0].weight.detach().clone()
    agent.learn(300)
    ours, saved = agent.q_net.features_extractor.transformer, load_checkpoint(folder).model
    for name, weight in saved.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=0, atol=0)
    assert not torch.equal(agent.q_net.q_net[0].weight, head)


def test_ids_that_come_as_floats_are_the_same_ids(task, folder):
    chosen = []
    for id in ("TextGen-v0", "TextGenFloat-v0"):
        agent = DQN("MlpPolicy", make_env(task, id), policy_kwargs=TransformerExtractor.policy_kwargs(folder), seed=0)
        chosen.append(agent.predict(agent.env.reset(), deterministic=True)[0])
    np.testing.assert_array_equal(*chosen)


def test_it_also_serves_ppo(task, folder):
    settings = {"n_steps": 8, "batch_size": 32, "seed": 0, "device": "cpu"}
    agent = PPO("MlpPolicy", make_env(task), policy_kwargs=TransformerExtractor.policy_kwargs(folder), **settings)
    agent.learn(64)


def test_a_saved_agent_loads_where_its_model_folder_is_gone(task, folder, tmp_path):
    checkpoint = load_checkpoint(folder)
    save_checkpoint(tmp_path / "model", checkpoint.model, checkpoint.tokenizer)
    kwargs = TransformerExtractor.policy_kwargs(tmp_path / "model")
    agent = DQN("MlpPolicy", make_env(task), policy_kwargs=kwargs, **OFF_POLICY)
    agent.learn(200)
    agent.save(tmp_path / "agent.zip")
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    loaded = DQN.load(tmp_path / "agent.zip", env=agent.env)
    observations = agent.env.reset()
    chosen, expected = (it.predict(observations, deterministic=True)[0] for it in (loaded, agent))
    np.testing.assert_array_equal(chosen, expected)
    loaded.learn(200)


def test_a_model_that_is_missing_and_gets_no_weights_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        make_extractor(model=str(tmp_path / "nowhere"))
    extractor = make_extractor(model=str(tmp_path / "nowhere"), shape=SHAPE)
    with pytest.raises(CheckpointError, match="nowhere"):
        extractor(observe([4, 1]))
    extractor.load_state_dict(make_extractor().state_dict())
    torch.testing.assert_close(extractor(observe([4, 1])), make_extractor()(observe([4, 1])))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({**SHAPE, "vocab_size": 12}, "vocabulary of 12 .*environment has 13"),
        ({**SHAPE, "context": 5}, "context of 5 .*observations have 6"),
        ({**SHAPE, "depth": 3}, "depth"),
    ],
)
def test_an_architecture_that_does_not_fit_says_both_numbers(model, said):
    with pytest.raises(CheckpointError, match=said):
        make_extractor(model=model)


def test_spaces_and_observations_without_tokens_are_refused():
    with pytest.raises(SpaceError, match="token prefixes"):
        TransformerExtractor(spaces.Box(0.0, 1.0, (4,)), model=SHAPE)
    with pytest.raises(SpaceError, match="without a single token"):
        make_extractor()(observe([]))
