"""Agents that learn nothing: greedy, uniform, beam search, best of n, beside enumeration and the oracle."""

import itertools
import json

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import ConvertCallback
from textgym.agents import beam, best_of_n, greedy, random
from textgym.agents.exact_policy import agent_policy

import textgym
from textgym.errors import SpaceError, TaskError
from textgym.oracle import solve
from textgym.sb3 import RewardLog, TrainingCheckpoint, make_sb3_env, resume

pytestmark = pytest.mark.filterwarnings("ignore:the policy starts from random weights")

BUILDERS = {"greedy": greedy.build, "random": random.build, "beam": beam.build, "best_of_n": best_of_n.build}


@pytest.fixture(scope="module")
def task():
    return textgym.micro("bigram", vocab_size=4, horizon=4)


def agent_of(build, task, n_envs=16, seed=1, constraint=None, gain=12, **settings):
    """An agent whose network has opinions: random weights, made large."""
    agent = build(make_sb3_env(n_envs=n_envs, task=task, seed=0, constraint=constraint), "tiny", seed=seed, **settings)
    if hasattr(agent.policy, "transformer"):
        with torch.no_grad():
            agent.policy.transformer.wte.weight.mul_(gain)
    torch.manual_seed(seed)
    return agent


def texts_of(task, agent):
    """Every text of a micro world with its log-probability under the agent's policy model."""
    logprobs = agent_policy(agent.policy, masked=True)
    solution, words = solve(task), range(3, task.tokenizer.vocab_size)
    table = {}

    def asked(prefixes):
        found = logprobs(prefixes)
        table.update({tuple(c.tolist()): row for c, row in zip(prefixes.completions, found, strict=True)})
        return found

    solution.evaluate(asked)
    found = {}
    for length in range(1, task.max_new_tokens + 1):
        for text in itertools.product([task.tokenizer.eos_id, *words], repeat=length):
            ended = text[-1] == task.tokenizer.eos_id
            if task.tokenizer.eos_id in text[:-1] or not (ended or length == task.max_new_tokens):
                continue
            found[text] = sum(table[text[:i]][token] for i, token in enumerate(text))
    assert np.exp(list(found.values())).sum() == pytest.approx(1)
    return found


def episodes_of(agent, tokens):
    """The last infos of the episodes that `learn` has ended."""
    ends = []

    def keep(found, _):
        ends.extend(found["infos"][row] for row in np.flatnonzero(found["dones"]))
        return True

    agent.learn(tokens, callback=keep)
    return ends


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_the_world_finds_the_best_of_all_texts(task, seed, length_penalty):
    agent = agent_of(beam.build, task, n_envs=2, n_steps=8, seed=seed, width=128, length_penalty=length_penalty)
    scores = {text: log / ((5 + len(text)) / 6) ** length_penalty for text, log in texts_of(task, agent).items()}
    due = max(scores, key=scores.get)
    ends = episodes_of(agent, 16)
    assert ends and {end["completion"] for end in ends} == {due}


def test_a_length_penalty_lengthens():
    task = textgym.micro("bigram", vocab_size=4, horizon=6)
    agents = [agent_of(beam.build, task, n_envs=1, seed=0, width=8, length_penalty=penalty) for penalty in (0.0, 1.0)]
    assert [len(episodes_of(agent, 8)[0]["completion"]) for agent in agents] == [1, 6]


@pytest.mark.parametrize("gain", [3, 12])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy_and_a_wider_one_is_likelier(task, seed, gain):
    agents = [agent_of(greedy.build, task, n_envs=2, seed=seed, gain=gain)]
    agents += [agent_of(beam.build, task, n_envs=2, seed=seed, gain=gain, width=width) for width in (1, 3, 64)]
    likely = texts_of(task, agents[0])
    one, first, some, many = (episodes_of(agent, 8)[0]["completion"] for agent in agents)
    assert one == first and likely[one] <= likely[many] and likely[some] <= likely[many]


def test_greedy_takes_the_likeliest_token_of_every_prefix(task):
    agent = agent_of(greedy.build, task)
    exact = solve(task).evaluate(agent_policy(agent.policy, deterministic=True, masked=True))
    rewards = [end["episode"]["r"] for end in episodes_of(agent, 256)]
    assert rewards == pytest.approx([exact.value] * len(rewards))
    assert solve(task).evaluate(agent_policy(agent)) == exact
    with pytest.raises(TaskError, match="BestOfN plans or draws"):
        agent_policy(agent_of(best_of_n.build, task))


def test_random_is_the_uniform_policy_of_the_oracle(task):
    agent = agent_of(random.build, task, n_envs=64)
    rewards = np.array([end["episode"]["r"] for end in episodes_of(agent, 16_000)])
    assert abs(rewards.mean() - solve(task).uniform_value) < 4 * rewards.std() / len(rewards) ** 0.5
    observation = agent.env.reset()
    assert len({agent.predict(observation)[0].tobytes() for _ in range(3)}) == 3  # drawn anew each time
    mask = np.zeros(task.tokenizer.vocab_size, bool)
    mask[[3, 5]] = True
    assert set(agent.predict(observation, action_masks=np.tile(mask, (64, 1)))[0].tolist()) == {3, 5}


@pytest.mark.parametrize("n", [1, 4])
def test_best_of_n_has_the_law_that_the_oracle_knows(task, n):
    agent = agent_of(best_of_n.build, task, n_envs=512, n=n, n_steps=5)  # rollouts end in mid-text
    law = solve(task).best_of_n(n, agent_policy(agent.policy, masked=True))
    earned = np.array([end["episode"]["r"] for end in episodes_of(agent, 20_000)])
    shares = np.array([(np.abs(earned - reward) < 1e-5).mean() for reward in law.rewards])
    assert shares.sum() == pytest.approx(1)
    spread = np.sqrt(law.probabilities * (1 - law.probabilities) / len(earned))
    assert (np.abs(shares - law.probabilities) < 5 * spread + 1e-4).all()
    assert abs(earned.mean() - law.expected_reward) < 4 * earned.std() / len(earned) ** 0.5
    assert agent.kl_bound == pytest.approx(law.bound)


def test_a_plan_is_followed_whoever_asks_in_between_and_in_whatever_order(task):
    agent = agent_of(best_of_n.build, task, n_envs=8, n=4)
    planned, plan, rng = [], agent.plan, np.random.default_rng(0)
    agent.plan = lambda tokens, *rest: planned.append(len(tokens)) or plan(tokens, *rest)
    opening = observations = agent.env.reset()
    texts, actions = 0, np.empty(8, np.int64)
    for _ in range(12):
        order = rng.permutation(8)
        for rows in (order[:5], order[5:]):
            actions[rows] = agent.predict(observations[rows])[0]
            agent.predict(opening[0])  # begins a text that nobody goes on with
        observations, _, dones, _ = agent.env.step(actions)
        texts += dones.sum()
    assert texts > 16 and sum(planned) == 8 + texts - dones.sum() + 2 * 12


def test_a_text_that_leaves_its_plan_is_planned_again(task):
    agent = agent_of(beam.build, task, width=64)
    opening = agent.env.reset()[0]
    first = int(agent.predict(opening)[0])
    other = next(token for token in range(3, task.tokenizer.vocab_size) if token != first)
    left = opening.copy()
    left[(opening >= 0).sum()] = other
    again = int(agent.predict(left)[0])
    table = texts_of(task, agent)
    due = max((text for text in table if text[0] == other), key=table.get)
    assert again == due[1]


@pytest.mark.parametrize("name", ["beam", "best_of_n"])
def test_a_whole_plan_obeys_the_environment_and_gives_way_to_a_mask(task, name):
    agent = agent_of(BUILDERS[name], task, constraint={"no_repeat_ngram": 1})
    observations = agent.env.reset()
    lengths = (observations >= 0).sum(1)
    for plan in agent.plan(observations, lengths, agent.allowed(observations, lengths)):
        assert len(set(plan.tolist())) == len(plan)
    first = agent.predict(observations)[0]
    agent.env.step(first)
    observations[np.arange(16), lengths] = first
    going = first != task.tokenizer.eos_id
    prefixes, masks = observations[going], np.zeros((going.sum(), task.tokenizer.vocab_size), bool)
    masks[:, task.tokenizer.eos_id] = True
    assert going.any() and (agent.predict(prefixes, action_masks=masks)[0] == task.tokenizer.eos_id).all()


@pytest.mark.parametrize("name", BUILDERS)
def test_what_the_environment_forbids_is_never_chosen(task, name):
    constraint = {"min_new_tokens": 3, "no_repeat_ngram": 1}
    ends = episodes_of(agent_of(BUILDERS[name], task, constraint=constraint), 256)
    assert ends and not any(end["illegal_actions"] for end in ends)
    for end in ends:
        assert len(end["completion"]) >= 3 and len(set(end["completion"])) == len(end["completion"])


@pytest.mark.parametrize("name", BUILDERS)
def test_learning_writes_the_log_and_changes_no_parameter(task, name, tmp_path):
    agent = agent_of(BUILDERS[name], task, n_steps=8)
    before = {key: value.clone() for key, value in agent.policy.state_dict().items() if torch.is_tensor(value)}
    agent.learn(300, callback=RewardLog(tmp_path / "metrics.jsonl"))
    assert agent.num_timesteps == 384  # whole rollouts of 8 steps in 16 rows
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["tokens/total"] for row in rows] == [128, 256, 384] and all("reward/paid" in row for row in rows)
    assert ("kl/reference" in rows[0]) == (name != "random")
    if name == "best_of_n":
        assert rows[-1]["plan/drawn"] == agent.drawn > 5 * 300
    for key, value in before.items():
        assert torch.equal(agent.policy.state_dict()[key], value)


@pytest.mark.parametrize("name", ["greedy", "beam", "best_of_n"])
def test_prefixes_are_decoded_a_token_at_a_time(task, name, monkeypatch):
    agent, decoded = agent_of(BUILDERS[name], task), []
    network = agent.policy.transformer
    decode = network.decode
    monkeypatch.setattr(network, "decode", lambda tokens, cache: decoded.append(len(tokens)) or decode(tokens, cache))
    monkeypatch.setattr(network, "forward", None)
    agent.predict(agent.env.reset())
    assert decoded


def test_a_training_that_is_stopped_in_mid_text_goes_on_with_its_plans(task, tmp_path):
    def trained(name, left=None, stop=None):
        agent = agent_of(best_of_n.build, task, n=3, n_steps=3)
        metrics, folder = tmp_path / f"{name}.jsonl", tmp_path / name
        if left is not None:
            left = resume(agent, folder, metrics=metrics)
        callbacks = [RewardLog(metrics), TrainingCheckpoint(folder)]
        if stop is not None:
            callbacks.append(ConvertCallback(stop))
        agent.learn(192 if left is None else left, callback=callbacks, reset_num_timesteps=left is None)
        return [json.loads(line) for line in metrics.read_text().splitlines()], agent.drawn

    def stop(found, _):
        if found["self"].num_timesteps > 120:
            raise KeyboardInterrupt
        return True

    whole, drawn = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", stop=stop)
    rows, again = trained("stopped", left=0)
    assert len(rows) == 4 and again == drawn
    for row, due in zip(rows, whole, strict=True):
        assert {**row, "tokens/per_second": 0} == {**due, "tokens/per_second": 0}


@pytest.mark.parametrize("name", BUILDERS)
def test_where_rows_rest_a_rollout_is_one_text_a_row_planned_at_once(task, name):
    env = make_sb3_env(n_envs=6, task=task, seed=0, autoreset=False)
    agent = BUILDERS[name](env, "tiny", seed=0)
    asked, plan = [], agent.plan
    agent.plan = lambda tokens, *rest: asked.append(len(tokens)) or plan(tokens, *rest)
    ends = episodes_of(agent, 1)
    assert len(ends) == 6 and agent.num_timesteps == sum(len(end["completion"]) for end in ends)
    assert asked == [6] or name in ("greedy", "random")


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_a_saved_agent_plans_as_it_did(task, name, tmp_path):
    agent = agent_of(BUILDERS[name], task, **({"width": 3} if name == "beam" else {}))
    agent.save(tmp_path / "agent.zip")
    loaded = type(agent).load(tmp_path / "agent.zip", env=agent.env)
    observation = agent.env.reset()
    assert np.array_equal(loaded.predict(observation)[0], agent.predict(observation)[0])
    alone = type(agent).load(tmp_path / "agent.zip")
    if name == "greedy":
        assert alone.predict(observation[0])[0] == agent.predict(observation[0])[0]
    else:
        assert loaded.width == 3
        with pytest.raises(TaskError, match=r"plans by the rules of its environment, and has none: BeamSearch\.load"):
            alone.predict(observation)


def test_candidates_are_judged_with_the_references_of_their_prompt(tmp_path):
    rows = [{"prompt": f"say {word}", "reference": f" {word} {word}"} for word in ("sun", "rain", "snow", "wind")]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 5))
    env = make_sb3_env(n_envs=8, prompts=str(path), tokenizer="word", max_new_tokens=3, reward="rouge", seed=0)
    agent = best_of_n.build(env, "tiny", n=16, seed=0)
    judged = []
    rewards = agent._rewards

    def keep(*texts):
        judged.append(rewards(*texts))
        return judged[-1]

    agent._rewards = keep
    paid = [end["episode"]["r"] for end in episodes_of(agent, 24)]
    best = judged[0].reshape(-1, 16).max(1)
    assert max(best) > 0 and sorted(paid[:8]) == pytest.approx(sorted(best))


@pytest.mark.parametrize(
    ("build", "settings", "said"),
    [
        (beam.build, {"width": 0}, "width=0: at least 1 prefix"),
        (beam.build, {"length_penalty": -1.0}, "length_penalty=-1.0"),
        (best_of_n.build, {"n": 0}, "n=0: the best of at least 1 text"),
        (greedy.build, {"n_steps": 0}, "n_steps=0"),
    ],
)
def test_a_setting_out_of_range_is_an_error(task, build, settings, said):
    with pytest.raises(TaskError, match=said):
        build(make_sb3_env(n_envs=2, task=task), "tiny", **settings)


def test_masks_that_do_not_fit_are_an_error(task):
    agent = agent_of(greedy.build, task, n_envs=2)
    observation = agent.env.reset()
    with pytest.raises(SpaceError, match="for 2 prefixes"):
        agent.predict(observation, action_masks=np.ones(3, bool))
    with pytest.raises(SpaceError, match="row 1 allows no token at all"):
        agent.predict(observation, action_masks=np.array([[True] * 6, [False] * 6]))
    with pytest.raises(SpaceError, match="without a single token"):
        agent.predict(np.full_like(observation, -1))
