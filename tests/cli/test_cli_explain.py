"""`textgym explain`: what is shown, and what is said when it cannot be."""

import json
import re

import pytest

from textgym.cli.story_view import marked
from textgym.worlds.story.explain import explain
from textgym.worlds.story.world import story_world

BRIEF = "kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn"
ZH_BRIEF = "厨房谷仓磨坊塔楼｜小明厨房，小红谷仓，蓝色小刀小明，红色杯子磨坊，灰色铜钱谷仓"

GOLDEN = """\
brief  kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red
       cup mill , grey coin barn

 1  sam was in the kitchen .
    is in        sam was in the kitchen
    new          sam was in the kitchen 0.25 → 1.00
    fluency      …
 2  he went to the mill .
    go           sam went to the mill  (he is sam)
    changed      sam: kitchen → mill
    fluency      …
 3  he took the red knife .
                ^ contradicts the brief
                    ^ contradicts the brief
    colour       the knife was red
    take         sam took the knife  (he is sam)
    wrong        the knife was red: the brief calls the knife blue
    wrong        sam took the knife: the brief has the knife with sam
    misled       sam had the knife 0.17 → 0.00 · the knife was blue 0.12 → 0.00
    fluency      …
 4  he was in the barn .
                  ^ contradicts sentence 2 and the brief
    is in        sam was in the barn  (he is sam)
    wrong        sam was in the barn: sentence 2 put him in the mill, and he has
                 not moved since
    wrong        sam was in the barn: sentence 2 put sam in the mill
    fluency      …
 5  ann sang .
        ^ no such word
    no sentence
    wrong        'sang' is no word of this world
    fluency      …

contradictions    0.20  share of sentences
unfaithful        0.40  share of sentences
unparsable        0.20  share of sentences
redundant         0.20  share of sentences
reader accuracy   0.08  0 silence, 1 all told
bits              7.58  the worlds narrowed down by
changes           1.00  of the brief's world
fluency          …
gold quality      0.01  0 to 1

Shades: how likely a word is, given the brief and the story so far: likely ·
less likely · unlikely · very unlikely
"""


def stable(text):
    """Without blanks at the ends of lines, and without log P, which the tests of the grammar are about."""
    text = re.sub(r"(?m)^(\s*fluency +)\S.*$", r"\1…", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_a_story_is_shown_sentence_by_sentence(textgym):
    story = "sam was in the kitchen. he went to the mill. he took the red knife. he was in the barn. ann sang."
    result = textgym("explain", "--prompt", BRIEF, "--story", story)
    assert (result.exit_code, result.stderr) == (0, "")
    assert stable(result.stdout) == GOLDEN
    assert "\x1b" not in result.stdout, "no colours where there is no terminal"


@pytest.mark.parametrize(("task", "said"), [("story", "contradicts sentence"), ("story-base-zh", "矛盾")])
def test_without_a_story_a_clean_one_stands_beside_a_planted_contradiction(textgym, task, said):
    result = textgym("explain", "--task", task, "--seed", 4)
    assert result.exit_code == 0 and said in result.stdout
    again = textgym("explain", "--task", task, "--seed", 4, "--json").stdout.splitlines()
    clean, planted = map(json.loads, again)
    assert clean["totals"]["contradictions"] == 0 < planted["totals"]["contradictions"]
    assert clean["brief"] == planted["brief"]


def test_the_seed_decides_on_the_sample(textgym):
    said = [textgym("explain", "--seed", seed).stdout for seed in (4, 5, 4)]
    assert said[0] == said[2] != said[1]


def test_a_sample_may_be_about_a_brief_of_ones_own(textgym):
    rows = [json.loads(line) for line in textgym("explain", "--prompt", BRIEF, "--json").stdout.splitlines()]
    assert [row["brief"] for row in rows] == [BRIEF, BRIEF]


def test_rows_of_a_file_and_of_stdin_are_explained_in_order(textgym, jsonl):
    rows = [{"id": "a", "prompt": BRIEF, "completion": " ann was in the barn ."}, {"story": "ann met sam ."}]
    result = textgym("explain", "-i", jsonl(rows), "--prompt", BRIEF, "--json")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["sentences"][0]["kind"] == "is_in" and second["sentences"][0]["faults"][0]["kind"] == "unfaithful"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert textgym("explain", "-i", "-", "--prompt", BRIEF, "--json", input=lines).stdout == result.stdout


def test_a_page_is_written(textgym, tmp_path):
    path = tmp_path / "story.html"
    result = textgym("explain", "--prompt", BRIEF, "--story", "ann sang .", "--html", path)
    assert result.exit_code == 0 and f"saved     {path}" in result.stdout
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert "is a folder" in textgym("explain", "--html", tmp_path).stderr
    assert "cannot be written" in textgym("explain", "--html", tmp_path / "no" / "x.html").stderr


def test_an_empty_story_is_explained_as_empty(textgym):
    result = textgym("explain", "--prompt", BRIEF, "--story", "")
    assert result.exit_code == 0 and "(empty)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--task", "storry"], "unknown task with stories to explain 'storry'. Did you mean 'story'?"),
        (["--task", "story-zh", "--language", "en"], "task story-zh has the language zh, not en"),
        (["--language", "fr"], "unknown language of the story world 'fr'"),
        (["--preset", "huge"], "unknown preset of the story world 'huge'"),
        (["--story", "ann sang ."], "give --prompt BRIEF as well"),
        (["--prompt", "once upon a time", "--story", ""], "'once' is no word of it"),
        (["--prompt", BRIEF, "--story", "", "-i", "-"], "--story and --input both name a story"),
        (["-i", "nowhere.jsonl"], "no such file: nowhere.jsonl"),
    ],
)
def test_what_cannot_be_explained_is_an_error(textgym, arguments, complaint):
    result = textgym("explain", *arguments)
    assert result.exit_code == 1 and complaint in result.stderr and result.stdout == ""


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": BRIEF, "text": "x"}, "it has neither 'story' nor 'completion'; its keys are 'prompt', 'text'"),
        ({"story": "x"}, "it has no 'prompt'"),
        ({"prompt": BRIEF, "story": 3}, "the story must be text, not int"),
        ({"prompt": ["x"], "story": "x"}, "'prompt' must be text, not list"),
        ({"prompt": "sam", "story": "x"}, "no brief of the story world en-small"),
    ],
)
def test_a_bad_row_is_named_by_its_line(textgym, jsonl, row, complaint):
    path = jsonl([{"prompt": BRIEF, "story": ""}, row])
    result = textgym("explain", "-i", path)
    assert result.exit_code == 1 and result.stderr.startswith(f"error: {path}, line 2: ") and complaint in result.stderr


def lines(story, width, brief=BRIEF, language="en"):
    return marked(explain(story_world("small", language), brief, story), width).plain.split("\n")


def test_marks_stand_under_their_words_and_only_where_something_is_wrong():
    assert lines("sam was in the mill . ann was in the barn .", 80) == [
        "sam was in the mill . ann was in the barn .",
        "               ^ contradicts the brief",
    ]
    assert lines("ann was in the barn .", 80) == ["ann was in the barn ."]
    assert lines("", 80) == [""]


def test_marks_are_aligned_by_the_width_of_chinese_characters():
    assert lines("小明在谷仓里。", 80, ZH_BRIEF, "zh") == ["小明在谷仓里。", "      ^ 与提要矛盾"]


def test_a_narrow_terminal_folds_lines_and_marks_turn_to_the_left_at_its_edge():
    assert lines("ann was in the barn . the coin lay in the mill .", 44) == [
        "ann was in the barn . the coin lay in the",
        "mill .",
        "^ contradicts the brief",
    ]
    assert lines("ann was in the barn . sam was in the tower .", 44) == [
        "ann was in the barn . sam was in the tower .",
        "               contradicts the brief ^",
    ]


def test_control_characters_of_a_story_do_nothing_to_a_terminal(textgym):
    result = textgym("explain", "--prompt", BRIEF, "--story", "sam \x1b[31mwas \u202e . \x07")
    assert result.exit_code == 0 and not re.search("[\x1b\x07\u202e]", result.stdout)
