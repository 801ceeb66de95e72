import json
import shutil
import signal
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.errors import CheckpointError
from textgym.models.folder import peek
from textgym.runs.config import TrainConfig
from textgym.runs.train import train
from textgym.text.rollouts import read_rollouts

TINY = ["--model-size", "tiny", "--vocab-size", "400", "--max-new-tokens", "24"]
SMALL_RUN = [*TINY, "--pretrain-tokens", "20000", "--steps", "2000", "--envs", "16", "--eval-prompts", "16"]


@pytest.fixture(scope="module")
def run(tiny_corpus, tmp_path_factory):
    """One whole run, which most tests look at."""
    out = tmp_path_factory.mktemp("train") / "run"
    result = CliRunner().invoke(app, ["train", "--corpus", str(tiny_corpus), *SMALL_RUN, "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    return SimpleNamespace(out=out, result=result, summary=json.loads((out / "summary.json").read_text()))


def test_train_saves_a_summary_with_everything_that_decided_it(run, tiny_corpus):
    assert {"config", "versions", "corpus_hash", "before", "after", "tokens", "seconds"} <= run.summary.keys()
    assert {"reward", "reward/fluency", "repetition", "kl", "perplexity"} <= run.summary["before"].keys()
    assert run.summary["before"].keys() == run.summary["after"].keys()
    assert run.summary["before"]["kl"] == pytest.approx(0, abs=1e-6)
    assert run.summary["config"]["corpus"] == str(tiny_corpus) and run.summary["config"]["steps"] == 2000
    assert run.summary["tokens"]["agent"] >= 2000 and run.summary["tokens"]["pretrain"] >= 20_000


def test_train_leaves_metrics_picture_samples_and_models(run):
    metrics = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    assert metrics and all("reward/paid" in row for row in metrics)
    assert (run.out / "curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    samples = [json.loads(line) for line in (run.out / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 16 and {"prompt", "before", "after"} <= samples[0].keys()
    episodes = list(read_rollouts(run.out / "episodes.jsonl"))
    assert [(e.prompt, e.completion) for e in episodes[:16]] == [(s["prompt"], s["before"]) for s in samples]
    assert [(e.prompt, e.completion) for e in episodes[16:]] == [(s["prompt"], s["after"]) for s in samples]
    assert [e.reward for e in episodes[16:]] == [s["after_scores"]["reward"] for s in samples]
    assert {(e.phase, e.step) for e in episodes} == {("before", 0), ("after", run.summary["tokens"]["agent"])}
    assert all(e.references and e.rewards.keys() >= {"fluency"} for e in episodes)
    for folder in ("model", "reference"):
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in (run.out / folder).iterdir()}


def test_train_prints_table_samples_and_places_on_stdout_and_progress_on_stderr(run):
    shown = run.result.stdout
    assert shown.startswith("TextGym ") and "seed 0" in shown.splitlines()[0]
    for label in (
        "reward (paid)",
        "  fluency",
        "KL to the reference",
        "distinct-2",
        "ended by EOS",
        "held-out perplexity",
    ):
        assert label in shown
    assert shown.count("\nprompt ") == 5
    assert (
        "summary.json, metrics.jsonl, curve.png, samples.jsonl, episodes.jsonl, model/, reference/, agent.zip" in shown
    )
    assert "tok/s" in run.result.stderr and "pretrain" in run.result.stderr and "tok/s" not in shown


def test_the_same_seed_gives_the_same_result_and_json_is_all_that_is_printed(run, textgym, tiny_corpus, tmp_path):
    again = textgym("train", "--corpus", tiny_corpus, *SMALL_RUN, "--out", tmp_path / "again", "--json", "--quiet")
    assert again.exit_code == 0 and again.stderr == ""
    summary = json.loads(again.stdout)
    assert [summary[key] for key in ("before", "after", "change")] == [
        run.summary[key] for key in ("before", "after", "change")
    ]
    assert (tmp_path / "again" / "samples.jsonl").read_bytes() == (run.out / "samples.jsonl").read_bytes()


def test_training_goes_on_from_a_saved_model_and_quiet_prints_no_more_than_the_table(
    run, textgym, tiny_corpus, tmp_path
):
    options = ["--steps", "500", "--envs", "16", "--eval-prompts", "16", "--max-new-tokens", "24", "--quiet"]
    options += ["--reward", "-length", "--model", run.out / "model"]
    result = textgym("train", "--corpus", tiny_corpus, *options, "--out", tmp_path / "on")
    assert result.exit_code == 0, result.stderr
    assert "prompt" not in result.stdout and "reward (paid)" in result.stdout and result.stderr == ""
    summary = json.loads((tmp_path / "on" / "summary.json").read_text())
    assert summary["before"]["perplexity"] == pytest.approx(run.summary["after"]["perplexity"])


def test_generate_completes_prompts_with_the_trained_model(run, textgym, jsonl, tmp_path):
    path = jsonl([{"prompt": "The old"}, {"prompt": "A young"}])
    options = ["generate", "--model", run.out / "model", "--input", path, "--n", "2", "--max-new-tokens", "6"]
    first, second = (textgym(*options, "--json", "--seed", seed) for seed in (1, 1))
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert [row["prompt"] for row in rows] == ["The old", "The old", "A young", "A young"]
    assert all(row.keys() == {"prompt", "completion", "logprob"} and row["logprob"] < 0 for row in rows)
    assert first.stdout == second.stdout != textgym(*options, "--json", "--seed", 2).stdout
    assert textgym(*options, "--seed", 1, "--output", tmp_path / "out.jsonl").stdout == ""
    assert (tmp_path / "out.jsonl").read_text() == first.stdout


def test_generate_prints_prompt_and_completion_and_needs_a_prompt(run, textgym, tmp_path):
    shown = textgym("generate", "--model", run.out / "model", "--prompt", "[red]The old", "--max-new-tokens", "4")
    assert shown.stdout.startswith("[red]The old")
    assert textgym("generate", "--model", run.out / "model").exit_code == 2
    lines = tmp_path / "prompts.txt"
    lines.write_text("The old\n\nA young\n")
    greedy = textgym("generate", "--model", run.out / "model", "-i", lines, "--temperature", "0", "--json")
    assert [json.loads(line)["prompt"] for line in greedy.stdout.splitlines()] == ["The old", "A young"]


def test_a_prompt_without_room_and_a_setting_out_of_range_are_refused(run, textgym):
    long = textgym("generate", "--model", run.out / "model", "--prompt", "river " * 200)
    assert long.exit_code == 1 and "leaves no room" in long.stderr
    setting = textgym("generate", "--model", run.out / "model", "--prompt", "x", "--top-p", "7")
    assert setting.exit_code == 1 and "top_p=7.0" in setting.stderr


def test_pretrain_saves_a_model_that_train_takes(textgym, tiny_corpus, tmp_path):
    options = ["--corpus", tiny_corpus, *TINY]
    result = textgym("pretrain", *options, "--pretrain-tokens", "3000", "--out", tmp_path / "model")
    assert result.exit_code == 0, result.stderr
    assert "held-out perplexity" in result.stdout and result.stdout.count("\nsample ") == 2
    metadata = json.loads((tmp_path / "model" / "config.json").read_text())["metadata"]
    assert metadata["tokens"] >= 3000 and metadata["perplexity"] > 1


def test_a_checkpoint_of_another_vocabulary_or_another_length_is_refused(run, textgym, tiny_corpus, tmp_path):
    options = ["train", "--corpus", tiny_corpus, "--model", run.out / "model", "--out", tmp_path / "no"]
    other = textgym(*options, "--tokenizer", "word", "--max-new-tokens", "24")
    assert other.exit_code == 1 and "was made with a vocabulary of" in other.stderr
    assert f"--tokenizer {run.out / 'model' / 'tokenizer.json'}" in other.stderr
    longer = textgym(*options, "--max-new-tokens", "60")
    assert longer.exit_code == 1 and "has a context of" in longer.stderr


def test_an_error_does_not_touch_what_an_earlier_run_saved(run, textgym, tiny_corpus):
    before = {path: path.read_bytes() for path in run.out.rglob("*") if path.is_file()}
    for wrong in (["--model-size", "huge"], ["--tokenizer", "no.json"], ["--model", "nowhere"], ["--reward", "2"]):
        assert textgym("train", "--corpus", tiny_corpus, *SMALL_RUN, *wrong, "--out", run.out).exit_code == 1
    assert {path: path.read_bytes() for path in run.out.rglob("*") if path.is_file()} == before


def test_a_folder_of_other_files_is_not_written_into(textgym, tiny_corpus, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    result = textgym("train", "--corpus", tiny_corpus, *SMALL_RUN, "--out", tmp_path)
    assert result.exit_code == 1 and "'thesis.txt', which no run of textgym made" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--agent", "pppo"], "unknown agent 'pppo'. Did you mean 'ppo'?"),
        (["--task", "docstring"], "unknown task 'docstring'. Did you mean 'docstrings'?"),
        (["--model-size", "smal"], "unknown model size 'smal'. Did you mean 'small'?"),
        (["--reward", "fluency +"], "fluency +\n"),
        (["--steps", "0"], "steps=0 must be at least 1"),
        (["--kl", "-1"], "kl=-1.0"),
        (["--device", "warp"], "--device warp cannot be used here"),
        (["--corpus", "missing.txt"], "missing.txt"),
        (["--corpus", "EMPTY"], "empty.txt"),
        (["--corpus", "SHORT"], "short.txt"),
        (["--field", "text"], "field='text'"),
        (["--model", "nowhere"], "no model folder nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_run_is_said_in_one_message(textgym, tmp_path, options, complaint):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("Hi")
    words = {"EMPTY": tmp_path / "empty.txt", "SHORT": tmp_path / "short.txt"}
    result = textgym("train", *(words.get(word, word) for word in options), "--out", tmp_path / "out")
    assert result.exit_code == 1 and result.exception.__class__ is SystemExit
    announced, _, message = ("\n" + result.stderr).rpartition("\nerror: ")
    assert complaint in message and "error" not in announced
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_control_c_in_mid_training_keeps_what_was_learned_and_says_where(
    textgym_process, textgym, tiny_corpus, tmp_path
):
    out = tmp_path / "run"
    options = ["--pretrain-tokens", "3000", "--steps", "1000000", "--envs", "16", "--eval-prompts", "8"]
    process = textgym_process("train", "--corpus", tiny_corpus, *TINY, *options, "--out", out)
    try:
        wait_for(lambda: (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size > 0, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"interrupted: what was saved is in {out}" in errors.decode() and "Traceback" not in errors.decode()
    assert not (out / "summary.json").exists()
    for folder in ("reference", "model"):
        shown = textgym("generate", "--model", out / folder, "--prompt", "The old", "--json", "--max-new-tokens", "3")
        assert shown.exit_code == 0, shown.stderr


def test_a_rerun_that_is_interrupted_in_pretraining_leaves_no_trained_model_of_the_run_before(
    run, tiny_corpus, tmp_path
):
    out = tmp_path / "run"
    shutil.copytree(run.out, out)
    config = TrainConfig(corpus=str(tiny_corpus), model_size="tiny", pretrain_tokens=10_000)

    def interrupt(*told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, out, progress=interrupt)
    assert peek(out / "reference")["metadata"]["interrupted"] is True
    assert not (out / "agent.zip").exists()
    with pytest.raises(CheckpointError):
        peek(out / "model")


def wait_for(happened, process, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)
