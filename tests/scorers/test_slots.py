"""Slots of meaning representations: what counts as said, what as an error, and people's own texts."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import ScoringFailure, SpecError
from textgym.scorers.meaning import parse_meaning, slot_errors
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.slot_phrases import PHRASINGS


def errors(meaning, text):
    found = slot_errors(parse_meaning(meaning), text)
    return found.missing, found.hallucinated, found.duplicated


@pytest.mark.parametrize(
    ("meaning", "slots"),
    [
        ("name[The Mill], area[city centre]", [("name", "mill"), ("area", "city centre")]),
        ("customer rating[1 out of 5]\nprice[£20-25]", [("customerrating", "1 out of 5"), ("price", "£ 20 25")]),
        ("Say this: name [ Café Rouge ] ; near[A]", [("name", "cafe rouge"), ("near", "a")]),
        ("name[x], name[x], area[]", [("name", "x")]),
        ("a list, [1] and [2]", []),
        ("", []),
    ],
)  # fmt: skip
def test_a_meaning_is_read_as_slots(meaning, slots):
    assert parse_meaning(meaning) == slots


@pytest.mark.parametrize(
    ("slot", "said", "unsaid"),
    [
        ("name[The Mill]", "At Mill you eat.", "Milling around"),
        ("near[Café Rouge]", "It is near CAFE ROUGE", "the rouge café"),
        ("name[明月楼]", "我在明月楼吃饭", "明月的楼"),
        ("eatType[coffee shop]", "a small cafe", "a shop"),
        ("food[English]", "British food", "Englishmen"),
        ("priceRange[less than £20]", "it costs under £20", "it costs over £20"),
        ("priceRange[less than £20]", "cheap food", "high prices"),
        ("priceRange[£20-25]", "between £20 and £25", "£25"),
        ("priceRange[moderate]", "moderately priced", "an average rating"),
        ("priceRange[high]", "the price range is high", "a high customer rating"),
        ("customer rating[high]", "rated highly", "high prices"),
        ("customer rating[5 out of 5]", "a five star place", "one out of five stars"),
        ("customer rating[1 out of 5]", "rated 1/5", "rated 5/5"),
        ("customer rating[3 out of 5]", "a 3-star rating", "three pubs"),
        ("area[riverside]", "by the river", "the city center"),
        ("area[city centre]", "in the centre of the city", "in the city"),
        ("familyFriendly[yes]", "families are welcome", "it is not family-friendly"),
        ("familyFriendly[yes]", "It is not dear. Kids love it", "kids are not allowed"),
        ("familyFriendly[no]", "it isn't for children", "child friendly"),
        ("familyFriendly[no]", "for adults only", "not cheap but family friendly"),
        ("familyFriendly[no]", "a non-family-friendly pub", "kid friendly, not expensive"),
        ("hasParking[no]", "there is no hasparking", "hasparking"),
        ("rooms[five]", "it has 5 rooms", "it has 4 rooms"),
    ],
)
def test_what_counts_as_said(slot, said, unsaid):
    assert errors(slot, said)[0] == 0
    assert errors(slot, unsaid)[0] == 1


MILL = "name[The Mill], eatType[pub], food[Indian], near[Raja Indian Cuisine]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Mill is an Indian pub near Raja Indian Cuisine.", (0, 0, 0)),
        ("The Mill is a pub near Raja Indian Cuisine.", (1, 0, 0)),  # a name's words say nothing else
        ("The Mill. The Mill is an Indian pub near Raja Indian Cuisine.", (0, 0, 0)),  # a name may be said again
        ("The Mill is a pub near Raja Indian Cuisine. It is Indian. Its food is Indian.", (0, 0, 1)),
        ("The Mill is an Indian pub and restaurant near Raja Indian Cuisine.", (0, 0, 0)),
        ("The Mill is a cheap French pub near Raja Indian Cuisine.", (1, 2, 0)),
        ("The Mill is an Indian pub near Raja Indian Cuisine. No kids.", (0, 1, 0)),
        ("", (4, 0, 0)),
    ],
)
def test_errors_by_hand(text, expected):
    assert errors(MILL, text) == expected
    (rate,) = s.slots("error_rate").score_texts([text], [MILL])
    (coverage,) = s.slots().score_texts([text], [MILL])
    assert rate == sum(expected) / 4 and coverage == 1 - expected[0] / 4


def test_a_wrong_value_is_missing_and_hallucinated():
    assert errors("name[A], familyFriendly[no]", "A is family friendly.") == (1, 1, 0)
    assert errors("name[A], customer rating[low]", "A has a high rating.") == (1, 1, 0)


def test_outside_of_the_domain_nothing_can_be_told_to_be_made_up():
    assert errors("name[A], pages[12]", "A has twelve cheap pages for kids.") == (1, 0, 0)


def test_the_meaning_may_stand_in_the_metadata():
    batch = batch_of_texts(["A is a pub"] * 4, metadata=[{"mr": "name[A]"}, {"mr": "name[B]"}, {}, {"mr": ""}])
    scores = s.slots().score(batch)
    assert scores.values.tolist() == [1.0, 0.0, 0.0, 0.0] and scores.valid.tolist() == [True, True, False, False]
    with pytest.raises(ScoringFailure, match=r"is text.*not \['A'\]"):
        s.slots().score(batch_of_texts(["A"], metadata=[{"mr": ["A"]}]))
    with pytest.raises(SpecError, match="'coverage' or 'error_rate'"):
        s.parse("slots('rate')")


@given(st.lists(st.sampled_from(["name[Zizzi]", "food[French]", "area[riverside]", "familyFriendly[yes]"]), min_size=1))
@settings(max_examples=30, deadline=None)
def test_more_said_never_covers_less(slots):
    said = {
        "name[Zizzi]": "Zizzi.",
        "food[French]": "French.",
        "area[riverside]": "river.",
        "familyFriendly[yes]": "kids.",
    }
    meaning, text, values = ", ".join(slots), "", []
    for slot in [*dict.fromkeys(slots)]:
        text += f" {said[slot]}"
        values.append(s.slots().score_texts([text], [meaning])[0])
    assert values == sorted(values) and values[-1] == 1.0  # fmt: skip


def test_no_two_phrasings_of_a_slot_share_a_value():
    for phrasings in PHRASINGS.values():
        values = [value for phrasing in phrasings for value in phrasing.values]
        assert len(values) == len({*values}) and all(parse_meaning(f"a[{value}]") == [("a", value)] for value in values)


def test_peoples_texts_say_their_own_meaning_and_not_anothers(data: Path) -> None:
    with (data / "e2e_nlg" / "devset.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::12]
    others = np.random.default_rng(0).permutation(len(rows))
    texts, own = [row["ref"] for row in rows], [row["mr"] for row in rows]
    other = [own[i] for i in others]
    assert len(rows) > 350
    kept = np.array(own) != np.array(other)
    covered, by_chance = (s.slots().score_texts(texts, prompts)[kept] for prompts in (own, other))
    assert covered.mean() > 0.9 and by_chance.mean() < 0.35
    assert np.mean(covered > by_chance) > 0.98
    wrong, at_random = (s.slots("error_rate").score_texts(texts, prompts)[kept] for prompts in (own, other))
    assert wrong.mean() < 0.12 and at_random.mean() > 1 and np.mean(wrong < at_random) > 0.98
