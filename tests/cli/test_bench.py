"""`textgym bench rewards`: what is asked for is what is run; what cannot be run is said before anything is."""

import json

import pytest
from textgym.benchmarks.rewards import checking, run
from textgym.benchmarks.rewards.design import Design
from textgym.benchmarks.rewards.designs import GROUPS, builtin
from textgym.benchmarks.rewards.experiments import EXPERIMENTS
from textgym.benchmarks.rewards.fan_out import Summary
from textgym.benchmarks.rewards.plan import Plan, jobs

from textgym.cli import bench as command
from textgym.envs.tasks import make_task
from textgym.reports.blocks import Report
from textgym.reports.results import Results, job_key
from textgym.runs.config import versions


@pytest.fixture
def small_task(monkeypatch, tiny_corpus):
    """Rewards are tried on a task that is made in no time; it has no truth."""
    task = make_task(corpus=tiny_corpus)
    monkeypatch.setattr(checking, "opened", lambda name, corpus, start: task)
    return task


@pytest.fixture
def ran(monkeypatch, small_task):
    """What would have been run: plan, designs, folder and options of each call; nothing is."""
    calls = []

    def fake(plan, designs, folder, **options):
        calls.append((plan, list(designs), folder, options))
        return Summary(0, 1, {})

    monkeypatch.setattr(run, "run", fake)
    monkeypatch.setattr(command, "save_report", lambda rows, into: Report("Designs", ("mine is best.",), ()))
    return calls


@pytest.fixture
def bench(textgym, ran, tmp_path):
    """Runs `textgym bench rewards` with a folder of its own."""
    return lambda *arguments: textgym("bench", "rewards", *arguments, "--out", tmp_path / "out")


def names(call):
    return [design.name for design in call[1]]


def test_three_rewards_and_one_command(bench, ran, tmp_path):
    result = bench("--designs", "length", "0.5*length - repetition", "distinct-2", "--quick")
    assert result.exit_code == 0, result.stderr
    ((plan, designs, folder, options),) = ran
    assert designs == [
        Design("length", "length"),
        Design("0.5*length - repetition", "0.5*length - repetition"),
        *builtin(["distinct-2"]),
    ]
    assert plan == Plan.quick() and folder == tmp_path / "out"
    assert options == {"workers": None, "ray": None, "minutes": None, "progress": True}
    assert "mine is best." in result.stdout and str(folder) in result.stdout.replace("\n", "")


def test_the_first_line_says_how_long_it_will_take(bench):
    first = bench("--designs", "length", "--seeds", 3).stdout.splitlines()[0]
    assert "task story · 1 design · " in first and "jobs · about " in first and " core" in first


def test_options_go_to_the_plan(bench, ran):
    options = ["--agent", "rloo", "--seeds", 4, "--checkpoints", 2, "--tokens", 5000, "--workers", 2, "--minutes", 30]
    result = bench("--designs", "length", "--experiment", "designs", "kl", *options)
    assert result.exit_code == 0, result.stderr
    ((plan, _, _, given),) = ran
    expected = {"agent": "rloo", "seeds": 4, "checkpoints": 2, "tokens": 5000, "experiments": ("designs", "kl")}
    assert plan == Plan.full(**expected)
    assert given == {"workers": 2, "ray": None, "minutes": 30.0, "progress": True}


@pytest.mark.parametrize(
    ("typed", "address"), [(["--ray"], "local"), (["--ray", "auto"], "auto"), (["--ray", "head:6379"], "head:6379")]
)
def test_ray_needs_no_address(bench, ran, typed, address):
    assert bench("--designs", "length", *typed).exit_code == 0
    assert ran[0][3]["ray"] == address


def test_a_file_and_options_together(bench, ran, tmp_path):
    (tmp_path / "mine.yaml").write_text("task: story\ndesigns:\n  - name: mine\n    reward: length\n")
    assert bench("--ray", tmp_path / "mine.yaml", "--designs", "-repetition", "length").exit_code == 0
    assert names(ran[0]) == ["mine", "-repetition", "length"]


def test_the_command_line_goes_before_the_file(bench, ran, tmp_path):
    (tmp_path / "mine.yaml").write_text("task: story-base\ndesigns: [distinct-2]\n")
    result = bench(tmp_path / "mine.yaml")
    assert result.exit_code == 1 and "not of story-base" in result.stderr
    assert bench(tmp_path / "mine.yaml", "--task", "story").exit_code == 0
    assert ran[0][0].task == "story"


def test_without_designs_those_are_run_that_fit_the_task(bench, ran):
    result = bench("--quick")
    assert result.exit_code == 0, result.stderr
    assert names(ran[0]) == [name for name in GROUPS["quick"] if name not in ("gold", "sum of log p")]
    assert "left out: design 'gold'" in result.stderr and "needs a story world" in result.stderr


def test_a_design_that_was_asked_for_is_not_left_out(bench, ran):
    result = bench("--designs", "length", "gold")
    assert result.exit_code == 1 and "error: design 'gold' on task" in result.stderr and not ran


def test_designs_of_ones_own_are_compared_with_each_other_and_at_equal_kl(bench, ran):
    assert bench("--designs", "length").exit_code == bench("--designs", "length", "--quick").exit_code == 0
    assert [call[0].experiments for call in ran] == [("designs", "kl"), ("designs",)]


def test_experiments_that_do_not_fit_the_task_are_left_out_unless_they_were_asked_for(bench, ran, monkeypatch):
    monkeypatch.delenv("TEXTGYM_DATA", raising=False)
    result = bench()
    assert result.exit_code == 0
    assert set(ran[0][0].experiments) == set(EXPERIMENTS) - {"gamma", "composition", "proxies", "sentiment"}
    assert "left out: experiment gamma" in result.stderr
    for name in ("gamma", "all"):
        result = bench("--designs", "length", "--experiment", name)
        assert result.exit_code == 1 and "needs a story world" in result.stderr


def test_a_dry_run_lists_jobs_and_hours_and_runs_nothing(bench, ran, tmp_path):
    result = bench("--designs", "length", "--quick", "--dry-run")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("TextGym") and "about" in lines[0]
    assert "4 designs best-of-n length n 2, 4, 8, 16" in [" ".join(line.split()) for line in lines]
    assert not ran and not (tmp_path / "out").exists()
    told = json.loads(bench("--designs", "length", "--quick", "--dry-run", "--json").stdout)
    assert told["jobs"] == jobs(Plan.quick(), [Design("length", "length")]) and told["left"] == len(told["jobs"])


def test_jobs_that_are_done_are_counted(bench, tmp_path):
    (first, *rest) = jobs(Plan.quick(), [Design("length", "length")])

    def finish(job):
        Results(tmp_path / "out").append({"key": job_key(job, versions()), "job": job, "versions": versions()})

    finish(first)
    assert f"{1 + len(rest)} jobs (1 done)" in bench("--designs", "length", "--quick", "--dry-run").stdout
    for job in rest:
        finish(job)
    assert "nothing left to do" in bench("--designs", "length", "--quick", "--dry-run").stdout


def test_json_is_all_that_stdout_says(bench):
    result = bench("--designs", "length", "--json")
    assert json.loads(result.stdout)["summary"] == ["mine is best."]
    assert "task story" in result.stderr


def test_jobs_that_fail_are_an_error_after_the_report(bench, monkeypatch):
    monkeypatch.setattr(run, "run", lambda *_, **__: Summary(0, 1, {"a": "no memory"}))
    result = bench("--designs", "length")
    assert result.exit_code == 1 and "mine is best." in result.stdout
    assert result.stderr.splitlines()[-1] == "error: 1 job failed; the same command tries again"


def test_ctrl_c_says_how_to_see_what_there_is(bench, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupted)
    result = bench("--designs", "length")
    assert result.exit_code == 130 and "textgym report" not in result.stderr, "there is nothing yet"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rows.jsonl").touch()
    assert f"textgym report {tmp_path / 'out'}" in bench("--designs", "length").stderr


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--designs", "fluencey"], "Did you mean 'fluency'"),
        (["--designs", "adjacent cosin"], "Or the design 'adjacent cosine'?"),
        (["--designs", "length", "--agent", "grop"], "unknown agent 'grop'. Did you mean 'grpo'"),
        (["--designs", "length", "--experiment", "gama"], "unknown experiment 'gama'. Did you mean 'gamma'"),
        (["--designs", "length", "--model", "story-smal"], "story-smal"),
        (["designs.yml"], "no such file: designs.yml"),
    ],
)
def test_a_typo_is_an_error_that_offers_what_was_meant(bench, ran, typed, message):
    result = bench(*typed)
    assert result.exit_code == 1 and result.stderr.startswith("error: ") and message in result.stderr
    assert not ran


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--sedes", "3"], "--seeds"),
        (["--seeds", "0"], "--seeds"),
        (["--tokens", "many"], "--tokens"),
        (["--minutes", "-1"], "--minutes"),
        (["--designs"], "requires an argument"),
        (["one.yaml", "two.yaml"], "two.yaml"),
    ],
)
def test_wrong_usage_names_the_option(textgym, typed, message):
    result = textgym("bench", "rewards", *typed)
    assert result.exit_code == 2 and message in result.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--designs a b --quick", "--designs a --designs b --quick"),
        ("--designs=a b c", "--designs=a --designs b --designs c"),
        ("--designs a -b mine.yaml", "--designs a --designs -b mine.yaml"),
        ("mine.yaml --experiment kl gamma -q", "mine.yaml --experiment kl --experiment gamma -q"),
        ("--ray --designs a b", "--ray local --designs a --designs b"),
        ("--ray mine.yaml", "--ray local mine.yaml"),
        ("--ray ray://head:10001 --quick", "--ray ray://head:10001 --quick"),
        ("--quick mine.yaml", "--quick mine.yaml"),
    ],
)
def test_options_of_several_values_end_at_the_next_option(typed, meant):
    assert list(command._spread(typed.split())) == meant.split()


def test_the_help_says_what_the_plans_say(textgym, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = textgym("bench", "rewards", "--help").stdout
    full, quick = Plan.full(), Plan.quick()
    for name in ("seeds", "checkpoints", "tokens"):
        assert f"default: ({getattr(full, name):,}; quick: {getattr(quick, name):,})" in shown
    assert f"default: ({full.agent})" in shown and f"default: ({full.model})" in shown
