"""Networks beyond our own by the command line: pretrained, trained, generated from, scored with."""

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.models.checkpoint import load_checkpoint
from textgym.models.folder import peek

sys.path.append(str(Path(__file__).parents[1] / "models"))

import hf_samples

RUN = ["--steps", "256", "--envs", "16", "--eval-prompts", "8", "--max-new-tokens", "8", "--quiet"]
WHO = ("The cat", "A dog", "Every queen", "One river", "The castle")
PROMPTS = [{"prompt": f"{who} {what}", "reference": " on the mat."} for who in WHO for what in ("sat", "ran", "slept")]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


@pytest.fixture(scope="module")
def run(prompts):
    """Runs a command to its end."""

    def ran(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, (result.stderr, result.exception)
        return result

    return ran


@pytest.fixture(scope="module")
def trained(run, prompts, tmp_path_factory):
    """A run that began as a GPT-2."""
    root = tmp_path_factory.mktemp("hf")
    folder = hf_samples.gpt2(root / "gpt2")
    common = ["--prompts", prompts, "--reward", "distinct", *RUN]
    run("train", "--model", f"hf:{folder}", *common, "--out", root / "run")
    return root, common


def test_a_trained_model_of_hugging_face_is_one_for_transformers_and_for_the_next_run(run, trained):
    root, common = trained
    summary = json.loads((root / "run/summary.json").read_text())
    assert summary["before"]["kl"] == pytest.approx(0, abs=1e-5) and summary["after"]["kl"] > 0
    network = load_checkpoint(root / "run/model").model
    theirs = AutoModelForCausalLM.from_pretrained(root / "run/model")
    ids = torch.tensor([[0, 40, 50, 60]])
    row = torch.tensor([[40, 50, 60, network.config.sep_id]])
    torch.testing.assert_close(
        theirs(ids).logits[0, -1], network.logits(network(row))[0, -1, :320], rtol=1e-4, atol=1e-4
    )
    run("train", "--model", root / "run/model", *common, "--out", root / "next")
    assert peek(root / "next/reference")["weights"] == peek(root / "run/model")["weights"]


def test_it_completes_prompts_and_scores_texts(run, trained, tmp_path):
    root, _ = trained
    made = run("generate", "--model", root / "run/model", "-p", "The cat", "--max-new-tokens", 6, "--json", "--seed", 1)
    row = json.loads(made.stdout.splitlines()[0])
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": row["prompt"], "completion": row["completion"]}) + "\n")
    rows, scores = tmp_path / "rows.jsonl", tmp_path / "scores.jsonl"
    run("score", f"fluency(lm='hf:{root / 'run/model'}')", "-i", rows, "-o", scores)
    assert len(scores.read_text().splitlines()) == 1


def test_an_lstm_is_pretrained_and_trained(run, prompts, tmp_path):
    settings = ["--prompts", prompts, "--tokenizer", "char", "--max-new-tokens", 8]
    size = ["--model-size", "lstm-tiny", "--pretrain-tokens", 2000]
    run("pretrain", *settings, *size, "--quiet", "--out", tmp_path / "lstm")
    assert peek(tmp_path / "lstm")["textgym"] == "lstm"
    run(
        "train",
        "--model",
        tmp_path / "lstm",
        "--prompts",
        prompts,
        "--reward",
        "distinct",
        *RUN,
        "--out",
        tmp_path / "r",
    )
    assert peek(tmp_path / "r/model")["textgym"] == "lstm"
    run("generate", "--model", tmp_path / "r/model", "-p", "The cat", "--json")
