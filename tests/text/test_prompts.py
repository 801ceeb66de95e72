"""Prompts: what follows a prompt is what follows it in the document, and nothing is lost or used twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import CorpusError, TaskError
from textgym.text.corpora import Corpus
from textgym.text.pieces import CharTokenizer
from textgym.text.prompts import PromptSet, build_prompts, split_documents
from textgym.text.sentences import split_units
from textgym.text.tokenizers import train_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,!?\n"
CHARS = CharTokenizer(tuple(LETTERS + "床前明月光，疑是地上霜。舉頭望低思故鄉"))
STORY = "Once upon a time there was a fox. It was red. It lived in a wood. The end came soon, alas!"
FILLER = "This other text only fills the other side of the split."


def sets_of(*documents: str, tokenizer=CHARS, **settings_) -> tuple[dict[str, PromptSet], Corpus]:
    corpus = Corpus("test", documents)
    options = {"max_new_tokens": 40, "prompt_words": 3, **settings_}
    return build_prompts(corpus, tokenizer, **options), corpus


def passages(sets: dict[str, PromptSet], document: int) -> list[tuple[str, str, bool]]:
    """(prompt, reference, ended) of one document, in order."""
    (found,) = [prompts for prompts in sets.values() if document in prompts.document]
    return [
        (found.prompt_text(i, CHARS), found.reference_text(i, CHARS), bool(found.ended[i]))
        for i in range(len(found))
        if found.document[i] == document
    ]


def test_a_story_by_hand() -> None:
    sets, _ = sets_of(STORY, FILLER)
    assert passages(sets, 0) == [
        ("Once upon a", " time there was a fox.", True),
        # "It was red." holds three words and nothing to say after them: it is joined to the next.
        ("It was red.", " It lived in a wood.", True),
        ("The end came", " soon, alas!", True),
    ]


def test_whole_sentences_follow_as_far_as_the_budget_goes() -> None:
    rest = len(" time there was a fox. It was red. It lived in a wood.")
    for budget, reference in [
        (rest + 1, " time there was a fox. It was red. It lived in a wood."),
        (rest, " time there was a fox."),
        (len(" time there was a fox.") + 1, " time there was a fox."),
    ]:
        sets, _ = sets_of(STORY, FILLER, max_new_tokens=budget)
        assert passages(sets, 0)[0] == ("Once upon a", reference, True)


def test_a_sentence_longer_than_the_budget_is_cut_without_eos() -> None:
    sets, _ = sets_of(STORY, FILLER, max_new_tokens=len(" time there was a fox."))
    assert passages(sets, 0)[0] == ("Once upon a", " time there was a fox.", False)
    sets, _ = sets_of(STORY, FILLER, max_new_tokens=6)
    assert passages(sets, 0)[0] == ("Once upon a", " time ", False)


def test_chinese_prompts_end_behind_the_punctuation_of_their_last_character() -> None:
    sets, _ = sets_of("床前明月光，疑是地上霜。\n舉頭望明月，低頭思故鄉。\n", FILLER, prompt_words=5, max_new_tokens=8)
    assert passages(sets, 0) == [
        ("床前明月光，", "疑是地上霜。", True),
        ("舉頭望明月，", "低頭思故鄉。", True),
    ]


def test_the_whitespace_before_eos_is_left_out_and_between_sentences_kept() -> None:
    sets, _ = sets_of("One two three four.\n\nFive six seven eight. \n", FILLER, max_new_tokens=60)
    assert passages(sets, 0) == [
        ("One two three", " four.\n\nFive six seven eight.", True),
        ("Five six seven", " eight.", True),
    ]


word = st.text(st.sampled_from("abcXYZ"), min_size=1, max_size=9)
sentence = (
    st.lists(word, min_size=1, max_size=12)
    .map(lambda words: " ".join(words))
    .flatmap(lambda text: st.sampled_from([". ", "!  ", ".\n", "\n\n", "? "]).map(lambda end: text + end))
)
document = st.lists(sentence, min_size=1, max_size=6).map("".join)
BPE = train_tokenizer("bpe", ["abc XYZ. abc! XYZ abcX? YZab"] * 3, 270)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(document, min_size=2, max_size=5),
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from([CHARS, BPE]),
    st.sampled_from([None, 3, 8, 15]),
    st.sampled_from(["truncate", "skip"]),
)
def test_laws_of_passages(documents, budget, prompt_words, tokenizer, limit, rule) -> None:
    try:
        sets, corpus = sets_of(
            *documents,
            tokenizer=tokenizer,
            max_new_tokens=budget,
            prompt_words=prompt_words,
            max_prompt_tokens=limit,
            on_long_prompt=rule,
        )
    except CorpusError:
        return
    texts = {side: {corpus.documents[i] for i in prompts.document} for side, prompts in sets.items()}
    assert not texts["train"] & texts["heldout"]
    for prompts in sets.values():
        assert limit is None or prompts.prompt_lengths.max() <= limit
        for i in range(len(prompts)):
            check_passage(prompts, i, corpus, tokenizer, budget)
        check_tiling(prompts, corpus, tokenizer, budget)


def check_passage(prompts: PromptSet, i: int, corpus: Corpus, tokenizer, budget: int) -> None:
    prompt, reference = prompts.prompt(i), prompts.reference(i)
    assert len(prompt) == prompts.prompt_lengths[i] > 0
    assert len(reference) == prompts.reference_lengths[i] <= budget
    assert len(reference) > 0
    assert (reference[-1] == tokenizer.eos_id) == prompts.ended[i]
    assert not np.isin(reference[:-1], [0, 1, 2]).any()
    text = prompts.prompt_text(i, tokenizer) + prompts.reference_text(i, tokenizer)
    whole = corpus.documents[prompts.document[i]].strip()
    starts = {0, *np.cumsum([len(unit) for unit in split_units(whole)]).tolist()}
    places = [k for k in starts if whole.startswith(text, k)]
    assert places, f"{text!r} begins no sentence of {whole!r}"
    if prompts.ended[i]:
        ends = {k + len(text) for k in places}
        assert any(len(whole[:stop].rstrip()) in ends for stop in starts), "EOS inside a sentence"


def check_tiling(prompts: PromptSet, corpus: Corpus, tokenizer, budget: int) -> None:
    covered: dict[int, str] = {}
    for i in prompts.tiling().tolist():
        assert len(prompts.reference(i)) <= budget
        text = prompts.prompt_text(i, tokenizer) + prompts.reference_text(i, tokenizer)
        covered[int(prompts.document[i])] = covered.get(int(prompts.document[i]), "") + text
    for number, text in covered.items():
        # Only the whitespace between two rows may be missing, since EOS stands in its place.
        assert "".join(text.split()) == "".join(corpus.documents[number].split())


@settings(max_examples=40, deadline=None)
@given(st.lists(document, min_size=2, max_size=4))
def test_a_prompt_has_the_ids_of_its_text(documents: list[str]) -> None:
    for tokenizer in (CHARS, BPE):
        try:
            sets, _ = sets_of(*documents, tokenizer=tokenizer)
        except CorpusError:
            return
        for prompts in sets.values():
            for i in range(len(prompts)):
                assert np.array_equal(tokenizer.encode(prompts.prompt_text(i, tokenizer)), prompts.prompt(i))


def test_a_bpe_passage_has_the_ids_of_the_whole_text() -> None:
    sets, _ = sets_of(STORY, FILLER, tokenizer=train_tokenizer("bpe", [STORY, FILLER] * 3, 300), max_new_tokens=200)
    tokenizer = train_tokenizer("bpe", [STORY, FILLER] * 3, 300)
    (found,) = [prompts for prompts in sets.values() if 0 in prompts.document]
    whole = np.concatenate([found.prompt(0), found.reference(0)[:-1]])
    assert np.array_equal(whole, tokenizer.encode(STORY))


def test_a_set_survives_its_arrays() -> None:
    prompts = sets_of(STORY, FILLER)[0]["train"]
    arrays = prompts.to_arrays()
    again = PromptSet.from_arrays(arrays)
    assert len(again) == len(prompts) and np.array_equal(again.tiling(), prompts.tiling())
    for i in range(len(prompts)):
        assert np.array_equal(again.prompt(i), prompts.prompt(i))
        assert np.array_equal(again.reference(i), prompts.reference(i))


def test_a_tenth_of_the_documents_is_held_out_whatever_their_order() -> None:
    documents = [f"Document number {number} holds these eight words." for number in range(100)]
    split = split_documents(Corpus("test", documents))
    assert [len(split["train"]), len(split["heldout"])] == [90, 10]
    turned = split_documents(Corpus("test", documents[::-1]))
    assert sorted(99 - number for number in turned["heldout"]) == split["heldout"]


def test_equal_documents_stand_on_one_side() -> None:
    documents = ["The same text is here many times."] * 9 + ["Another text is here only once."]
    split = split_documents(Corpus("test", documents))
    assert sorted(map(len, split.values())) == [1, 9]


@pytest.mark.parametrize(
    "documents",
    [["Too short."], ["One document is long enough to prompt with."], ["Twice the same text stands here."] * 2],
)
def test_a_corpus_shorter_than_two_prompts_says_how_much_there_is(documents: list[str]) -> None:
    with pytest.raises(CorpusError, match=r"shorter than one .* characters in \d documents.*Two are needed"):
        sets_of(*documents, prompt_words=5)


def test_long_prompts_are_refused_shortened_or_left_out() -> None:
    texts = (STORY, "Extraordinarily incomprehensible sentences stand here. They are short after all.")
    with pytest.raises(TaskError, match=r"1 of \d prompts.*max_prompt_tokens=20.*has 42.*truncate"):
        sets_of(*texts, max_prompt_tokens=20)
    shortened, _ = sets_of(*texts, max_prompt_tokens=20, on_long_prompt="truncate")
    assert passages(shortened, 1)[0][:2] == ("Extraordinarily inco", "mprehensible sentences stand here.")
    skipped, _ = sets_of(*texts, max_prompt_tokens=20, on_long_prompt="skip")
    assert [prompt for prompt, _, _ in passages(skipped, 1)] == ["They are short"]


def test_skipping_every_prompt_of_a_side_is_an_error() -> None:
    with pytest.raises(CorpusError, match=r"every .* prompt of test is longer"):
        sets_of(STORY, FILLER, max_prompt_tokens=1, on_long_prompt="skip")


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"prompt_words": 0}, {"max_prompt_tokens": 0}])
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(TaskError, match="at least 1"):
        sets_of(STORY, FILLER, **wrong)
