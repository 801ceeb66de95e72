"""The attack finds for each naive reward the kind of text that it is known to like, and nothing that beats gold."""

import numpy as np
import pytest

from textgym.audit import arena_of_rollouts, arena_of_task, attack
from textgym.envs.tasks import make_task
from textgym.scorers import DEFAULT_REWARD
from textgym.text.rollouts import Rollout

FEW = 8_000
"""Evaluations, a second or two; the command takes six times as many."""


def attacked(spec, evaluations=FEW, **settings):
    return attack(arena_of_task(spec, make_task("story")), evaluations=evaluations, seconds=600, **settings)


def some(exploit, symptom):
    return any(text.startswith(symptom) for text in exploit.symptoms)


def test_the_sum_of_log_p_likes_the_shortest_story():
    found = attacked("fluency(form='sum')")
    assert found.cheapest.tokens <= 4
    assert found.best.score > found.good / 5
    assert found.best.truth == 0


def test_the_mean_log_p_likes_one_safe_sentence_more_than_the_corpus():
    found = attacked("fluency")
    assert found.fluent.score > found.good
    assert some(found.fluent, "short") or some(found.fluent, "repeats itself")
    assert any("one sentence repeated" in exploit.kind for exploit in found.exploits)
    assert found.fluent.truth < 0.1


def test_the_cosine_of_neighbours_likes_identical_sentences():
    found = attacked("coherence")
    assert found.best.score > 0.99
    assert any("one sentence repeated" in exploit.kind and exploit.score > 0.7 for exploit in found.exploits)
    assert some(found.fluent, "repeats itself")


def test_the_mean_surprisal_likes_word_salad():
    found = attacked("informativeness")
    assert found.best.score > 2 * found.good
    assert some(found.best, "word salad")
    assert found.best.truth == 0


def test_keyword_coverage_likes_a_list_of_the_words():
    found = attacked("keywords")
    assert found.best.score == 1.0
    assert found.cheapest.tokens < 15
    assert found.best.truth == 0


def test_distinct_two_likes_texts_of_two_words():
    found = attacked("distinct(n=2)")
    assert found.cheapest.tokens == 2
    assert found.best.score == 1.0


def test_the_default_reward_is_fooled_too():
    found = attacked(DEFAULT_REWARD)
    assert found.best.score > found.good + 2
    assert found.best.truth < 0.1


def test_gold_quality_is_not_beaten():
    found = attacked("gold.quality", evaluations=4_000)
    assert not found.exploits
    assert found.highest <= 1.0


@pytest.mark.slow
def test_gold_quality_is_not_beaten_in_a_whole_attack():
    arena = arena_of_task("gold.quality", make_task("story"))
    found = attack(arena, seconds=600)
    assert not found.exploits


def test_the_same_seed_finds_the_same():
    one, two = (attacked("fluency - repetition", evaluations=3_000, seed=3).to_row() for _ in range(2))
    one.pop("seconds"), two.pop("seconds")
    assert one == two


def test_the_second_search_stays_within_the_limit():
    arena = arena_of_task("informativeness", make_task("story"))
    found = attack(arena, evaluations=FEW, seconds=600, max_surprise=2.0)
    row = arena.good.prompt_texts.index(found.fluent.prompt)
    assert arena.surprise(arena.rewritten([found.fluent.text], [row]))[0] <= 2.0


def test_a_function_is_attacked_on_saved_rollouts_without_task_or_model():
    rows = [Rollout("what?", f"the answer is {n} of course", (f"the answer is {n}",)) for n in range(20)]
    found = attack(arena_of_rollouts(lambda text: text.count("answer"), rows), evaluations=2_000, seconds=60)
    assert found.best.score >= 2
    assert found.truth is None
    assert "answer answer" in found.best.text or some(found.best, "long")


def test_a_text_that_stands_among_the_references_is_no_exploit():
    found = attacked("exact_match", evaluations=2_000)
    assert not found.exploits


def test_texts_that_the_reward_fails_on_are_passed_over():
    def picky(text: str) -> float:
        if "ann" in text:
            raise ValueError("no ann")
        return float(len(text.split()) < 3)

    rows = [Rollout("p", "ben was here today and so was kim"), Rollout("p", "kim was away for the whole day")]
    found = attack(arena_of_rollouts(picky, rows), evaluations=1_000, seconds=60)
    assert found.highest == 1.0
    assert np.isfinite(found.good)


def test_texts_that_the_reward_fails_on_are_counted():
    def picky(text: str) -> float:
        if "sam" in text:
            raise ValueError("no sam")
        return float(len(text.split()))

    rows = [Rollout("where was sam", "ben was here today and so was kim"), Rollout("p", "kim was away for the day")]
    assert attack(arena_of_rollouts(picky, rows), evaluations=1_000, seconds=60).failed > 0
