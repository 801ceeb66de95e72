"""Rows in memory: what is kept of them, what is one arm, and what runs are held against."""

import json

import numpy as np
import pytest
from textgym.benchmarks.rewards.simulated import Simulated, rows

from textgym.errors import TaskError
from textgym.reports.rewards.arms import Arm, arms, benches, paired
from textgym.reports.rewards.runs import Run, load

DESIGNS = [Simulated("good", gold=0.1, proxy=1), Simulated("bad", "keywords", gold=-0.2, proxy=2)]


@pytest.fixture(scope="module")
def told():
    return json.loads(json.dumps(list(rows(DESIGNS, checkpoints=2, seeds=3))))


@pytest.fixture
def bench(told):
    [found] = benches(load(told))
    return found


def changed(row, **job):
    return row | {"job": row["job"] | job}


def test_a_run_keeps_its_columns_as_arrays_and_what_is_null_as_not_known(told):
    row = json.loads(json.dumps(told[4]))
    row["evaluations"][-1]["values"]["reward"][3] = None
    row["curve"][2]["kl"] = None
    del row["curve"][4]["kl"]
    [run] = load([row]).finished
    assert all(values.dtype == np.float32 for look in run.looks for values in look.values.values())
    assert np.isnan(run.looks[-1].values["reward"]).sum() == 1 and np.isfinite(run.looks[-1].mean("reward"))
    assert np.isnan(run.curve["kl"]).nonzero()[0].tolist() == [2, 4]
    assert np.isnan(run.looks[-1].mean("no such column"))


def test_of_a_job_that_is_told_twice_the_last_finished_row_counts(told):
    first, failure = told[4], {name: told[4][name] for name in ("format", "key", "job", "versions")}
    second = first | {"seconds": 2.0, "facts": {"kl": 3.0}, "versions": {"textgym": "1"}}
    found = load([failure | {"failure": "killed"}, first, second, failure | {"failure": "again"}])
    assert [run.facts for run in found.finished] == [{"kl": 3.0}] and not found.failed
    assert found.versions == [{"textgym": "0"}, {"textgym": "1"}]
    [(job, message)] = load([failure | {"failure": "no memory"}]).failed
    assert job == first["job"] and message == "no memory"


def test_texts_are_kept_of_the_first_run_of_a_design_only(told):
    for order in (told, reversed(told)):
        found = load(order).finished
        kept = [(run.job["design"], run.job["checkpoint"], run.job["seed"]) for run in found if run.texts]
        assert sorted(kept) == [(name, 0, 0) for name in ("bad", "corpus", "good", "reference")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"format": 2}, "row 1 .*format 2"),
        ({"format": 1}, "row 1 .*job"),
        ({"format": 1, "job": {"kind": "training"}, "versions": {}}, "without 'experiment'"),
        ("not a row", "row 1"),
    ],
)
def test_a_row_that_is_none_is_told_by_its_number(row, message):
    with pytest.raises(TaskError, match=message):
        load([row])


def test_an_unknown_kind_is_told_with_those_there_are(told):
    with pytest.raises(TaskError, match=r"row 2 .*'tuning'.*reference, corpus, training"):
        load([told[4], changed(told[5], kind="tuning")])


def test_runs_of_a_design_are_one_arm_whatever_their_checkpoint_and_seed(bench):
    good, bad = bench.arms("designs")
    assert (good.label, bad.label) == ("good", "bad") and len(good.runs) == len(bad.runs) == 6
    assert good.checkpoints.tolist() == [0, 0, 0, 1, 1, 1]


def test_settings_under_one_name_are_told_apart():
    def run(**job):
        return Run(
            {"design": "a", "reward": "fluency", "variant": {}, "checkpoint": 0, "seed": 0} | job, (), {}, (), {}
        )

    varied = arms([run(variant={"beta": 0.1}), run(), run(design="b"), run(variant={"beta": 0.1}, seed=1)])
    assert [arm.label for arm in varied] == ["a, beta 0.1", "a, as planned", "b"]
    apart = arms([run(tokens=1000), run(tokens=2000)])
    assert [arm.label for arm in apart] == ["a, as planned, tokens 1000", "a, as planned, tokens 2000"]
    used = arms([run(uses={"start": {"checkpoint": place}}, checkpoint=place) for place in (1, 2)])
    assert [len(arm.runs) for arm in used] == [2]


def test_a_change_is_against_the_reference_of_the_same_checkpoint_brief_by_brief(bench, told):
    good = bench.arms("designs")[0]
    change = bench.change(good, "gold/quality")
    before = [told[place]["evaluations"][0]["values"]["gold/quality"] for place in (0, 2)]
    after = [row["evaluations"][-2]["values"]["gold/quality"] for row in told[4:10]]
    expected = np.array(after) - np.array(before)[[0, 0, 0, 1, 1, 1]]
    assert change.values == pytest.approx(expected, abs=1e-5) and change.strata.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_reward_is_held_against_what_the_reference_earns_by_it(told):
    """As the run's own first look tells, or the best of 1, or a column that is the reward by another name."""
    composed = json.loads(json.dumps(list(rows([Simulated("mix", "fluency + keywords", proxy=1)]))))
    [first_look] = benches(load(composed))
    run = first_look.arms("designs")[0].runs[0]
    assert first_look.before(run, "reward") is run.looks[0].values["reward"]
    for row in composed:
        row["evaluations"] = [look for look in row["evaluations"] if look["final"]]
    [unknown] = benches(load(composed))
    assert unknown.before(unknown.arms("designs")[0].runs[0], "reward") is None
    one = changed(composed[-1], kind="best_of_n", variant={"n": 1})
    [best_of_one] = benches(load([*composed, one]))
    found = best_of_one.before(best_of_one.arms("designs")[0].runs[0], "reward")
    assert found == pytest.approx(one["evaluations"][-2]["values"]["reward"], abs=1e-5)


def test_a_reward_that_is_a_column_by_another_name_is_read_from_there(told):
    late = json.loads(json.dumps(told))
    for row in late:
        row["evaluations"] = [look for look in row["evaluations"] if look["final"]]
        row["job"]["reward"] = row["job"]["design"]
    [found] = benches(load(late))
    good, bad = (arm.runs[0] for arm in found.arms("designs"))
    assert found.before(good, "reward") is found.references[0].values("score/fluency")
    assert found.before(bad, "reward", "greedy") is found.references[0].values("score/keywords", "greedy")
    constant = json.loads(json.dumps(late))
    for look in constant[4]["evaluations"]:
        look["values"] |= {"reward": [1.0] * 50, "score/fluency": [1.0] * 50}
    [found] = benches(load(constant))
    assert found.before(found.arms("designs")[0].runs[0], "reward") is None, "what never varies proves nothing"


def test_a_look_at_the_first_briefs_is_moved_to_stand_beside_looks_at_all(bench):
    run = bench.arms("designs")[0].runs[0]
    early, final = run.looks[1], run.final()
    reference = bench.references[0].values("gold/quality")
    zero, one = bench.ends(0)
    moved = (early.values["gold/quality"].mean() - reference[:25].mean()) / (one - zero)
    assert bench.seen(run, early).mean() == pytest.approx(moved, abs=1e-5) and len(bench.seen(run, early)) == 25
    assert bench.seen(run, final) == pytest.approx(bench.truth(run))


def test_yardsticks_need_no_seed_and_what_is_fitted_no_task():
    told = list(rows([]))
    for row in told:
        del row["job"]["seed"], row["job"]["reward"], row["job"]["variant"]
    fit = {"format": 1, "versions": {}, "job": {"kind": "fit", "experiment": "proxies", "design": "pairs"}}
    [found] = benches(load([*told, fit]))
    assert found.has_scale and found.runs[-1].job["design"] == "pairs"


def test_on_the_scale_the_reference_is_zero_and_the_corpus_one(bench):
    reference, corpus = (Arm("", (run,)) for run in (bench.references[1], bench.corpus))
    assert bench.gold(reference).means == pytest.approx([0], abs=1e-6)
    assert bench.gold(corpus).means == pytest.approx([1], abs=1e-6)


def test_without_a_corpus_that_is_better_there_is_no_scale_and_gold_is_as_it_is(told):
    [bare] = benches(load(row for row in told if row["job"]["kind"] != "corpus"))
    good = bare.arms("designs")[0]
    assert not bare.has_scale and bare.gold(good).means == pytest.approx(bare.level(good, "gold/quality").means)


def test_runs_on_other_briefs_or_without_a_reference_are_left_out(told):
    extra = changed(told[4], prompts=7), changed(told[5], checkpoint=9)
    [found] = benches(load([*told, *extra]))
    good = found.arms("designs")[0]
    assert found.left_out == 1 and found.prompts == 50
    assert len(good.runs) == 7 and found.change(good, "gold/quality").strata.tolist() == [0, 0, 0, 1, 1, 1]


def test_each_task_is_a_benchmark_of_its_own(told):
    other = [changed(row, task="reviews") for row in told]
    assert [found.task for found in benches(load([*told, *other]))] == ["story", "reviews"]


def test_runs_are_paired_by_checkpoint_and_seed(bench):
    good, bad = bench.arms("designs")
    shorter = Arm("bad", bad.runs[2:])
    apart = paired(good, shorter, lambda run: run.values("gold/quality"))
    assert apart.strata.tolist() == [0, 1, 1, 1]
    expected = good.runs[2].values("gold/quality") - bad.runs[2].values("gold/quality")
    assert apart.values[0] == pytest.approx(expected, abs=1e-6)
    assert paired(Arm("good", good.runs[:2]), Arm("bad", bad.runs[3:]), lambda run: run.values("length")) is None
