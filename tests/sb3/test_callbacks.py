import csv
import itertools
import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from textgym.models.transformer import Transformer, TransformerConfig
from textgym.sb3 import A2C_DEFAULTS, PPO_DEFAULTS, RewardLog, TransformerPolicy, make_sb3_env
from textgym.sb3.callbacks import batch_of, entropy_and_kl
from textgym.sb3.defaults import TextGymWarning
from textgym.sb3.segments import Segments

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 16}
OF_EPISODES = {
    "reward/paid",
    "reward/distinct",
    "reward/repetition",
    "rollout/length",
    "rollout/eos_rate",
    "rollout/rep_4",
    "rollout/distinct_2",
}
OF_POLICY = {"rollout/entropy", "kl/reference"}
OF_TOKENS = {"tokens/total", "tokens/per_second"}


WORDS = "the a red blue cat dog sat ran on mat hill and saw it went home"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join(" ".join(rng.choice(WORDS.split(), 10)) + "." for _ in range(100)))
    return str(path)


def make_agent(corpus, algorithm=PPO, policy=TransformerPolicy, n_envs=6):
    env = make_sb3_env(
        n_envs=n_envs, corpus=corpus, tokenizer="word", max_new_tokens=8, reward="distinct(n=2) - repetition(n=2)"
    )
    defaults = dict(PPO_DEFAULTS, batch_size=32, n_steps=16) if algorithm is PPO else dict(A2C_DEFAULTS, n_steps=16)
    if policy is TransformerPolicy:
        defaults["policy_kwargs"] = {"model": TINY}
    else:
        defaults["rollout_buffer_class"] = None
    agent = algorithm(policy, env, seed=0, device="cpu", **{**defaults, "learning_rate": 1e-2})
    agent.policy.trained = True
    return agent


def rows_of(path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Spy(BaseCallback):
    """Keeps, for each rollout, the infos of the episodes that ended, and the policy as it acted."""

    def __init__(self):
        super().__init__()
        self.rollouts, self.weights = [], []

    def _on_rollout_start(self):
        self.rollouts.append([])
        self.weights.append({k: v.clone() for k, v in self.model.policy.transformer.state_dict().items()})

    def _on_step(self):
        self.rollouts[-1] += [i for i, done in zip(self.locals["infos"], self.locals["dones"], strict=True) if done]
        return True


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_every_figure_reaches_the_csv_and_the_json_logger(corpus, tmp_path, algorithm):
    agent = make_agent(corpus, algorithm)
    agent.set_logger(configure(str(tmp_path), ["csv", "json"]))
    agent.learn(3 * 96, callback=RewardLog(), log_interval=1)
    agent.logger.close()
    rows = rows_of(tmp_path / "progress.json")
    assert len(rows) == 3
    assert all(row.keys() >= OF_EPISODES | OF_POLICY | OF_TOKENS for row in rows)
    with (tmp_path / "progress.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["tokens/total"]) for line in lines] == [96, 192, 288]
    assert all(float(line["rollout/entropy"]) > 0 for line in lines)


def test_it_writes_to_the_table_and_to_tensorboard(corpus, tmp_path, capsys):
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    agent = make_agent(corpus)
    agent.set_logger(configure(str(tmp_path), ["stdout", "tensorboard"]))
    agent.learn(96, callback=RewardLog())
    agent.logger.close()
    assert "eos_rate" in capsys.readouterr().out
    events = board.EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) >= OF_EPISODES | OF_POLICY | OF_TOKENS


def test_means_are_those_of_the_episodes_that_ended_in_the_rollout(corpus, tmp_path):
    agent, spy = make_agent(corpus), Spy()
    agent.learn(3 * 96, callback=[spy, RewardLog(tmp_path / "metrics.jsonl")])
    rows = rows_of(tmp_path / "metrics.jsonl")
    for row, ends in zip(rows, spy.rollouts, strict=True):
        assert len(ends) > 5
        lengths = [len(end["completion"]) for end in ends]
        assert row["rollout/length"] == pytest.approx(np.mean(lengths))
        assert row["rollout/eos_rate"] == pytest.approx(np.mean([end["completion"][-1] == 2 for end in ends]))
        assert row["reward/paid"] == pytest.approx(np.mean([end["episode"]["r"] for end in ends]), rel=1e-5)
        distinct = [end["reward_components/distinct"] for end in ends]
        repetition = [end["reward_components/repetition"] for end in ends]
        assert row["reward/distinct"] == pytest.approx(np.mean(distinct))
        assert row["reward/paid"] == pytest.approx(np.mean(distinct) - np.mean(repetition), rel=1e-5)
        assert row["rollout/distinct_2"] == pytest.approx(np.mean(distinct))
    assert rows[0]["rollout/eos_rate"] > 0


def test_the_kl_is_nought_at_first_and_then_the_sum_over_visited_states(corpus, tmp_path):
    agent, spy = make_agent(corpus), Spy()
    log = RewardLog(tmp_path / "metrics.jsonl", sample=10**6)
    agent.learn(3 * 96, callback=[spy, log])
    rows = rows_of(tmp_path / "metrics.jsonl")
    assert rows[0]["kl/reference"] == pytest.approx(0, abs=1e-5)
    assert rows[2]["kl/reference"] > 0.01
    then, now = (Transformer(agent.policy.transformer.config) for _ in range(2))
    then.load_state_dict(spy.weights[0])
    now.load_state_dict(spy.weights[2])
    kl, entropies = 0.0, []
    for end in spy.rollouts[2]:
        tokens = torch.as_tensor(end["terminal_observation"][end["terminal_observation"] >= 0]).long()
        for cut in range(len(tokens) - len(end["completion"]), len(tokens)):
            p, q = (
                torch.distributions.Categorical(logits=net.logits(net(tokens[None, :cut])[0, -1]).detach())
                for net in (now, then)
            )
            kl += float(torch.distributions.kl_divergence(p, q))
            entropies.append(float(p.entropy()))
    assert rows[2]["kl/reference"] == pytest.approx(kl / len(spy.rollouts[2]), rel=1e-3)
    assert rows[2]["rollout/entropy"] == pytest.approx(np.mean(entropies), rel=1e-3)


def test_a_batch_of_ends_holds_prompts_and_completions_without_separator(corpus):
    env = make_sb3_env(n_envs=1, corpus=corpus, tokenizer="word", max_new_tokens=8, reward="length")
    tokenizer = env.get_attr("task")[0].tokenizer
    prompt = env.reset()[0]
    *_, infos = env.step(np.array([5]))
    *_, infos = env.step(np.array([tokenizer.eos_id]))
    batch = batch_of(infos, tokenizer)
    assert [*batch.prompts[0], tokenizer.sep_id] == prompt[prompt >= 0].tolist()
    assert batch.completions[0].tolist() == [5, tokenizer.eos_id]
    assert batch.completion_texts[0] == infos[0]["text"]


def test_a_sample_lies_within_the_whole(corpus, tmp_path):
    few, all_of_them = RewardLog(tmp_path / "few.jsonl", sample=2), RewardLog(tmp_path / "all.jsonl", sample=10**6)
    make_agent(corpus).learn(2 * 96, callback=[few, all_of_them])
    sampled, whole = (rows_of(tmp_path / name)[1]["rollout/entropy"] for name in ("few.jsonl", "all.jsonl"))
    assert sampled != whole
    assert sampled == pytest.approx(whole, rel=0.3)


def test_the_state_wise_kl_has_the_kl_between_distributions_over_texts_as_its_mean():
    """The oracle: all texts of 3 tokens over 4 ids, with their probabilities under two random networks."""
    torch.manual_seed(0)
    networks = [Transformer(TransformerConfig(4, 5, n_layer=1, n_head=1, n_embd=4)) for _ in range(2)]
    for parameter in itertools.chain(*(net.parameters() for net in networks)):
        torch.nn.init.normal_(parameter, std=0.7)
    texts = torch.tensor([(1, *text) for text in itertools.product(range(4), repeat=3)])
    log_p, log_q = (
        net.logits(net(texts))[:, :-1].log_softmax(-1).gather(-1, texts[:, 1:, None]).sum((1, 2)).detach()
        for net in networks
    )
    exact = (log_p.exp() * (log_p - log_q)).sum()
    mean_kl = mean_entropy = 0.0
    for text, probability in zip(texts, log_p.exp(), strict=True):
        segment = Segments(text[None], torch.tensor([1]), torch.tensor([3]))
        entropy, kl = entropy_and_kl(*networks, segment)
        mean_kl, mean_entropy = mean_kl + float(probability) * kl, mean_entropy + float(probability) * entropy
    assert mean_kl == pytest.approx(float(exact), rel=1e-4)
    assert mean_entropy == pytest.approx(float(-(log_p.exp() * log_p).sum()), rel=1e-4)


def test_the_reference_outlives_a_call_of_learn_and_is_saved_with_nobody(corpus, tmp_path):
    agent, log = make_agent(corpus), RewardLog(tmp_path / "metrics.jsonl")
    agent.save(tmp_path / "before")
    parameters = len(agent.get_parameters()["policy"])
    for _ in range(2):
        agent.learn(2 * 96, callback=log, reset_num_timesteps=False)
    agent.save(tmp_path / "after")
    rows = rows_of(tmp_path / "metrics.jsonl")
    assert [row["tokens/total"] for row in rows] == [96, 192, 288, 384]
    assert rows[2]["kl/reference"] > 0.01
    assert len(agent.get_parameters()["policy"]) == parameters
    again = PPO.load(tmp_path / "after", device="cpu")
    assert sum(isinstance(module, Transformer) for module in again.policy.modules()) == 1


def test_the_reference_of_the_buffer_goes_first_and_its_penalty_is_logged(corpus, tmp_path):
    agent = make_agent(corpus)
    buffer = agent.rollout_buffer
    buffer.reference = Transformer(agent.policy.transformer.config)
    agent.learn(96, callback=RewardLog(tmp_path / "metrics.jsonl", sample=10**6))
    (row,) = rows_of(tmp_path / "metrics.jsonl")
    assert row["kl/reference"] > 1e-4
    assert row["kl/penalty"] == pytest.approx(buffer.kl_penalty)


def test_another_policy_gets_all_but_entropy_and_kl(corpus, tmp_path):
    make_agent(corpus, policy="MlpPolicy").learn(96, callback=RewardLog(tmp_path / "metrics.jsonl"))
    (row,) = rows_of(tmp_path / "metrics.jsonl")
    assert row.keys() == OF_EPISODES | OF_TOKENS


def test_observations_that_are_dicts_of_tokens_and_masks_get_all_but_entropy_and_kl(corpus, tmp_path):
    env = make_sb3_env(
        "TextGenDict-v0", n_envs=6, corpus=corpus, tokenizer="word", max_new_tokens=8, reward="distinct - repetition"
    )
    agent = PPO("MultiInputPolicy", env, n_steps=16, batch_size=32, gamma=1.0, device="cpu", seed=0)
    agent.learn(96, callback=RewardLog(tmp_path / "metrics.jsonl"))
    (row,) = rows_of(tmp_path / "metrics.jsonl")
    assert row.keys() == OF_EPISODES | OF_TOKENS


def test_another_environment_gets_what_it_can(tmp_path):
    agent = PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=64, device="cpu", seed=0)
    agent.learn(64, callback=RewardLog(tmp_path / "metrics.jsonl"))
    (row,) = rows_of(tmp_path / "metrics.jsonl")
    assert row.keys() == {"reward/paid", *OF_TOKENS}


def test_failed_scores_count_as_such_and_not_in_the_means(corpus, tmp_path):
    def moody(prompt: str, completion: str) -> float:
        return 1.0 if len(completion) % 2 else float("nan")

    env = make_sb3_env(n_envs=6, corpus=corpus, tokenizer="word", max_new_tokens=8, reward=moody, on_failure="mask")
    agent = PPO(
        TransformerPolicy, env, policy_kwargs={"model": TINY}, device="cpu", **dict(PPO_DEFAULTS, batch_size=32)
    )
    agent.policy.trained = True
    agent.learn(6 * 64, callback=RewardLog(tmp_path / "metrics.jsonl"))
    (row,) = rows_of(tmp_path / "metrics.jsonl")
    assert 0 < row["reward/failed"] < 1
    assert row["reward/paid"] == 1.0


def test_rows_are_plain_json_and_hold_the_update_before(corpus, tmp_path):
    path = tmp_path / "not" / "there" / "metrics.jsonl"
    make_agent(corpus).learn(2 * 96, callback=RewardLog(path))
    first, second = rows_of(path)
    assert "NaN" not in path.read_text()
    assert "train/approx_kl" not in first and second["train/approx_kl"] >= 0


def test_bad_settings_are_told_once(corpus):
    agent, log = make_agent(corpus), RewardLog()
    agent.gamma = 0.99
    with pytest.warns(TextGymWarning, match=r"gamma=0\.99 with terminal delivery") as told:
        agent.learn(96, callback=log)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.learn(96, callback=log, reset_num_timesteps=False)


def test_long_component_names_do_not_break_the_table(corpus, capsys):
    agent, log = make_agent(corpus), RewardLog()
    agent.set_logger(configure(None, ["stdout"]))
    log.init_callback(agent)
    log._ends = [{f"reward_components/a_component_with_a_rather_long_name_{i}": 1.0 for i in range(2)}]
    log._on_rollout_end()
    agent.logger.dump(0)
    assert "tokens/" in capsys.readouterr().out
