"""One page about a report: self-contained, escaped, and what it shows is what the report says."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reading import Page, contrast
from report_samples import evil_report, sample_report

from textgym.errors import ReportError
from textgym.reports.blocks import Column, Interval, Mark, Notice, Picture, Report, Section, Stories, Story, Table
from textgym.reports.heat import full_colour, step
from textgym.reports.page import page

WHOLE, HOSTILE = page(sample_report()), page(evil_report())


def page_of(*blocks):
    return page(Report("Title", [], [Section("part", "Part", [], blocks)]))


def cells(table):
    """Attributes and text of the cells of the body."""
    body = page_of(table).partition("<tbody>")[2].partition("</tbody>")[0]
    found = re.findall(r"<t([hd])(.*?)>(.*?)</t\1>", body)
    return [
        (dict(re.findall(r'([\w-]+)="(.*?)"', attributes)), re.sub("<.*?>", "", text)) for _, attributes, text in found
    ]


def tokens(story):
    """Class and text of each token, with the numbers of its marks; and the values that the page holds."""
    source = page_of(Stories("brief", [story]))
    (values, inner) = re.search(r'data-values="(.*?)">(.*?)</p>', source, re.S).groups()
    found = re.findall(r'( *)<span(?: class="(.*?)")?>(.*?)</span>(?:<sup>(.*?)</sup>)?', inner)
    return found, json.loads(values.replace("&#34;", '"'))


@pytest.mark.parametrize("source", [WHOLE, HOSTILE])
def test_every_tag_is_closed_and_every_reference_leads_to_its_only_target(source):
    tags = Page(source).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10
    led = {attributes["href"].removeprefix("#") for _, attributes in tags if "href" in attributes}
    for key in ("aria-labelledby", "aria-describedby"):
        led |= {name for _, attributes in tags for name in attributes.get(key, "").split()}
    assert led <= set(ids)


@pytest.mark.parametrize("source", [WHOLE, HOSTILE])
def test_a_page_needs_no_network_and_lets_only_its_own_script_and_style_run(source):
    tags = Page(source).tags
    assert {tag for tag, _ in tags} & {"link", "img", "iframe", "object", "base", "form", "image", "use href"} == set()
    for _, attributes in tags:
        assert attributes.get("href", "#").startswith("#")
        assert not {name for name in attributes if name in {"src", "style", "srcset"} or name.startswith("on")}
    assert not re.search(r"url\((?!#)|@import|https?://(?!www.w3.org/2000/svg)", source)
    policy = next(attributes["content"] for _, attributes in tags if attributes.get("http-equiv"))
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_whatever_a_report_says_is_letters_on_the_page():
    assert not re.search("[\u202e\x07\x1b\ud800-\udfff]", HOSTILE)
    assert HOSTILE.count("<script>") == 1 and "onfocus='" not in HOSTILE
    seen = Page(HOSTILE).text
    places = 15  # title, summary, alarm twice, headings, paragraph, cells, captions, prompt, cards, marks, facts ...
    assert seen.count("<script>document.title='run'</script> & \"quoted\" 'too'") > places
    assert seen.count("שלום") > places, "right-to-left letters stay"


def test_headings_go_down_one_step_at_a_time():
    levels = [int(tag[1]) for tag, _ in Page(WHOLE).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and max(levels) == 4
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_cells_show_their_digits_and_sort_by_their_values():
    columns = [Column("name"), Column("x", 1), Column("n", 3), Column("missing"), Column("far", 1)]
    table = Table("t", columns, [["<a>", -0.04, 12345, None, float("-inf")]], {(0, 1): "hacked"})
    assert cells(table) == [
        ({"scope": "row"}, "&lt;a&gt;"),
        ({"class": "n", "data-v": "-0.04"}, "0.0 hacked"),
        ({"class": "n", "data-v": "12345.0"}, "12,345"),
        ({}, ""),
        ({}, "−∞"),
    ]
    (shown,) = cells(Table("t", [Column("x", 2)], [[Interval(-1.5, -2, 0.25)]]))
    assert shown == ({"scope": "row", "class": "n", "data-v": "-1.5"}, "−1.50 [−2.00, 0.25]")


def test_scaled_cells_have_a_sign_a_colour_and_weight_where_the_interval_excludes_zero():
    columns = [Column("name"), *(Column(str(n), 1, scaled=True) for n in range(3))]
    table = Table("t", columns, [["a", Interval(4, 3, 5), Interval(-1, -3, 1), 0.02]])
    assert cells(table)[1:] == [
        ({"class": "n p4 sure", "data-v": "4.0"}, "+4.0 [+3.0, +5.0]"),
        ({"class": "n n1", "data-v": "-1.0"}, "−1.0 [−3.0, +1.0]"),
        ({"class": "n", "data-v": "0.02"}, "0.0"),
    ]
    assert "bold</b> where the interval excludes 0, faint where it does not" in page_of(table)


def test_tokens_have_the_colour_of_what_they_earned_and_the_page_holds_what_for():
    marks = [Mark(1, "contradicts the brief"), Mark(1, "nothing new", False), Mark(2, "nothing new", False)]
    words = ["  sam", " was", "  in", ""]
    parts = {"fluency": [1, 2, 3.14159, 0], "<b>": [0, float("nan"), 0, -1e-7]}
    found, values = tokens(Story("s", words, [2, -0.5, 0, 1], parts, marks))
    assert found == [
        ("", "p4", "sam", ""),
        (" ", "n2 wrong", "was", "1, 2"),
        ("  ", "idle", "in", "2"),
        ("", "p3", "·", ""),
    ]
    assert values == [["paid", [2, -0.5, 0, 1]], ["fluency", [1, 2, 3.14, 0]], ["&lt;b&gt;", [0, None, 0, -1e-7]]]


def test_marks_are_told_in_words_too_once_for_all_tokens_of_which_they_are_said():
    marks = [Mark(0, "not in the brief"), Mark(1, "contradicts"), Mark(2, "not in the brief"), Mark(9, "cut short")]
    source = page_of(Stories("b", [Story("s", ["barn", " was", " red"], [0, 0, 0], {}, marks, {"n": 3, "x": -0.5})]))
    assert "barn 1 was 2 red 1 barn, red : not in the brief was : contradicts cut short n 3 x −0.50" in re.sub(
        "\\s+", " ", re.sub("<.*?>", " ", source)
    )


def test_the_gravest_alarms_stand_on_top_with_the_way_to_where_they_belong():
    blocks = [Notice("warning", "second"), Notice("bad", "first"), Notice("good", "fine"), Notice("note", "aside")]
    seen = Page(page_of(*blocks)).text
    assert "Alarms at a glance Alarm first Part Warning second Part Part Warning second Alarm first" in seen
    assert "Good fine Note aside" in seen
    many = Page(page_of(*(Notice("bad", str(n)) for n in range(11)))).text
    assert "Alarm 7 Part 3 more Alarm 8 Part" in many


def test_a_page_without_anything_is_a_page():
    seen = Page(page(Report("Nothing yet", [], []))).text
    assert seen == "Nothing yet To the content Nothing yet"
    assert "<tbody>" in page_of(Table("none", [Column("a")], []))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ([Section("a", "A"), Section("a", "B")], "names of their own"),
        ([Section("a b", "A")], "lower-case letters and hyphens"),
        ([Section("a", "A", blocks=[Notice("awful", "x")])], "one of bad, warning, note, good; given: 'awful'"),
        ([Section("a", "A", blocks=[Table("t", [Column("c")], [["x", 1]])])], "1 columns, 2 cells in row 0"),
        ([Section("a", "A", blocks=[Stories("p", [Story("s", ["x"], [])])])], "1 tokens, and values for {'paid': 0}"),
        (
            [Section("a", "A", blocks=[Picture("c", "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "")])],
            "'c'",
        ),
    ],
)
def test_a_report_that_does_not_fit_together_is_refused(sections, said):
    with pytest.raises(ReportError, match=re.escape(said)):
        page(Report("t", [], sections))


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_colour_deepens_with_the_value_and_turns_with_its_sign(value, full):
    here, more = step(value, full), step(2 * value, full)
    assert step(-value, full) == here.translate(str.maketrans("pn", "np"))
    assert int(more[1:] or 0) >= int(here[1:] or 0) and (not here or here[0] == ("p" if value > 0 else "n"))


@given(st.lists(st.floats(-1e6, 1e6) | st.none()))
def test_the_full_colour_is_a_value_that_at_least_one_in_ten_reaches(values):
    full, sizes = full_colour(values), [abs(value) for value in values if value]
    assert (full in sizes) if sizes else full == 0
    assert 10 * sum(size >= full for size in sizes) >= len(sizes)


def test_text_has_the_contrast_that_wcag_asks_for_in_light_in_dark_and_on_paper():
    blocks = re.findall(r":root \{(.*?)\}", WHOLE, re.S)
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{3,6});", block)) for block in blocks]
    assert len(schemes) == 3 and all(len(scheme) == len(schemes[0]) for scheme in schemes)
    backs = ("page", "card", *(f"{side}{depth}" for side in "pn" for depth in range(1, 5)))
    pairs = [("ink", back) for back in backs] + [
        (text, back) for text in ("soft", "accent") for back in ("page", "card")
    ]
    for level in ("bad", "warning", "good"):
        pairs += [(text, f"{level}-back") for text in (level, "ink", "accent")] + [(level, "card")]
    marks = [(f"series-{n}", "card") for n in range(1, 8)] + [("plus", "card"), ("minus", "card")]
    for colours in schemes:
        for least, several in ((4.5, pairs), (3, marks)):
            for text, back in several:
                assert contrast(colours[text], colours[back]) >= least, (text, back, colours)


def test_a_full_run_is_less_than_three_megabytes():
    report = sample_report(designs=12, prompts=12, ways=3, pictures=20, columns=30)
    longer = [
        replace(
            story,
            tokens=[*story.tokens, *story.tokens][:70],
            credit=[*story.credit, *story.credit][:70],
            components={
                f"{name} {n}": [*values, *values][:70] for name, values in story.components.items() for n in "12"
            },
        )
        for block in report.sections[-1].blocks
        for story in block.stories
    ]
    texts = [Stories("prompt", longer[36 * n : 36 * n + 36]) for n in range(12)]
    report = replace(report, sections=[*report.sections[:-1], replace(report.sections[-1], blocks=texts)])
    source = page(report)
    assert source.count("<svg") == 21 and source.count('<article class="card"') == 432
    assert len(source.encode()) < 3_000_000
