"""The models that come with the package: small, loadable by name, and with the defects that they are known for."""

import numpy as np
import pytest

from textgym.envs.tasks import make_task
from textgym.errors import CheckpointError
from textgym.models.checkpoint import load_checkpoint, require_fit, save_checkpoint
from textgym.models.folder import SHIPPED, model_folder, peek, shipped_names
from textgym.models.registry import is_checkpoint, load_checkpoint_language_model
from textgym.models.sampling import Sampling, generate
from textgym.scorers import parse
from textgym.types import TextBatch
from textgym.worlds.story.gold import AXES

PROMPTS = 256


@pytest.fixture(scope="module")
def task():
    return make_task("story")


def stories_of(task, sampling=None):
    """What the shipped model makes of the first held-out briefs."""
    checkpoint = load_checkpoint("story-small")
    ids = [task.heldout.prompt(i) for i in range(PROMPTS)]
    made = generate(
        checkpoint.model,
        ids,
        sep_id=checkpoint.sep_id,
        eos_id=checkpoint.eos_id,
        max_new_tokens=task.max_new_tokens,
        sampling=sampling,
    )
    return TextBatch(ids, made.ids, task.tokenizer)


def means_of(task, batch):
    return {axis: float(parse(text).bind(task.context).score(batch).values.mean()) for axis, text in AXES.items()}


def test_the_shipped_models_take_three_megabytes_at_most():
    assert shipped_names() == ["story-small"]
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 3_000_000


def test_the_shipped_model_fits_its_task_and_says_how_good_it_is(task):
    checkpoint = load_checkpoint("story-small")
    require_fit(checkpoint, task.tokenizer, task.observation_length, "story-small")
    assert checkpoint.metadata["task"] == "story" and checkpoint.metadata["corpus"] == task.corpus_hash
    assert checkpoint.metadata["perplexity"] < 2.4


def test_maximum_likelihood_learns_the_grammar_and_not_the_facts(task):
    """The defects of WORLD.md: most sentences are sentences, many are false, little is told, gold is far off."""
    made, corpus = means_of(task, stories_of(task)), means_of(task, references_of(task))
    assert made["grammar"] > 0.88 and corpus["grammar"] == 1.0
    assert 0.12 < 1 - made["coherence"] < 0.30 and 1 - corpus["coherence"] < 0.05
    assert 0.30 < 1 - made["faithfulness"] < 0.60 and 1 - corpus["faithfulness"] < 0.08
    assert 0.10 < made["information"] < 0.40 < 0.6 < corpus["information"]
    assert 0.05 < made["quality"] < 0.25 < 0.6 < corpus["quality"]


def test_its_greedy_stories_repeat_themselves(task):
    repetition = parse("repetition").bind(task.context)
    greedy = repetition.score(stories_of(task, Sampling(temperature=0))).values.mean()
    assert greedy > 2.5 * repetition.score(references_of(task)).values.mean()


def references_of(task):
    prompts = task.heldout
    return TextBatch(
        [prompts.prompt(i) for i in range(PROMPTS)], [prompts.reference(i) for i in range(PROMPTS)], task.tokenizer
    )


def test_a_shipped_model_goes_by_its_name_wherever_a_folder_may_stand(task, tmp_path, monkeypatch):
    assert is_checkpoint("story-small") and peek("story-small")["tokenizer"] == task.tokenizer.signature
    model = load_checkpoint_language_model("story-small")
    prompt = task.heldout.prompt(0)
    assert np.exp(model.next_logprobs([prompt], [prompt[:0]])).sum() == pytest.approx(1.0)
    assert "lm='story-small'" in str(parse("fluency(lm='story-small')"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story-small").mkdir()
    assert model_folder("story-small").resolve() == tmp_path / "story-small"  # one's own goes before
    with pytest.raises(CheckpointError, match="holds no model"):
        peek("story-small")


def test_a_name_that_is_nearly_that_of_a_shipped_model_is_offered():
    with pytest.raises(CheckpointError, match="Did you mean 'story-small'"):
        peek("story-smal")


def test_half_the_size_is_half_the_digits_and_no_more(task, tmp_path):
    model = load_checkpoint("story-small").model
    save_checkpoint(tmp_path / "whole", model, task.tokenizer)
    save_checkpoint(tmp_path / "half", model, task.tokenizer, half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.51 * sizes[0]
    halves, wholes = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("half", "whole"))
    assert all(halves[name].dtype == wholes[name].dtype for name in wholes)
    assert all(bool((halves[name] == wholes[name]).all()) for name in wholes)  # they were float16 before
