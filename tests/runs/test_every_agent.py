"""Every agent that is installed runs end to end, and goes on where it was stopped as if nothing had come between."""

import json
from dataclasses import replace
from importlib.metadata import entry_points

import pytest
import torch

from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.runs.config import TrainConfig
from textgym.runs.train import open_task, train
from textgym.sb3.checkpoints import saved_tokens

AGENTS = sorted({point.name for point in entry_points(group="textgym.agents")})
ENVS = 16
SETTINGS = {
    "mle": {"n_steps": 1},  # a batch a checkpoint
    "dqn": {"buffer_size": 4096, "gradient_steps": 1, "batch_size": 64},  # a checkpoint every 512 tokens
    "best_of_n": {"n": 3},
    "trpo": {"cg_max_steps": 3, "n_critic_updates": 2},
}
"""Those without which so short a run has no checkpoint but at its start, or takes long."""

pytestmark = pytest.mark.filterwarnings("ignore:the environment has a constraint")


@pytest.fixture(scope="session")
def config(tiny_corpus, tmp_path_factory):
    """A tiny task, and an untrained model to begin with."""
    folder = tmp_path_factory.mktemp("agents") / "model"
    config = TrainConfig(
        corpus=str(tiny_corpus),
        tokenizer="word",
        max_new_tokens=6,
        max_prompt_tokens=8,
        reward="distinct - repetition",
        steps=2 * 64 * ENVS,
        envs=ENVS,
        eval_prompts=6,
    )
    task = open_task(config, None)
    banned = (task.tokenizer.unk_id, task.tokenizer.sep_id)
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=banned)
    save_checkpoint(folder, model, task.tokenizer)
    return replace(config, model=str(folder))


@pytest.fixture(autouse=True)
def small_and_without_picture(monkeypatch):
    monkeypatch.setattr("textgym.runs.train.draw_curve", lambda *paths: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # equal to the last bit on one thread only
    yield
    torch.set_num_threads(threads)


def rows(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "tokens/per_second"} for line in lines]


def stop_after(tokens, agent):
    def stop(stage, done, total, note):
        if stage == agent and done > tokens:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("name", AGENTS)
def test_a_run_leaves_everything_and_one_that_was_stopped_ends_alike(config, tmp_path, name):
    config = replace(config, agent=name, settings=SETTINGS.get(name, {}))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    result = train(config, whole)
    for file in ("summary.json", "metrics.jsonl", "samples.jsonl", "episodes.jsonl", "agent.zip", "reference"):
        assert (whole / file).exists(), file
    assert result.summary["tokens"]["agent"] >= config.steps and rows(whole)
    assert len(result.after.completions) == 6 and "reward" in result.summary["change"]
    with pytest.raises(KeyboardInterrupt):
        train(config, stopped, progress=stop_after(64 * ENVS + 100, name))
    assert 0 < saved_tokens(stopped / "checkpoints") < config.steps
    resumed = train(config, stopped, resume=True)
    assert rows(stopped) == rows(whole)
    for key in ("before", "after", "change", "tokens"):
        assert resumed.summary[key] == result.summary[key], key
    assert sorted(path.name for path in stopped.iterdir()) == sorted(path.name for path in whole.iterdir())
    if (whole / "model").exists():
        weights = "model/model.safetensors"
        assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()
