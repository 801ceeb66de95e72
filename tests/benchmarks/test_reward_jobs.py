"""Jobs of the benchmark of reward designs: what there is to do, and what each job finds out."""

import json
from itertools import combinations
from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgym.benchmarks.rewards.columns import SCORES, places_of, scores_of
from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.designs import builtin
from textgym.benchmarks.rewards.experiments import EXPERIMENTS
from textgym.benchmarks.rewards.job import USES, key_of
from textgym.benchmarks.rewards.making import made
from textgym.benchmarks.rewards.pinned import pinned
from textgym.benchmarks.rewards.plan import Plan, jobs, powers
from textgym.benchmarks.rewards.pool import chosen
from textgym.benchmarks.rewards.run import estimate
from textgym.benchmarks.rewards.training import seed_of
from textgym.benchmarks.rewards.work import work

from textgym.envs.tasks import make_task
from textgym.errors import TaskError, UnknownNameError
from textgym.reports.results import AFTER
from textgym.scorers.reward import bind_reward

SMALL = Plan.quick(tokens=500, rows=16, prompts=6, pinned=2, best_of=4, looks=1)
DESIGNS = [Design("gold", "gold.quality"), Design("short", "-length")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def todo():
    return jobs(SMALL, DESIGNS)


@pytest.fixture(scope="module")
def done(folder, todo):
    """What each job of the small plan found out, by kind, design and n."""
    return {named(job): work(job, folder) for job in todo if job["kind"] != "training" or job["design"] == "short"}


def named(job):
    return (job["kind"], job["design"], job["variant"].get("n", 0))


def final(found, way="sampled"):
    return next(each["values"] for each in found["evaluations"] if each["final"] and each["way"] == way)


# --- what there is to do -------------------------------------------------------------------------------------------


def test_every_job_is_json_has_a_key_of_its_own_and_stands_behind_those_that_it_waits_for():
    todo = jobs(Plan.full(), builtin(["all"]))
    keys = [key_of(job) for job in todo]
    assert len(set(keys)) == len(keys) > 900
    for place, job in enumerate(todo):
        assert json.loads(json.dumps(job)) == job
        assert set(job.get(AFTER, ())) <= set(keys[:place])


def test_quick_is_one_run_of_each_design_and_best_of_n_from_one_pool():
    todo = jobs(Plan.quick(), builtin(["quick"]))
    kinds = [job["kind"] for job in todo]
    assert kinds.count("training") == 4 and kinds.count("best_of_n") == 4 * 4
    assert len({key_of(job[USES]["pool"]) for job in todo if job["kind"] == "best_of_n"}) == 1


def test_all_experiments_are_in_the_full_plan_and_each_has_jobs():
    for name in EXPERIMENTS:
        todo = jobs(Plan.full(experiments=(name,)), builtin(["all"]))
        assert any(job["experiment"] == name for job in todo), name


def test_a_larger_plan_repeats_nothing_of_a_smaller_one():
    small = jobs(Plan.full(seeds=1, checkpoints=1, experiments=("designs", "kl")), DESIGNS)
    large = jobs(Plan.full(seeds=3, checkpoints=2), [*DESIGNS, Design("another", "distinct")])
    assert {key_of(job) for job in small} <= {key_of(job) for job in large}


def test_the_beta_of_the_plan_is_measured_once():
    todo = [job for job in jobs(Plan.full(), DESIGNS) if job["kind"] == "training"]
    betas = [job["beta"] for job in todo if job["experiment"] in ("designs", "kl") and job["design"] == "gold"]
    assert sorted(set(betas)) == sorted(Plan().betas)
    assert {betas.count(beta) for beta in betas} == {Plan().seeds * Plan().checkpoints}


def test_designs_are_compared_under_the_same_seeds_and_runs_under_others():
    runs = [job for job in jobs(Plan.full(experiments=("designs",)), DESIGNS) if job["kind"] == "training"]
    seeds = {design.name: [seed_of(job) for job in runs if job["design"] == design.name] for design in DESIGNS}
    assert seeds["gold"] == seeds["short"]
    assert np.diff(sorted(seeds["gold"])).min() > Plan().rows


def test_what_a_design_says_goes_before_the_plan():
    design = Design("mine", "fluency", agent="ppo", beta=0.5, gamma=0.9, delivery="shaped", settings={"n_epochs": 1})
    [job] = [job for job in jobs(Plan.quick(), [design]) if job["kind"] == "training"]
    told = {name: job[name] for name in ("agent", "beta", "gamma", "delivery")}
    assert told == {"agent": "ppo", "beta": 0.5, "gamma": 0.9, "delivery": "shaped"}
    assert job["settings"]["n_epochs"] == 1 and job["settings"]["n_steps"] == 128


def test_an_unknown_experiment_is_named_with_what_there_is():
    with pytest.raises(UnknownNameError, match="kl_place"):
        jobs(Plan(experiments=("kl_plaice",)), DESIGNS)


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"prompts": 0}, {"looks": -1}, {"beta": -0.1}, {"betas": (0.1, -1)}])
def test_a_plan_refuses_numbers_out_of_range(wrong):
    with pytest.raises(TaskError):
        Plan(**wrong)


def test_a_plan_says_how_long_it_takes_and_on_two_cores_half_as_long():
    todo = jobs(Plan.full(), builtin(["all"]))
    one, two = (float(estimate(todo, cores).split()[1]) for cores in (1, 2))
    assert one == pytest.approx(2 * two, abs=0.2)
    assert "min on 1 core" in estimate(jobs(SMALL, DESIGNS), 1)


# --- best of n -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data())
def test_best_of_n_is_the_mean_over_all_subsets_and_equal_texts_share(rewards, data):
    n = data.draw(st.integers(1, len(rewards)))
    expected = np.zeros(len(rewards))
    for subset in combinations(range(len(rewards)), n):
        best = [i for i in subset if rewards[i] == max(rewards[j] for j in subset)]
        expected[best] += 1 / len(best) / comb(len(rewards), n)
    found = chosen(np.array([rewards], float), n)[0]
    by_reward = {value: sum(w for w, r in zip(expected, rewards, strict=True) if r == value) for value in rewards}
    for value, weight in by_reward.items():
        assert found[np.array(rewards) == value].sum() == pytest.approx(weight)
    first = found[np.array(rewards) == rewards[0]]
    assert np.ptp(first) == pytest.approx(0)


def test_powers_of_two_up_to_the_size_of_the_pool():
    assert powers(16) == [2, 4, 8, 16] and powers(12) == [2, 4, 8, 12] and powers(1) == []


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_what_tokens_earned_adds_up_to_the_reward_and_the_tokens_to_the_text():
    task = make_task("story")
    paid = bind_reward("gold.quality + 0.5*distinct - repetition", task.context)
    completion = task.heldout.reference(3)
    found = pinned(task, 3, completion, "corpus", paid)
    [value] = paid.score(_batch(task, 3, completion)).values
    [nothing] = paid.score(_batch(task, 3, completion[:0])).values
    assert sum(found["credit"]) == pytest.approx(value - nothing, abs=1e-3)
    assert "".join(found["tokens"]) == task.tokenizer.decode(completion)
    assert {len(column) for column in found["components"].values()} == {len(completion)}


def test_a_contradiction_is_marked_at_its_word():
    task = make_task("story")
    brief = task.heldout.prompt(0)
    words = task.tokenizer.decode(brief).split()
    person, place = words[words.index(",") - 2], words[words.index(",") - 1]
    other = next(word for word in words[:4] if word != place)
    story = task.tokenizer.encode(f" {person} was in the {place} . {person} was in the {other} .")
    marks = pinned(task, 0, story, "sampled", None)["marks"]
    assert [mark["severe"] for mark in marks] == [True]
    assert "contradicts" in marks[0]["text"] and 6 <= marks[0]["token"] < 12


def _batch(task, place, completion):
    from textgym.benchmarks.rewards.columns import batch_of

    return batch_of(task, [place], [completion])


# --- what jobs find out ----------------------------------------------------------------------------------------------


def test_the_last_held_out_prompts_are_looked_at_and_the_first_of_them_are_a_fair_sample():
    task = make_task("story")
    places = places_of(task, 500)
    assert sorted(places) == list(range(len(task.heldout) - 500, len(task.heldout)))
    assert places[:10] != sorted(places)[:10]


def test_the_reference_is_told_by_every_column_and_is_no_way_from_itself(done):
    values = final(done["reference", "reference", 0])
    assert {f"score/{name}" for name in SCORES} <= set(values)
    assert {"gold/quality", "gold/coherence", "length", "ended", "rep-4", "entropy", "filler"} <= set(values)
    assert max(map(abs, values["kl"])) < 1e-4
    assert {len(column) for column in values.values()} == {SMALL.prompts}
    assert "gold/types" not in values  # the one axis of which less is better


def test_the_corpus_is_truer_than_what_the_model_writes(done):
    corpus, model = final(done["corpus", "corpus", 0]), final(done["reference", "reference", 0])
    assert np.mean(corpus["gold/quality"]) > np.mean(model["gold/quality"])


def test_a_run_is_looked_at_before_on_its_way_and_at_its_end(done):
    found = done["training", "short", 0]
    seen = [(each["way"], each["final"], each["tokens"] > 0) for each in found["evaluations"]]
    assert seen[:2] == [("sampled", False, False), ("greedy", False, False)]
    assert ("sampled", False, True) in seen and seen[-2:] == [("sampled", True, True), ("greedy", True, True)]
    model = final(done["reference", "reference", 0])
    tokens = np.add(model["length"], model["ended"])  # of the reward, which counts the end as well
    assert found["evaluations"][0]["values"]["reward"] == (-tokens).tolist()
    assert final(found)["reward"] == (-np.add(final(found)["length"], final(found)["ended"])).tolist()
    assert {"tokens", "reward", "gold", "kl", "length", "entropy", "ended", "rep-4"} <= set(found["curve"][-1])


def test_what_jobs_found_out_is_json_and_shows_the_same_prompts(done):
    shown = {tuple(sorted({text["brief"] for text in found["texts"]})) for found in done.values() if found["texts"]}
    assert len(shown) == 1
    json.dumps(list(done.values()), allow_nan=False)


def test_the_best_of_more_is_better_by_the_reward_that_chooses(done):
    lengths = [np.mean(final(done["best_of_n", "short", n])["length"]) for n in (2, 4)]
    assert lengths[1] < lengths[0] < np.mean(final(done["reference", "reference", 0])["length"]) + 10
    assert done["best_of_n", "short", 4]["facts"]["kl"] == pytest.approx(log(4) - 3 / 4)


def test_a_run_comes_out_the_same_again(done, todo, folder):
    [job] = [job for job in todo if named(job) == ("training", "short", 0)]
    again = work(job, folder)
    assert again["evaluations"] == done["training", "short", 0]["evaluations"]


def test_what_others_build_on_is_made_again_where_it_is_gone(done, todo, tmp_path):
    [job] = [job for job in todo if named(job) == ("best_of_n", "short", 4)]
    assert work(job, tmp_path)["evaluations"] == done["best_of_n", "short", 4]["evaluations"]
    assert made(job[USES]["pool"], tmp_path).is_dir()


def test_a_reward_is_learned_from_pairs_that_gold_has_judged(folder):
    plan = Plan.quick(prompts=4, best_of=2, pinned=0, pairs=(30,), proxy_sizes=("linear",), experiments=("proxies",))
    of_n = [job for job in jobs(plan, DESIGNS) if job["kind"] in ("fit", "best_of_n")]
    found = {named(job)[:2]: work(job, folder) for job in of_n}
    assert 0 <= found["fit", "linear, 30 pairs"]["facts"]["accuracy"] <= 1
    assert set(found) == {
        ("fit", "pairs"),
        ("fit", "pool"),
        ("fit", "linear, 30 pairs"),
        ("best_of_n", "linear, 30 pairs"),
    }


def test_texts_of_an_agent_that_obeys_a_constraint_are_those_that_obey_it(folder):
    plan = Plan.quick(tokens=300, rows=8, prompts=8, pinned=0, best_of=1, looks=1)
    design = Design("a", "-length", agent="maskable_ppo", constraint={"min_new_tokens": 20}, settings={"n_steps": 80})
    [job] = [job for job in jobs(plan, [design]) if job["kind"] == "training"]
    for each in work(job, folder)["evaluations"]:
        assert min(each["values"].get("length", [20])) >= 20


@pytest.mark.parametrize("agent", ["random", "greedy"])
def test_an_agent_that_trains_no_language_model_is_refused(folder, agent):
    [job] = [job for job in jobs(SMALL, [Design("a", "-length", agent=agent)]) if job["kind"] == "training"]
    with pytest.raises(TaskError, match=f"agent {agent} trains no language model"):
        work(job | {"settings": {}}, folder)


def test_reviews_are_no_aim_half_of_them_are_negative():
    kinds = {(job["task"], job["kind"]) for job in jobs(Plan.quick(experiments=("designs", "sentiment")), DESIGNS)}
    assert ("movie reviews", "reference") in kinds and ("movie reviews", "corpus") not in kinds
    assert {("story", "reference"), ("story", "corpus")} <= kinds


def test_real_text_without_data_is_refused_with_the_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("TEXTGYM_DATA", raising=False)
    plan = Plan.quick(experiments=("sentiment",))
    texts = next(job for job in jobs(plan, DESIGNS) if job["design"] == "labelled texts")
    with pytest.raises(TaskError, match="TEXTGYM_DATA"):
        work(texts, tmp_path)


def test_a_column_that_does_not_fit_the_task_is_left_out_and_the_log_says_why(tiny_corpus, caplog):
    caplog.set_level("INFO", logger="textgym")
    found = scores_of(make_task(corpus=tiny_corpus), "story-small")
    assert "mean log p" not in found and {"repetition", "distinct-2"} <= set(found)
    assert "no column 'mean log p'" in caplog.text and "vocabulary" in caplog.text
