"""Gold as scorers: the laws of every scorer, the same truth batched, streamed, and in another tokenizer."""

import numpy as np
import pytest

from textgym.envs.story import story_task
from textgym.envs.tasks import TaskSettings, make_task
from textgym.errors import ScorerError, ScoringFailure, UnknownNameError
from textgym.scorers import gold, parse
from textgym.scorers.reward import bind_reward
from textgym.testing import check_scorer
from textgym.types import TextBatch
from textgym.worlds.story.gold import AXES, truth_of


@pytest.fixture(scope="module")
def task():
    return make_task("story")


def batch_of(task, rows=32):
    prompts = task.heldout
    return TextBatch(
        [prompts.prompt(i) for i in range(rows)], [prompts.reference(i) for i in range(rows)], task.tokenizer
    )


def test_every_axis_keeps_the_laws_of_a_scorer(task):
    """All in one expression, whose components are checked like values: reading a story is what costs."""
    prompt = task.heldout.prompt_text(0, task.tokenizer)
    check_scorer(parse(" + ".join(AXES.values())), task.context, [batch_of(task, 4)], prompt=prompt)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gold", *AXES.values()])
def test_every_axis_by_itself_keeps_the_laws_of_a_scorer(task, name):
    check_scorer(parse(name), task.context, [batch_of(task, 6)], prompt=task.heldout.prompt_text(0, task.tokenizer))


@pytest.mark.parametrize("name", AXES.values())
def test_every_axis_is_streamed_as_it_is_scored_and_within_its_range(task, name):
    scorer, batch = parse(name), batch_of(task, 8)
    stream, rows = scorer.stream(8, task.context), np.arange(8)
    stream.begin(rows, batch.prompts)
    for step in range(max(map(len, batch.completions))):
        live = np.array([i for i in rows if len(batch.completions[i]) > step])
        values = stream.advance(live, np.array([batch.completions[i][step] for i in live], dtype=np.int64))
        if step % 9 == 0:
            so_far = TextBatch(batch.prompts, [ids[: step + 1] for ids in batch.completions], task.tokenizer)
            assert np.array_equal(values, scorer.bind(task.context).score(so_far).values[live])
        assert (values >= scorer.range[0]).all() and (values <= scorer.range[1]).all()


def test_an_axis_can_be_part_of_an_expression_and_of_python(task):
    reward = 0.5 * gold.coherence() + gold.information() - gold.types()
    assert str(reward) == "0.5*gold.coherence + gold.information - gold.types"
    assert parse(str(reward)) == reward
    assert bind_reward(reward, task.context).score(batch_of(task)).components.keys() == {
        "gold.coherence",
        "gold.information",
        "gold.types",
    }


def test_gold_alone_is_its_quality(task):
    batch = batch_of(task)
    assert np.array_equal(*(parse(text).bind(task.context).score(batch).values for text in ("gold", "gold.quality")))


def test_axes_that_ask_about_the_same_batch_read_it_once(task):
    batch = batch_of(task)
    world = task.world
    assert truth_of(world, batch) is truth_of(world, batch)
    assert truth_of(world, batch_of(task)) is not truth_of(world, batch)


def test_gold_reads_the_text_of_another_tokenizer_and_finds_the_same(task, tmp_path):
    other = make_task("story", tokenizer="bpe", vocab_size=300, max_new_tokens=300, max_prompt_tokens=128)
    assert other.tokenizer.signature != task.tokenizer.signature
    texts = [task.heldout.reference_text(i, task.tokenizer) for i in range(16)]
    prompts = [task.heldout.prompt_text(i, task.tokenizer) for i in range(16)]
    eos = np.array([other.tokenizer.eos_id], np.int32)
    theirs = TextBatch(
        [other.tokenizer.encode(p) for p in prompts],
        [np.concatenate([other.tokenizer.encode(t), eos]) for t in texts],
        other.tokenizer,
    )
    ours = batch_of(task, 16)
    ended = [i for i in range(16) if ours.completions[i][-1] == task.tokenizer.eos_id]
    for name in AXES.values():
        found = parse(name).bind(other.context).score(theirs).values
        due = parse(name).bind(task.context).score(ours).values
        assert np.array_equal(found[ended], due[ended])
    assert parse("gold").stream(1, other.context) is None


def test_the_clean_stories_of_the_world_are_better_than_those_with_noise(task):
    clean = story_task(noise=0.0, repetition=0.0)
    mean = {
        name: bind_reward("gold", each.context).score(batch_of(each, 256)).values.mean()
        for name, each in (("clean", clean), ("noisy", task))
    }
    assert mean["clean"] > mean["noisy"] + 0.03
    assert clean.signature != task.signature


def test_gold_needs_a_task_whose_truth_is_known(tiny_corpus):
    with pytest.raises(ScorerError, match=r"gold.quality needs a story world.*task='story'"):
        bind_reward("gold.quality", make_task(corpus=tiny_corpus).context)
    with pytest.raises(ScorerError, match="needs world"):
        parse("gold").bind(None)


def test_a_prompt_that_is_no_brief_is_an_error_and_no_reward(task):
    reward = bind_reward("gold", task.context)
    batch = TextBatch([task.tokenizer.encode("kitchen barn")], [task.tokenizer.encode(" the end .")], task.tokenizer)
    with pytest.raises(ScoringFailure, match="no brief of the story world"):
        reward.score(batch)


@pytest.mark.parametrize(("preset", "language"), [("huge", "en"), ("small", "fr")])
def test_an_unknown_preset_or_language_says_which_there_are(preset, language):
    with pytest.raises(UnknownNameError, match=r"Known: |Did you mean"):
        story_task(preset, language, settings=TaskSettings())
