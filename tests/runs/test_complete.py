"""Completions by any agent: as its network would write where it is its network, and within the constraints else."""

from dataclasses import replace

import numpy as np
import pytest
from textgym.agents import a2c, best_of_n, greedy, grpo, maskable_ppo, nlpo

from textgym.envs.tasks import make_task
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.models.sampling import Sampling, generate
from textgym.runs.complete import as_it_acts, complete, is_language_model, within_masks
from textgym.runs.config import TrainConfig
from textgym.runs.evaluate import constraints_of, evaluate, evaluate_agent, heldout_episodes
from textgym.runs.train import train
from textgym.sb3 import RewardLog, make_sb3_env
from textgym.scorers.reward import bind_reward

CONSTRAINT = {"min_new_tokens": 4, "no_repeat_ngram": 2}


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", max_new_tokens=7, max_prompt_tokens=8)


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    """A model with opinions: random weights, made large."""
    folder = tmp_path_factory.mktemp("complete") / "model"
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=banned)
    model.wte.weight.data.mul_(8)
    save_checkpoint(folder, model, task.tokenizer)
    return str(folder)


def agent_of(build, task, folder, **settings):
    needed = {**getattr(build, "environment", {}), **settings}
    return build(make_sb3_env(n_envs=8, task=task, reward="distinct", **needed), folder, seed=0)


@pytest.mark.parametrize("rows", [3, 64])
def test_a_greedy_agent_writes_what_the_model_writes_greedily(task, folder, rows):
    agent = agent_of(greedy.build, task, folder)
    indices = np.arange(10)
    ids = [task.heldout.prompt(int(i)) for i in indices]
    special = {"sep_id": task.tokenizer.sep_id, "eos_id": task.tokenizer.eos_id}
    due = generate(agent.policy.transformer, ids, **special, max_new_tokens=7, sampling=Sampling(temperature=0))
    made = complete(as_it_acts(agent, 0), heldout_episodes(agent, task), indices, rows=rows)
    assert [text.tolist() for text in made] == [text.tolist() for text in due.ids]


def test_drawing_within_masks_has_the_frequencies_of_the_model(task, folder):
    agent = agent_of(a2c.build, task, folder)
    network, indices = agent.policy.transformer, np.zeros(4000, np.int64)
    special = {"sep_id": task.tokenizer.sep_id, "eos_id": task.tokenizer.eos_id}
    plain = generate(network, [task.heldout.prompt(0)] * 4000, **special, max_new_tokens=7, seed=1).ids
    episodes = heldout_episodes(agent, task)
    for choose in (within_masks(network, 2), as_it_acts(agent, 3)):
        made = complete(choose, episodes, indices, rows=1000)
        for place in (0, 1):  # counts of the tokens there differ by chance alone
            counts = [
                np.bincount([t[place] for t in texts if len(t) > place], minlength=task.tokenizer.vocab_size)
                for texts in (plain, made)
            ]
            spread = np.sqrt(counts[0] + counts[1] + 1)
            assert (np.abs(counts[0] - counts[1]) < 5 * spread).all()


def test_the_same_seed_gives_the_same_texts(task, folder):
    agent = agent_of(maskable_ppo.build, task, folder, constraint=CONSTRAINT)
    episodes, indices, network = heldout_episodes(agent, task), np.arange(8), agent.policy.transformer
    for begin in (lambda seed: as_it_acts(agent, seed), lambda seed: within_masks(network, seed)):
        first, again, other = (complete(begin(seed), episodes, indices, rows=4) for seed in (1, 1, 2))
        assert all(map(np.array_equal, first, again)) and not all(map(np.array_equal, first, other))


@pytest.mark.parametrize(
    ("build", "constraint", "expected"),
    [
        (a2c.build, None, True),
        (a2c.build, CONSTRAINT, True),  # it looks at no masks
        (grpo.build, None, True),
        (grpo.build, CONSTRAINT, False),
        (maskable_ppo.build, None, True),
        (maskable_ppo.build, CONSTRAINT, False),
        (nlpo.build, None, False),
        (greedy.build, None, False),
        (best_of_n.build, None, False),
    ],
)
def test_what_is_a_language_model_is_evaluated_as_one(task, folder, build, constraint, expected):
    agent = agent_of(build, task, folder, **({"constraint": constraint} if constraint else {}))
    assert is_language_model(agent) is expected
    found = evaluate_agent(agent, agent.policy.transformer, task, bind_reward("distinct", task.context), n=6, seed=0)
    assert ("kl" in found.values) is expected and (found.perplexity is not None) is expected
    assert found.means()["reward"] == pytest.approx(found.values["reward"].mean())
    agent.policy.temperature = 0.5
    assert not is_language_model(agent)


def test_texts_before_obey_the_constraints_of_an_agent_that_does(task, folder):
    agent = agent_of(maskable_ppo.build, task, folder, constraint=CONSTRAINT)
    assert constraints_of(agent_of(a2c.build, task, folder, constraint=CONSTRAINT), task) is None
    assert constraints_of(agent_of(maskable_ppo.build, task, folder), task) is None
    reward = bind_reward("distinct", task.context)
    network = agent.policy.transformer
    before = evaluate(network, network, task, reward, n=12, seed=0, constrained=constraints_of(agent, task))
    after = evaluate_agent(agent, network, task, reward, n=12, seed=0)
    for found in (before, after):
        for text in found.batch.completions:
            pairs = list(zip(text[:-1].tolist(), text[1:].tolist(), strict=True))
            assert len(text) >= 4 and len(set(pairs)) == len(pairs)


def test_a_line_of_the_log_may_be_about_several_rollouts(task, folder, tmp_path):
    whole, parts = (RewardLog(tmp_path / name, every=every) for name, every in (("one", 1), ("three", 3)))
    agent = greedy.build(make_sb3_env(n_envs=8, task=task, reward="distinct"), folder, n_steps=8, seed=0)
    agent.learn(64 * 7, callback=[whole, parts])
    one, three = ((tmp_path / name).read_text().splitlines() for name in ("one", "three"))
    assert len(one) == 7 and len(three) == 3  # of three rollouts, of three, and of what is left
    parts._rollouts, parts._ends = 1, [{"completion": (3, 4), "reward_components/x": np.float64(2.0)}]
    state = parts.state_dict()
    parts.load_state_dict({"rollouts": 0, "ends": {}})
    parts.load_state_dict(state)
    assert parts._rollouts == 1 and parts._ends == [{"completion": [3, 4], "reward_components/x": 2.0}]


@pytest.mark.parametrize(
    ("agent", "given"),
    [
        ("ppo", {"kl_in": "loss", "kl_estimator": "full", "temperature": 0.8, "reference_every": 1}),
        ("grpo", {"kl_in": "reward", "group_size": 4, "settings": {"scale_advantages": False}}),
        ("rloo", {"constraint": CONSTRAINT, "kl_target": 1.0}),
        ("maskable_ppo", {"constraint": CONSTRAINT}),
    ],
)
def test_the_options_of_an_agent_go_through_a_run(tiny_corpus, folder, tmp_path, monkeypatch, agent, given):
    monkeypatch.setattr("textgym.runs.train.draw_curve", lambda *paths: None)
    tiny = {"tokenizer": folder + "/tokenizer.json", "max_new_tokens": 7, "max_prompt_tokens": 8, "reward": "distinct"}
    config = TrainConfig(corpus=str(tiny_corpus), **tiny, model=folder, steps=2048, envs=16, eval_prompts=4)
    config = replace(config, agent=agent, **given)
    result = train(config, tmp_path / "run")
    assert result.summary["config"]["agent"] == agent and (tmp_path / "run" / "agent.zip").exists()
    shortest = min(len(ids) for part in (result.before, result.after) for ids in part.batch.completions)
    assert ("constraint" not in given) or shortest >= 4
