import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.errors import CheckpointError, TaskError
from textgym.models.checkpoint import load_checkpoint, save_checkpoint
from textgym.runs.config import TrainConfig
from textgym.runs.train import train
from textgym.sb3.checkpoints import saved_tokens
from textgym.sb3.state_file import read_state

ROLLOUT = 16 * 64
SERVER = """
import json, os, signal, sys, traceback
from pathlib import Path
import torch
torch.set_num_threads(1)
from textgym.runs import train as runs
from textgym.runs.config import TrainConfig
runs.draw_curve = lambda *paths: None
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()  # a process of its own, without waiting for the imports again
    if child == 0:
        try:
            runs.train(TrainConfig(**job["config"]), Path(job["out"]), resume=job["resume"])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if sys.stdin.readline() == "kill\\n":
        os.kill(child, signal.SIGKILL)  # from here: its number is its own until it was waited for
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Half of the time of runs as small as these goes into drawing them."""
    monkeypatch.setattr("textgym.runs.train.draw_curve", lambda *paths: None)


@pytest.fixture(scope="module")
def config(tiny_corpus):
    return TrainConfig(
        corpus=str(tiny_corpus),
        tokenizer="word",
        max_new_tokens=8,
        reward="distinct - repetition",
        model_size="tiny",
        pretrain_tokens=2000,
        steps=3 * ROLLOUT,
        envs=16,
        kl=0.2,
        kl_target=0.5,
        eval_prompts=8,
    )


class Runs:
    """Runs in processes of their own, which can be killed."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout.readline() == "ready\n"

    def _tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self, config, out, resume=False):
        """Runs to the end."""
        self._tell(json.dumps({"config": asdict(config), "out": str(out), "resume": resume}))
        self._tell("wait")
        assert int(self.process.stdout.readline()) == 0

    def kill(self, config, out, moment, resume=False):
        """kill -9 when `moment()` returns; False where the run was finished before."""
        self._tell(json.dumps({"config": asdict(config), "out": str(out), "resume": resume}))
        moment()
        self._tell("kill")
        status = int(self.process.stdout.readline())
        assert status in (0, signal.SIGKILL)
        return status != 0


@pytest.fixture(scope="module")
def runs():
    if not hasattr(os, "fork"):
        pytest.skip("kill -9: POSIX only")
    server = Runs()
    yield server
    server.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def whole(runs, config, tmp_path_factory):
    """The run that nothing stopped, and how long it took."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    begun = time.monotonic()
    runs.finish(config, out)
    return out, time.monotonic() - begun


def rows(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "tokens/per_second"} for line in lines]


def assert_same_run(out, expected):
    for name in ("model/model.safetensors", "reference/model.safetensors", "samples.jsonl", "episodes.jsonl"):
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    assert rows(out) == rows(expected)
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (out, expected))
    for key in ("before", "after", "change", "config_hash", "tokens"):
        assert ours[key] == theirs[key], key
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in expected.iterdir())


def wait_until(happened, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_run_that_was_killed_ends_as_one_that_was_not(runs, whole, config, tmp_path, one_thread):
    expected, _ = whole
    out, rng = tmp_path / "run", np.random.default_rng()
    metrics = out / "metrics.jsonl"

    def in_pretraining():
        wait_until((out / "run.json").exists)

    def in_training():
        wait_until(lambda: metrics.exists() and len(metrics.read_bytes().splitlines()) == 2)
        time.sleep(rng.uniform(0, 0.3))

    assert runs.kill(config, out, in_pretraining)
    assert not (out / "reference" / "config.json").exists()
    assert runs.kill(config, out, in_training, resume=True)
    assert saved_tokens(out / "checkpoints") >= ROLLOUT
    result = CliRunner().invoke(app, ["train", "--resume", "--out", str(out), "--threads", "1"])
    assert result.exit_code == 0, result.stderr
    assert "going on at " in result.stderr
    assert_same_run(out, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_was_killed_at_random_moments_ends_as_one_that_was_not(runs, whole, config, tmp_path, seed):
    expected, seconds = whole
    rng, out = np.random.default_rng(seed), tmp_path / "run"

    def at_first():
        wait_until((out / "run.json").exists)
        time.sleep(rng.uniform(0, seconds))

    killed, times = runs.kill(config, out, at_first), 0
    while killed and times < 6:
        killed = runs.kill(config, out, lambda: time.sleep(rng.uniform(0, seconds)), resume=True)
        times += 1
    if killed:
        runs.finish(config, out, resume=True)
    assert_same_run(out, expected)


# --- what is refused, and what happens where nothing can be written -------------------------------------------------


@pytest.fixture(scope="module")
def stopped_once(config, tmp_path_factory, request):
    """A run that was stopped in its second rollout."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = folder / "corpus.txt"
    shutil.copy(config.corpus, corpus)
    config = TrainConfig(**{**asdict(config), "corpus": str(corpus), "pretrain_tokens": 500})

    def stop(stage, done, total, note):
        if stage == "ppo" and done > ROLLOUT + 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, folder / "run", progress=stop)
    return config, folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    config, folder = stopped_once
    shutil.copytree(folder / "run", tmp_path / "run")
    return config, tmp_path / "run"


def resumed(out, *options):
    return CliRunner().invoke(app, ["train", "--resume", "--out", str(out), "--quiet", *options])


def contents(out):
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_setting_that_differs_is_named_and_nothing_is_touched(stopped):
    config, out = stopped
    before = contents(out)
    result = resumed(out, "--steps", "99", "--kl", "0.7")
    assert result.exit_code == 1
    assert f"was begun with steps={config.steps}, not 99; kl=0.2, not 0.7" in result.stderr
    with pytest.raises(TaskError, match=r"seed=0, not 1\. A run goes on with the settings it was begun with"):
        train(TrainConfig(**{**asdict(config), "seed": 1}), out, resume=True)
    assert contents(out) == before


def test_the_corpus_and_the_model_must_be_as_they_were(stopped):
    config, out = stopped
    reference = load_checkpoint(out / "reference")
    with torch.no_grad():
        reference.model.wte.weight.add_(1e-3)
    save_checkpoint(out / "reference", reference.model, reference.tokenizer)
    with pytest.raises(CheckpointError, match="reference is no longer the model that the run began with"):
        train(config, out, resume=True)
    corpus = Path(config.corpus)
    text = corpus.read_text()
    try:
        corpus.write_text(text + "\n\nOne more document, which was not there before.")
        with pytest.raises(TaskError, match=r"task .*corpus\.txt is no longer what the run in .* began with"):
            train(config, out, resume=True)
    finally:
        corpus.write_text(text)


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        ([], "holds no run that was begun (run.json is missing): nothing to resume"),
        (["run.json", "summary.json"], "is finished: nothing to resume. Without --resume it is run anew"),
    ],
)
def test_where_there_is_nothing_to_resume_that_is_said(tmp_path, leave, said):
    for name in leave:
        (tmp_path / name).write_text("{}")
    result = resumed(tmp_path)
    assert result.exit_code == 1 and said in result.stderr and "Traceback" not in result.stderr


def test_a_record_that_is_damaged_is_said_to_be(stopped):
    _, out = stopped
    (out / "run.json").write_text('{"config": {"stepz": 1}}')
    result = resumed(out)
    assert result.exit_code == 1 and "run.json cannot be read" in result.stderr


def failing(number, message):
    def fail(*arguments):
        raise OSError(number, message)

    return fail


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("textgym.sb3.state_file._header", "the checkpoint at 2,048 tokens cannot be written in"),
        ("textgym.sb3.callbacks.append_lines", "metrics.jsonl cannot be written"),
        ("textgym.runs.train.write_atomic", "cannot be written"),
    ],
    ids=["checkpoint", "metrics", "results"],
)
def test_a_full_disk_is_one_message_and_leaves_the_checkpoint_before(stopped, monkeypatch, place, said):
    _, out = stopped
    record = (out / "run.json").read_text()
    monkeypatch.setattr(place, failing(errno.ENOSPC, "No space left on device"))
    result = resumed(out)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and said in result.stderr and "No space left on device" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    kept = saved_tokens(out / "checkpoints")
    assert kept >= ROLLOUT and not (out / "summary.json").exists()
    assert read_state(out / "checkpoints" / f"{kept:012d}.safetensors")["state"]["counters"]["num_timesteps"] == kept
    assert (out / "run.json").read_text() == record


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_that_cannot_be_written_is_noticed_before_anything_is_computed(stopped, monkeypatch, resume):
    config, out = stopped
    monkeypatch.setattr("textgym.runs.record.write_atomic", failing(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr("textgym.runs.train.fit", failing(errno.EIO, "should not be reached"))
    with pytest.raises(TaskError, match=r"--out .*run cannot be written: Read-only file system"):
        train(config, out, resume=resume)


def test_a_run_that_begins_anew_leaves_nothing_to_resume_of_the_one_before(stopped, caplog):
    config, out = stopped
    (out / ".summary.json.12-abcd.tmp").write_text("half written when it was killed")

    def stop(stage, done, total, note):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, out, progress=stop)
    assert "the unfinished run in" in caplog.text and "goes, at 1,024 tokens" in caplog.text
    assert not (out / "checkpoints").exists() and (out / "metrics.jsonl").read_bytes() == b""
    assert json.loads((out / "run.json").read_text())["reference"] is None
    assert not list(out.glob(".*.tmp"))


def test_without_checkpoints_none_are_written_and_a_resumption_trains_from_the_start(config, tmp_path):
    short = TrainConfig(**{**asdict(config), "pretrain_tokens": 500, "steps": ROLLOUT})

    def stop(stage, done, total, note):
        if stage == "ppo":
            assert not (tmp_path / "checkpoints").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(short, tmp_path, progress=stop, checkpoint_every=0)
    result = train(short, tmp_path, resume=True, checkpoint_every=0)
    assert result.summary["tokens"]["agent"] == ROLLOUT and len(rows(tmp_path)) == 1
