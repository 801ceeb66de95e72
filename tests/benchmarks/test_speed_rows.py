import io
import json
import platform

import pytest
import typer
from rich.console import Console
from textgym.benchmarks.speed import __main__ as speed
from textgym.benchmarks.speed import derive, experiments, report, rows
from textgym.benchmarks.speed.breakdown import PARTS
from textgym.benchmarks.speed.experiments import EXPERIMENTS, OBVIOUS, OURS, PRODUCTS, TRL, TRL_ONCE, TRL_WHOLE, Unit
from textgym.benchmarks.speed.picture import draw
from textgym.benchmarks.speed.plan import QUICK, Plan
from typer.testing import CliRunner

from textgym.errors import TaskError, UnknownNameError


@pytest.fixture
def command(monkeypatch):
    """Runs `python -m textgym.benchmarks.speed` in this process."""
    monkeypatch.setenv("COLUMNS", "250")
    app = typer.Typer()
    app.command()(speed.main)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def printed(table):
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


# Rows ----------------------------------------------------------------------------------------------------------------


def test_every_experiment_leaves_rows_that_can_be_read_by_themselves(measured):
    found = rows.read(measured)
    assert {row["experiment"] for row in found} == set(EXPERIMENTS)
    for row in found:
        assert ("measured" in row) != ("skipped" in row)
        assert row["seed"] == 0 and row["threads"] == 1 and row["versions"]["torch"] and row["machine"]["cores"]
        assert len(row["config_hash"]) == 16 and row["config"]["setting"]["vocab_size"] == 64
    assert platform.node() not in measured.read_text(encoding="utf-8")


def test_a_second_run_measures_nothing_again(measured, plan, monkeypatch):
    monkeypatch.setattr(Unit, "run", lambda self, turn: pytest.fail("measured again"))
    before = measured.read_bytes()
    speed.measure(plan, measured, list(EXPERIMENTS))
    assert measured.read_bytes() == before


def test_a_run_that_was_cut_off_goes_on_with_the_first_unfinished_unit(measured, plan, tmp_path):
    lines = measured.read_text(encoding="utf-8").splitlines(keepends=True)
    cases = [(json.loads(line)["experiment"], json.loads(line)["case"]) for line in lines]
    kept = [line for line, case in zip(lines, cases, strict=True) if case != ("lengths", "T = 8")]
    out = tmp_path / "cut.jsonl"
    out.write_text("".join(kept), encoding="utf-8")
    speed.measure(plan, out, list(EXPERIMENTS))
    added = out.read_text(encoding="utf-8").splitlines()[len(kept) :]
    assert [(json.loads(line)["case"], json.loads(line)["name"]) for line in added] == [
        ("T = 8", OURS),
        ("T = 8", "attention alone"),
        ("T = 8", OBVIOUS),
    ]


def test_a_unit_that_dies_halfway_leaves_no_row(tiny, tmp_path, monkeypatch):
    def die():
        raise MemoryError

    unit = Unit("race", "setting A", tiny, {OURS: lambda: {"tokens": 1}, OBVIOUS: die})
    monkeypatch.setitem(EXPERIMENTS, "race", lambda plan: iter([unit]))
    with pytest.raises(MemoryError):
        speed.measure(Plan(), tmp_path / "rows.jsonl", ["race"])
    assert not (tmp_path / "rows.jsonl").exists()


def test_other_settings_and_other_code_are_measured_anew(tiny, monkeypatch):
    unit = Unit("race", "setting A", tiny, {}, {"iterations": 1})
    assert unit.key(0) == Unit("race", "setting A", tiny, {}, {"iterations": 1}).key(0)
    assert unit.key(0) != Unit("race", "setting A", tiny, {}, {"iterations": 2}).key(0)
    before = unit.key(0)
    monkeypatch.setattr(rows, "code_hash", lambda: "other")
    assert unit.key(0) != before


def test_of_a_case_only_the_last_configuration_is_shown(row):
    old, new, other = row(OURS, {}, config_hash="old"), row(OURS, {}, config_hash="new"), row(OURS, {}, case="B")
    assert rows.latest([old, other, new]) == [other, new]


def test_a_file_that_holds_other_things_is_refused(tmp_path, plan):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"experiment": "race"}\n', encoding="utf-8")
    with pytest.raises(TaskError, match=r"line 1, is no row"):
        rows.read(path)
    with pytest.raises(TaskError, match="line 1"):
        speed.measure(plan, path, ["race"])


# What follows from them ----------------------------------------------------------------------------------------------


def test_ratios_are_taken_turn_by_turn(row):
    speeds = {0: (100, 2, 40, 50), 1: (300, 3, 150, 100), 2: (500, None, 1, 1)}
    found = []
    for turn, values in speeds.items():
        for name, value in zip((OURS, OBVIOUS, TRL, TRL_WHOLE), values, strict=True):
            found += [row(name, {"tokens_per_second": value}, turn=turn)] if value else []
    assert derive.ratio(found, "race", "setting A", OBVIOUS) == [50, 100]
    assert derive.best_of_trl(found) == [2, 2, 500]  # against the better of TRL's two, whichever that is


def test_grpo_races_with_its_own_kind_and_one_pass_with_four_epochs(row):
    speeds = {"GRPO": 300, "GRPO, one epoch": 900, "RLOO": 800, "REINFORCE": 600, "PPO": 200}
    speeds |= {TRL: 100, TRL_WHOLE: 150, TRL_ONCE: 450}
    found = [row(name, {"tokens_per_second": speed}, experiment="agents") for name, speed in speeds.items()]
    medians = {target.claim: target.found for target in derive.targets(found) if target.found}
    assert list(medians.values()) == [[2], [2], [3], [4]] and "REINFORCE / PPO" in medians


def test_the_share_of_the_limit_is_work_done_over_work_possible(row):
    found = [
        row(OURS, {"tokens_per_second": 2000, "gflop_per_token": 0.025}),
        row(PRODUCTS, {"gflops_network": 80, "gflops_square": 100}),
    ]
    assert derive.share_of_limit(found, "race", "setting A", "gflops_network") == [0.625]
    assert derive.share_of_limit(found, "race", "setting A", "gflops_square") == [0.5]


def test_attention_is_set_aside_from_the_cost_of_a_token(row):
    found = []
    for budget, speed_, attention in ((32, 1000, 0.1), (64, 500, 1.0)):
        at = {"experiment": "lengths", "case": f"T = {budget}"}
        found.append(row(OURS, {"tokens_per_second": speed_}, **at))
        alone = {"rollout_seconds": 0.4 * attention, "training_seconds": 0.6 * attention, "tokens": 1000}
        found.append(row("attention alone", alone, **at))
    assert derive.cost_per_token(found, "T = 64", attention=True) == [2000]
    assert derive.cost_per_token(found, "T = 64", attention=False) == pytest.approx([1000])
    assert derive.flatness(found) == pytest.approx([1000 / 900])


@pytest.mark.parametrize(("power", "growth"), [(1, 1.0), (2, 288 / 160)])
def test_memory_that_grows_with_prefixes_is_told_from_memory_that_grows_with_tokens(row, power, growth):
    found = [
        row(OURS, {"rollout_mib": 11 + t**power, "tokens": 64 * t}, experiment="memory", case=f"rollout, T = {t}")
        for t in (32, 64, 128, 256)
    ]
    assert derive.growth_of_rollouts(found) == pytest.approx([growth])


def test_a_target_is_met_by_the_median_and_never_by_silence():
    target = derive.Target("speed", 50, True, [10, 50, 90], "x")
    assert target.met and not derive.Target("speed", 51, True, [10, 50, 90], "x").met
    assert derive.Target("memory", 50, False, [10, 50, 90], "MiB").met
    assert derive.Target("speed", 50, True, [], "x").met is None


def test_every_target_is_known_from_a_full_measurement(measured):
    unknown = [target.claim for target in derive.targets(rows.read(measured)) if target.met is None]
    assert [claim for claim in unknown if "TRL" not in claim] == ["rollout memory of one more token, longest T / next"]


def test_shares_of_the_profile_add_up(measured):
    found = report.shares(rows.read(measured))
    assert list(found) == ["setting A", "T = 8", "RLOO", "default reward"]
    assert all(list(parts) == list(PARTS) and sum(parts.values()) == pytest.approx(1) for parts in found.values())


# Tables, picture, command --------------------------------------------------------------------------------------------


def test_what_was_skipped_is_in_the_table_with_its_reason(plan, tiny):
    [unit] = EXPERIMENTS["gpu"](Plan(gpu=tiny, gpu_device="cuda"))
    if experiments.torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    shown = printed(report.report(unit.run(0)))
    assert "textgym PPO: not measured, no CUDA device on this machine" in shown
    assert "not measured" in printed(report.target_table(unit.run(0)))


def test_rows_are_shown_without_measuring(command, measured, monkeypatch):
    monkeypatch.setattr(Unit, "run", lambda self, turn: pytest.fail("measured"))
    result = command("--show", measured)
    assert result.exit_code == 0, result.output
    for words in ("Targets", "textgym / the obvious way", "lengths", "RL4LMs", "profile (% of the wall time)"):
        assert words in result.output
    assert measured.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_drawn_of_whatever_rows_there_are(measured, tmp_path):
    for name in ("race", "lengths", "profile"):
        draw([row for row in rows.read(measured) if row["experiment"] == name], tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    draw([row for row in rows.read(measured) if row["experiment"] == "memory"], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_options_of_the_command_reach_the_measurement(command, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(speed, "measure", lambda *given: asked.append(given))
    out = tmp_path / "rows.jsonl"
    command("--out", out, "--only", "race", "--only", "gpu", "--quick", "--threads", 1)
    command("--out", out, "--repeats", 5)
    assert asked[0] == (QUICK.with_threads(1), out, ["race", "gpu"])
    assert asked[1] == (Plan(repeats=5), out, list(EXPERIMENTS))


def test_an_unknown_experiment_is_refused_before_anything_runs(command, tmp_path, plan):
    with pytest.raises(UnknownNameError, match="Did you mean 'race'"):
        speed.measure(plan, tmp_path / "rows.jsonl", ["environment", "rase"])
    result = command("--out", tmp_path / "rows.jsonl", "--only", "rase")
    assert result.exit_code == 2 and "Did you mean 'race'" in result.output


def test_threads_are_those_of_every_shape(plan):
    changed = plan.with_threads(3)
    assert (changed.setting.threads, changed.memory.threads, changed.gpu.threads) == (3, 3, 3)
    assert changed.with_threads(1) == plan
