"""What each world pays, by hand and by its definition, and the laws that hold for every scorer."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textgym
from textgym import scorers as s
from textgym.errors import SpecError
from textgym.scorers import parse
from textgym.testing import check_scorer
from textgym.types import TextBatch
from textgym.worlds.micro import BigramLanguage, micro_world
from textgym.worlds.micro.noise import noise

NAMES = ("micro_bigram", "micro_gold", "micro_grammar", "micro_key_token", "micro_proxy", "micro_random")
NOTHING = np.zeros(0, np.int32)


def batch_of(task, *completions):
    ids = {letter: i for i, letter in enumerate("abcdefghijklmnopqrs", start=3)} | {".": task.tokenizer.eos_id}
    rows = [np.array([ids[letter] for letter in text], np.int32) for text in completions]
    return TextBatch([NOTHING] * len(rows), rows, task.tokenizer)


def score(scorer, *completions, vocab_size=8):
    return parse(scorer).score(batch_of(textgym.micro(vocab_size=vocab_size), *completions)).values.tolist()


@pytest.mark.parametrize(
    "text", ["micro_bigram(seed=7)", "micro_key_token(at=3)", "2*micro_random(states=5) - micro_gold"]
)
def test_scorers_of_the_worlds_keep_the_laws_in_a_world(text):
    """Those of every name, in another task, are among the tests of the registry."""
    check_scorer(parse(text), textgym.micro("random").context)


def test_scorers_of_the_worlds_are_found_by_name_without_the_environment():
    assert {*NAMES} <= {*s.scorer_names()}
    assert str(parse("micro_bigram(seed=3) + micro_key_token(at=1)")) == "micro_bigram(seed=3) + micro_key_token(at=1)"


def test_a_text_is_accepted_if_it_is_a_row_of_clauses():
    clause = re.compile(r"([cf]*[adg][be])+\.?")  # nouns a d g, verbs b e, adjectives c f
    texts = [
        "",
        ".",
        "ab",
        "ab.",
        "ab.",
        "cab",
        "cfde.",
        "abcde",
        "abde.",
        "a",
        "a.",
        "aab",
        "abc",
        "abc.",
        "ba",
        "c.ab",
    ]
    rng = np.random.default_rng(0)
    texts += ["".join(rng.choice(list("abcdefg"), rng.integers(1, 7))) + rng.choice(["", "."]) for _ in range(400)]
    due = [float(bool(clause.fullmatch(text))) for text in texts]
    assert score("micro_grammar", *texts) == due
    assert 0 < sum(due[14:]) < 400


def test_a_vocabulary_of_two_words_has_a_noun_and_a_verb():
    assert score("micro_grammar", "ab", "abab.", "ba", "aba", vocab_size=3) == [1, 1, 0, 0]


def test_gold_counts_the_keyword_where_it_is_not_stuffed_and_the_proxy_everywhere():
    texts = ["aaaa", "abab", "bbab.", "aba", ".", "baab"]
    assert score("micro_proxy", *texts) == [4, 2, 1, 2, 0, 2]
    assert score("micro_gold", *texts) == [1 - 3, 2, 1, 2, 0, 0]


def test_the_key_counts_at_its_place_alone():
    task = textgym.micro("key-token", vocab_size=8, horizon=6)
    scorer = parse(task.reward)
    key = task.tokenizer.token(scorer.key(task.tokenizer))
    other = "a" if key != "a" else "b"
    texts = [other + other + key, key * 6, key * 2 + other * 4, key, other + ".", other + other + key + "."]
    assert scorer.at == 2
    assert scorer.score(batch_of(task, *texts)).values.tolist() == [1, 1, 0, 0, 0, 1]
    assert len({s.micro_key_token(0, seed).key(task.tokenizer) for seed in range(40)}) == 7, "any word may be the key"


def test_pairs_earn_the_numbers_of_the_definition():
    table = noise(5, *(np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3))).reshape(3, 3) * 2 - 1
    due = [table[0, 1] + table[1, 2] + table[2, 0], table[0, 2] + table[2, 2], 0.0, table[0, 0]]
    assert np.allclose(score("micro_bigram(seed=5)", "ab.", "bb", "", ".", vocab_size=3), due, rtol=0, atol=1e-15)


def test_random_worths_are_spread_evenly_and_have_nothing_to_do_with_the_neighbour():
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abcdefg"), 5)) for _ in range(2000)]
    worth, neighbour = (np.array(score("micro_random(states=100000)", *t)) for t in (texts, [t + "a" for t in texts]))
    assert abs(np.histogram(worth, 10, (0, 1))[0] - 200).max() < 60
    assert abs(np.corrcoef(worth, neighbour)[0, 1]) < 0.08


def test_what_no_text_is_made_of_is_never_worth_choosing():
    task = textgym.micro("random")
    for ids in ([0, 3], [3, 1], [3, 3, 0, 4]):
        odd = TextBatch([NOTHING], [np.array(ids, np.int32)], task.tokenizer)
        assert parse("micro_random").score(odd).values[0] == pytest.approx(0, abs=1e-15)
        paid = parse("micro_bigram").score(odd).tokens[0]
        assert all(paid[i] == -1 for i, token in enumerate(ids) if token < 2)


@given(st.integers(0, 2**63), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_noise_is_a_function_of_seed_and_place_in_the_unit_interval(seed, places):
    left, right = np.array(places).T
    drawn = noise(seed, left, right)
    assert ((drawn >= 0) & (drawn < 1)).all()
    alone = [noise(seed, left[i : i + 1], right[i : i + 1])[0] for i in range(len(left))]
    assert drawn.tolist() == alone
    assert len({*drawn.tolist()}) == len({*places}), "places do not share a number"


def test_noise_is_the_same_on_every_machine():
    assert noise(0, np.arange(3)).tolist() == GOLDEN


GOLDEN = [0.6524484863740322, 0.36818951565166946, 0.3922164624235318]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("micro_bigram(seed=-1)", "seed is a whole number of at least 0"),
        ("micro_key_token(at=-1)", "counted from 0"),
        ("micro_random(states=0)", "at least 1 state"),
    ],
)
def test_a_parameter_out_of_range_is_an_error(text, message):
    with pytest.raises(SpecError, match=message):
        parse(text)


# -- the language


def test_the_language_sums_to_one_and_its_two_forms_agree():
    world = micro_world("bigram", 5, 4, seed=3)
    language = world.language
    assert np.allclose(np.exp(language.table).sum(axis=1), 1.0, rtol=0, atol=1e-12)
    rng = np.random.default_rng(0)
    completions = [rng.integers(0, 7, size=n).astype(np.int32) for n in (0, 1, 4, 6)]
    prompts = [NOTHING, np.array([4], np.int32), NOTHING, np.array([3, 5], np.int32)]
    logprobs = language.logprobs(prompts, completions)
    stream = language.stream(prompts)
    stream.restart(np.arange(4), prompts)
    for place in range(6):
        tokens = np.array([ids[place] if place < len(ids) else -1 for ids in completions])
        assert np.array_equal(stream.advance(tokens), logprobs[:, place])
        following = language.next_logprobs(prompts, [ids[:place] for ids in completions])
        for row, ids in enumerate(completions):
            assert place >= len(ids) or following[row, ids[place]] == logprobs[row, place]


def test_texts_of_the_language_follow_its_probabilities():
    world = micro_world("bigram", 3, 4, seed=1)
    texts = world.language.sample(np.random.default_rng(0), 4000, 4)
    first = np.bincount([ids[0] for ids in texts], minlength=5) / 4000
    assert np.abs(first - np.exp(world.language.table[1])).max() < 0.03
    assert all(2 not in ids[:-1] and (len(ids) == 4 or ids[-1] == 2) for ids in texts)


def test_a_reward_may_ask_for_the_language_and_for_models_fitted_to_its_texts():
    task = textgym.micro("bigram", vocab_size=4, horizon=5)
    assert isinstance(task.context.language_model("bigram"), BigramLanguage)
    assert parse("fluency(lm='bigram') + standard(fluency(lm='ngram:2')) - standard(length)").bind(task.context)
