"""Pictures of results: what is drawn is where it should be, and a page can colour, print and trust it."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reading import contrast

from textgym.reports.blocks import Interval
from textgym.reports.canvas import PALETTE
from textgym.reports.charts import Axis, Panel, Series, bars, lines, radar, small_multiples
from textgym.reports.svg import placed, tidied

X, Y = Axis("tokens generated"), Axis("gold quality")
EVIL = "<script>alert(1)</script> $x_1$ \u202e \x07 \ud800 中文"
ONE, TWO = Series("gold", [0, 1, 2], [0, 1, 4]), Series("fluency", [0, 1, 2], [3, 2, 1], [2, 1, 0], [4, 3, 2])


@cache
def pictures(name="gold", again=0):
    panels = [Panel(name, [Series(name, [0, 1], [1, 2])], X, Axis(name)) for _ in range(5)]
    spokes = [name, "grammar", "novelty"]
    return {
        "lines": lines([Series(name, [0, 1], [1, 2]), TWO], X, Y, hlines={name: 1}, vlines={name: 0.5}),
        "points": lines([Series(name, [0, 1], [1, 2], [0, 1], [2, 3], points=True)], Axis(name, sqrt=True), Y),
        "log": lines([Series("", [1, 100], [1, None])], Axis(name, log=True), Axis("y", limits=(0, 2))),
        "empty": lines([], X, Y),
        "panels": small_multiples(panels),
        "bars": bars([name, "other"], [Interval(0.5, 0, 1), None], X, vlines={name: 0}),
        "radar": radar(spokes, {name: [0, 1, None]}),
        "radars": radar(spokes, {n: [0, -1, 2] for n in (name, "b", "c")}, apart=True),
    }


def elements(picture, tag):
    return [element for element in ET.fromstring(picture).iter() if element.tag.endswith(f"}}{tag}")]


def words(picture):
    return [element.text for element in elements(picture, "text")]


def paths(picture, colour):
    """Corners of the lines of a colour."""
    return [corners(e.attrib["d"]) for e in elements(picture, "path") if colour in e.attrib.get("stroke", "")]


def corners(path):
    """Every corner of a path of lines, where it is."""
    found = []
    for part in re.findall(r"M[^M]*", path):
        steps = np.array(re.findall(r"-?(?:\d+\.?\d*|\.\d+)", part), float).reshape(-1, 2)
        found += list(np.cumsum(steps, axis=0))
    return np.array(found)


def dots(picture, colour=PALETTE[0]):
    """Where marks are."""
    groups = [g for g in elements(picture, "g") if colour in g.attrib.get("fill", "")]
    found = [use for group in groups for use in group] + [
        use for use in elements(picture, "use") if colour in use.attrib.get("fill", "")
    ]
    return np.array([[float(use.attrib[key]) for key in "xy"] for use in found if "x" in use.attrib])


@pytest.mark.parametrize("name", pictures())
def test_a_picture_takes_all_colours_from_the_page_and_brings_nothing_but_lines_and_letters(name):
    picture = pictures()[name]
    assert picture == pictures("gold", 1)[name], "the same each time"
    assert set(re.findall(r"#\w{6}", picture)) <= set(re.findall(r"var\(--[\w-]+, (#\w{6})\)", picture))
    assert not re.search(r"style|script|DOCTYPE|metadata|font-family|https?://(?!www.w3.org/2000/svg)", picture)
    assert 'role="img"' in picture and len(picture) < 40_000


@pytest.mark.parametrize("name", pictures())
def test_names_may_hold_anything(name):
    picture = pictures(EVIL)[name]
    assert not elements(picture, "script") and not re.search("[\u202e\x07\ud800]", picture)
    if name not in {"empty"}:
        assert any("<script>" in word for word in words(picture)), "as letters"


def test_a_line_goes_through_its_points_and_stops_where_a_value_is_not_known():
    (line,) = paths(lines([Series("", [0, 1, 2], [0, 1, 2])], X, Y), PALETTE[0])
    assert np.allclose(np.diff(line[:, 0]), np.diff(line[:, 0])[0], atol=0.2), "evenly to the right"
    assert (np.diff(line[:, 1]) < 0).all(), "and upwards, which is less in SVG"
    broken = paths(lines([Series("", range(5), [0, 1, None, 2, 3])], X, Y), PALETTE[0])
    assert sum(map(len, broken)) == 4, "four corners, none of them at the gap"


def test_on_a_scale_of_roots_four_is_half_way_to_sixteen():
    places = dots(lines([Series("", [0, 4, 16], [0, 1, 2], points=True)], Axis("KL", sqrt=True), Y))
    assert np.isclose(places[1, 0] - places[0, 0], places[2, 0] - places[1, 0], atol=0.2)
    told = words(lines([ONE], Axis("KL", sqrt=True, limits=(0, 20)), Axis("", limits=(30, 40))))
    assert {"0", "1", "2", "4", "8", "16"} <= set(told), "the KLs at which rewards are compared"


def test_intervals_stand_below_each_other_each_dot_within_its_whiskers():
    picture = bars(["a", "b", "c"], [Interval(1, 0, 3), None, Interval(2, 1, 2.5)], X)
    places, whiskers = dots(picture), [path for path in paths(picture, PALETTE[0]) if len(path) == 2]
    assert len(places) == len(whiskers) == 2 and places[0, 1] < places[1, 1]
    for place, whisker in zip(places, whiskers, strict=True):
        assert np.allclose(whisker[:, 1], place[1], atol=0.2) and whisker[0, 0] < place[0] < whisker[1, 0]
    assert np.isclose((places[0, 0] - whiskers[0][0, 0]) * 3, np.ptp(whiskers[0][:, 0]), atol=0.5), "1 of 0 to 3"
    assert {"a", "b", "c"} <= set(words(picture)), "a name without an interval has its row"


def test_a_radar_goes_clockwise_from_the_top_to_the_rim_of_one():
    (line,) = paths(radar(["n", "e", "s", "w"], {"one": [1, 1, 0, 0.5]}), PALETTE[0])[:1]
    north, east, south, west, again = line
    middle = south
    assert np.allclose(north, again) and np.allclose(north[0], middle[0]) and north[1] < middle[1]
    assert np.isclose(east[0] - middle[0], middle[1] - north[1], atol=0.3) and np.isclose(east[1], middle[1])
    assert np.isclose(2 * (middle[0] - west[0]), east[0] - middle[0], atol=0.3)


def test_a_name_keeps_its_colour_from_panel_to_panel_and_has_one_line_in_the_legend():
    first, second = Panel("1", [ONE, TWO], X, Y), Panel("2", [TWO], X, Y)
    picture = small_multiples([first, second])
    assert len(paths(picture, PALETTE[0])) == 2 and len(paths(picture, PALETTE[1])) == 3, "lines, and in the legend"
    assert words(picture).count("fluency") == 1
    given_hue = lines([Series("x", [0, 1], [0, 1], hue=9)], X, Y)
    assert paths(given_hue, PALETTE[2]) and "dasharray" in given_hue, "beyond the palette dashes tell them apart"


def test_colour_is_never_alone():
    names = [str(n) for n in range(14)]
    picture = lines([Series(name, [0, 1], [0, n]) for n, name in enumerate(names)], X, Y)
    marks = {use.attrib["href"] for use in elements(picture, "use")}
    assert len(marks) > 14, "a mark for each"
    assert all(contrast(colour, "#ffffff") >= 3 for colour in PALETTE), "WCAG 2.2, 1.4.11"


@pytest.mark.parametrize("series", [1, 12, 48])
def test_a_picture_of_long_curves_stays_small(series):
    rng, x = np.random.default_rng(0), np.arange(3000.0)
    curves = [Series(str(n), x, rng.normal(size=3000)) for n in range(12)]
    many = [Panel(str(n), curves, X, Y) for n in range(4)]
    picture = small_multiples(many) if series == 48 else lines(curves[:series], X, Y)
    assert 5_000 < len(picture) < 40_000


@given(st.integers(1, 700), st.floats(-5, 5), st.floats(-5, 5))
def test_a_thinned_line_is_still_the_line(length, slope, start):
    from textgym.reports.canvas import _thinned

    x = np.arange(float(length))
    parts = max(length // 100, 1)
    assert np.allclose(_thinned(start + slope * x, parts), start + slope * _thinned(x, parts))


def test_drawing_leaves_settings_alone_and_needs_no_screen():
    before = dict(matplotlib.rcParams)
    lines([ONE], X, Y)
    with pytest.raises(ValueError, match="same first dimension"):
        lines([Series("", [1], [1, 2])], X, Y)
    assert before == dict(matplotlib.rcParams)
    code = "import sys, textgym.reports.charts; print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2


def test_two_pictures_of_a_page_share_no_id_and_say_what_they_show():
    picture = lines([TWO], X, Y)
    both = [placed(picture, name, "A <title>", 'In "words"') for name in ("p1", "p2")]
    ids = [re.findall(r' id="([^"]*)"', one) for one in both]
    assert len(ids[0]) > 3 and not set(ids[0]) & set(ids[1])
    for one, own in zip(both, ids, strict=True):
        assert set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', one)) <= {
            pair for name in own for pair in ((name, ""), ("", name))
        }
        root = ET.fromstring(one)
        assert [child.text for child in root[:2]] == ["A <title>", 'In "words"']
        assert root.attrib["aria-labelledby"] == root[0].attrib["id"]


@pytest.mark.parametrize(
    "bad",
    [
        "<script>1</script>",
        "<foreignObject/>",
        "<path onclick='x()'/>",
        "<path style='fill: red'/>",
        "<use href='http://x.example/#a'/>",
        "<use xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='#a'/>",
        "<path fill='URL(http://x.example)'/>",
        "<image href='#a'/>",
        "<p",
    ],
)
def test_a_picture_that_could_do_more_than_draw_is_refused(bad):
    with pytest.raises(ValueError, match="picture"):
        placed(f"<svg xmlns='http://www.w3.org/2000/svg'>{bad}</svg>", "p", "", "")


@given(st.lists(st.tuples(st.floats(-900, 900), st.floats(-900, 900)), min_size=2, max_size=30))
def test_steps_lead_to_where_the_corners_were(points):
    path = "M " + " \nL ".join(f"{x:f} {y:f}" for x, y in points)
    drawing = tidied(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="{path}"/></svg>', {})
    (found,) = elements(drawing, "path")
    assert np.allclose(corners(found.attrib["d"]), points, atol=0.051), "a tenth, and no drift"


def test_a_drawing_is_tidied_into_attributes_and_short_numbers():
    raw = """<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="5pt" viewBox="0 0 9 5"><metadata/>
    <g id="x"><path id="unused" d="M 1.2345 -0.01
    L 2 3
    L 4.06 5
    z" style="fill: #FF0000; stroke: none; font: bold 10px 'DejaVu Sans'"/></g></svg>"""
    (path,) = ET.fromstring(tidied(raw, {"#ff0000": "currentColor"}))
    assert path.attrib == {
        "d": "M1.2 0l.8 3 2.1 2z",
        "fill": "currentColor",
        "stroke": "none",
        "font-size": "10",
        "font-weight": "bold",
    }


def test_panels_share_a_labelled_axis_and_not_one_that_stands_for_what_each_title_says():
    def ticks(label):
        small, large = Series("a", [0, 1000], [0, 1]), Series("a", [0, 1000], [0, 1000])
        drawn = small_multiples([Panel("x", [small], X, Axis(label)), Panel("y", [large], X, Axis(label))])
        return set(re.findall(r">(0\.[0-9]+)<", drawn))

    assert not ticks("one scale")
    assert ticks("")
