"""One page about explained stories: self-contained, escaped, and what it shows is what was found."""

import re
import subprocess

import pytest
from page_reading import BROWSER, Page, contrast

from textgym.errors import TaskError
from textgym.reports.labels import CHINESE, ENGLISH
from textgym.reports.marks import level, marks
from textgym.reports.story_page import story_page
from textgym.worlds.story.events import Kind
from textgym.worlds.story.explain import explain
from textgym.worlds.story.explanation import FaultKind, Totals
from textgym.worlds.story.world import story_world

BRIEF = "kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn"
ZH_BRIEF = "厨房谷仓磨坊塔楼｜小明厨房，小红谷仓，蓝色小刀小明，红色杯子磨坊，灰色铜钱谷仓"
STORY = "sam was in the kitchen . he went to the mill . he was in the barn . the knife was blue . the knife was blue ."
EVIL = "<script>alert('x')</script> . <img src=http://x.example/y onerror=z> & \"q\" \u202e \u0007 ."


def page_of(story, brief=BRIEF, language="en", heading=""):
    return story_page([(heading, explain(story_world("small", language), brief, story))])


def test_a_page_shows_story_faults_beliefs_and_totals():
    page = Page(page_of(STORY))
    assert "barn: contradicts sentence 2 and the brief" in page.text
    assert "sam was in the barn: sentence 2 put him in the mill, and he has not moved since ↑ 2" in page.text
    assert "new sam was in the kitchen: 0.25 → 1.00" in page.text
    assert "changed sam: kitchen → mill" in page.text
    assert "blue: nothing new" in page.text
    totals = explain(story_world(), BRIEF, STORY).totals
    for axis, (name, meaning) in ENGLISH.axis.items():
        assert f"{name} {meaning} {getattr(totals, axis):.2f}".replace(" ", "") in page.text.replace(" ", "")


def test_a_story_is_escaped_and_invisible_characters_are_shown():
    source = page_of(EVIL, heading="<b>bold</b>")
    page = Page(source)
    assert not {"script", "img", "b>bold"} & {tag for tag, _ in page.tags}
    assert "<script" not in source and "&lt;b&gt;bold&lt;/b&gt;" in source
    assert "\u202e" not in source and "\u0007" not in source and "\ufffd" in source
    letters = "".join(page.text.split())
    assert "<script>alert('x')</script>" in letters and "onerror=z" in letters


@pytest.mark.parametrize("story", [STORY, EVIL, ""])
def test_a_page_needs_no_network_and_no_script(story):
    source = page_of(story)
    page = Page(source)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base", "form"} == set()
    for _, attributes in page.tags:
        assert not {"src", "onload", "onclick", "onerror", "style", "srcset"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?://(?!x\.example)", source)


def test_every_link_leads_to_a_sentence_and_ids_are_unique():
    page = Page(story_page([(str(n), explain(story_world(), BRIEF, STORY)) for n in range(2)]))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert len(ids) == len(set(ids)) and links
    assert {link[1:] for link in links} <= set(ids)


def test_a_page_speaks_the_language_of_its_story():
    page = Page(page_of("小明在谷仓里。", ZH_BRIEF, "zh"))
    assert page.tags[0] == ("html", {"lang": "zh"}) and "谷仓: 与提要矛盾" in page.text
    assert Page(page_of(STORY)).tags[0] == ("html", {"lang": "en"})


def test_fluency_is_told_by_more_than_colour():
    page = Page(page_of("later she ran ."))
    classes = [attributes["class"] for _, attributes in page.tags if "class" in attributes]
    source = page_of("later she ran .")
    assert any("l3" in name for name in classes), "an unlikely word is shaded"
    assert re.search(r"\.l1 \{[^}]*dotted", source) and re.search(r"\.l3 \{[^}]*double", source)
    assert "very unlikely" in page.text, "and the table of its words says it"


def test_an_empty_story_has_a_page():
    assert "(empty)" in Page(page_of("")).text


def test_a_page_of_two_languages_or_of_none_is_refused():
    both = [("", explain(story_world(), BRIEF, "")), ("", explain(story_world("small", "zh"), ZH_BRIEF, ""))]
    with pytest.raises(TaskError, match="one language; given: en, zh"):
        story_page(both)
    with pytest.raises(TaskError, match="no story"):
        story_page([])


@pytest.mark.parametrize("labels", [ENGLISH, CHINESE])
def test_every_axis_kind_and_fault_has_a_label(labels):
    assert set(labels.axis) == set(Totals.__dataclass_fields__)
    assert set(labels.kinds) == {kind.name.lower() for kind in Kind} | {"unparsed", "unfinished"}
    assert set(labels.faults) == set(FaultKind) - {FaultKind.CONTRADICTION, FaultKind.UNFAITHFUL}


def test_marks_name_what_is_contradicted_in_one_line():
    def said(story, labels=ENGLISH, **world):
        explanation = explain(story_world(**world), BRIEF if not world else ZH_BRIEF, story)
        return [mark.text for sentence in explanation.sentences for mark in marks(sentence, labels)]

    assert said("ann was in the barn . the cup lay in the mill . ann took the cup .") == [
        "contradicts sentences 1 and 2 and the brief"
    ]
    assert said("小红在谷仓里。杯子放在磨坊里。她拿起了杯子。", CHINESE, language="zh") == ["与第 1和2 句和提要矛盾"]


@pytest.mark.parametrize(("logprob", "shade"), [(0.0, 0), (-1.0, 0), (-1.01, 1), (-2.6, 2), (-4.5, 2), (-9.0, 3)])
def test_a_word_is_shaded_by_how_unlikely_it_is(logprob, shade):
    assert level(logprob) == shade


def test_text_has_the_contrast_that_wcag_asks_for_in_light_and_dark_and_on_paper():
    """4.5 to 1 at least (WCAG 2.2, 1.4.3) for every pair that the page sets upon each other."""
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", page_of(""), re.S)
    ]
    assert len(schemes) == 3
    pairs = [("ink", "l1"), ("ink", "l2"), ("ink", "l3"), ("wrong", "wrong-back"), ("idle", "idle-back")]
    pairs += [(text, back) for text in ("ink", "soft", "accent", "good", "wrong") for back in ("page", "card")]
    pairs += [("ink", "wrong-back"), ("ink", "idle-back"), ("accent", "wrong-back")]
    for colours in schemes:
        for text, back in pairs:
            assert contrast(colours[text], colours[back]) >= 4.5, (text, back, colours)


@pytest.mark.skipif(BROWSER is None, reason="a browser: install chromium")
@pytest.mark.parametrize(("width", "language"), [(380, "en"), (1200, "en"), (380, "zh")])
def test_nothing_is_wider_than_the_window_of_a_browser(tmp_path, width, language):
    story, brief = (STORY + EVIL, BRIEF) if language == "en" else ("小明在谷仓里。" * 9 + "好" * 90, ZH_BRIEF)
    source = page_of(story, brief, language)
    (tmp_path / "page.html").write_text(source, encoding="utf-8")
    # The window of a browser has a least width; a frame has none. Its own script may look into a page beside it.
    (tmp_path / "frame.html").write_text(
        f"<iframe src=page.html style='border:0;width:{width}px;height:900px'></iframe><p id=found></p><script>"
        "onload=()=>{const d=document.querySelector('iframe').contentDocument.documentElement;"
        "document.querySelector('#found').textContent=`${d.scrollWidth} ${d.clientWidth}`}</script>"
    )
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += [
        "--allow-file-access-from-files",
        "--window-size=1300,1000",
        "--dump-dom",
        f"file://{tmp_path}/frame.html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    needed, there = map(int, re.search(r'id="found">(\d+) (\d+)<', done.stdout).groups())
    assert width - 20 <= there <= width, "but for the bar that scrolls"
    assert needed <= there
