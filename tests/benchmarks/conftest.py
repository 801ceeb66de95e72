import pytest
from textgym.benchmarks.speed import __main__ as speed
from textgym.benchmarks.speed import memory, rows
from textgym.benchmarks.speed.experiments import EXPERIMENTS
from textgym.benchmarks.speed.plan import Plan
from textgym.benchmarks.speed.setting import Setting

TINY = Setting(2, 2, 16, 64, prompt=4, max_new_tokens=8, rows=8, epochs=2, batch_size=32, threads=1)


@pytest.fixture(scope="session")
def tiny():
    """A setting of milliseconds: 8 rows of 8 tokens, 2 epochs of 2 minibatches with 4 texts each."""
    return TINY


@pytest.fixture(scope="session")
def plan(tiny_corpus):
    """All experiments at that setting."""
    return Plan(
        setting=TINY,
        repeats=1,
        iterations=1,
        obvious_steps=2,
        budgets=(4, 8),
        transitions=2**12,
        rollouts=1,
        corpus=str(tiny_corpus),
        square=64,
        product_seconds=0.001,
        memory=TINY,
        memory_minibatch=16,
        gpu=TINY,
        gpu_device="cpu",
        compiled=False,
    )


@pytest.fixture(scope="session")
def measured(plan, tmp_path_factory):
    """A file with the rows of every experiment; memory is measured in this process, which is quicker."""
    out = tmp_path_factory.mktemp("speed") / "speed.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "in_a_process", memory.measure)
        speed.measure(plan, out, list(EXPERIMENTS))
    return out


@pytest.fixture
def row():
    """Makes a row of race, setting A, turn 0, unless told otherwise."""

    def make(name, measured, experiment="race", case="setting A", turn=0, config_hash="a"):
        made = {"experiment": experiment, "case": case, "name": name, "turn": turn, "measured": measured}
        made |= {"config_hash": config_hash, "load": 0.1, "threads": 1, "versions": rows.all_versions()}
        return {**made, "machine": rows.machine()}

    return make
