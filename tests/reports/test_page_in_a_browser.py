"""A page in headless Chromium: by mouse, by keyboard, on a phone, in the dark, on paper and without script."""

from contextlib import contextmanager

import pytest
from report_samples import evil_report, sample_report

from textgym.reports.page import page

SORT = '#leaderboard-1 th:has-text("{}")'
TOLD = "#_told"


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, report in (("sample", sample_report(designs=4, ways=1)), ("evil", evil_report())):
        (folder / f"{name}.html").write_text(page(report), encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, files):
    """Opens a page; in the end nothing was complained of, and nothing was asked for but the page."""

    @contextmanager
    def open_page(name="sample", width=1200, height=900, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **settings)
        tab, said, asked = context.new_page(), [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((files / f"{name}.html").as_uri())
        yield tab
        assert said == [] and asked == [(files / f"{name}.html").as_uri()]
        context.close()

    return open_page


def column(tab, place):
    return tab.locator(f"#leaderboard-1 tbody tr > :nth-child({place})").all_inner_texts()


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [("sample", "light", 1440), ("sample", "dark", 380), ("evil", "dark", 1440), ("evil", "light", 380)],
)
def test_axe_finds_nothing_that_keeps_anybody_out(opened, name, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    with opened(name, width, color_scheme=scheme) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        found = axe.Axe().run(tab)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", ["sample", "evil"])
def test_nothing_but_tables_and_pictures_scrolls_sideways(opened, name):
    with opened(name) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        for width in (320, 380, 800, 1440):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") == width
        if name == "sample":
            assert tab.evaluate("document.querySelector('#matrix-1 .scroll').scrollWidth") > 800


def test_a_click_sorts_and_another_one_turns_the_order(opened):
    with opened() as tab:
        before = column(tab, 3)
        tab.click(SORT.format("KL") + " button")
        falling = column(tab, 3)
        assert falling == sorted(before, key=float, reverse=True) != before
        assert tab.get_attribute(SORT.format("KL"), "aria-sort") == "descending"
        assert tab.inner_text(TOLD) == "Sorted by KL, descending"
        tab.click(SORT.format("KL") + " button")
        assert column(tab, 3) == falling[::-1]
        tab.click(SORT.format("design") + " button")
        assert column(tab, 1) == sorted(column(tab, 1), key=str.lower), "words begin with the first letter"
        assert tab.get_attribute(SORT.format("KL"), "aria-sort") == "none"


def test_the_keyboard_sorts_too_and_what_is_not_known_stays_below(opened):
    with opened() as tab:
        for order in ("descending", "ascending"):
            tab.focus(SORT.format("P(better)") + " button")
            tab.keyboard.press("Enter" if order == "descending" else "Space")
            assert tab.get_attribute(SORT.format("P(better)"), "aria-sort") == order
            assert column(tab, 5)[-1] == "" and "" not in column(tab, 5)[:-1]
        known = [float(text) for text in column(tab, 5)[:-1]]
        assert known == sorted(known)


def test_pointing_at_a_token_tells_what_it_earned_and_what_is_wrong(opened):
    with opened() as tab:
        tab.locator(".tokens").nth(1).locator("span").nth(20).hover()
        told = tab.inner_text(TOLD)
        assert told.startswith("the · 21 of ") and "contradicts sentence 2 and the brief" in told
        values = tab.evaluate("JSON.parse(document.querySelectorAll('.tokens')[1].dataset.values)")
        for name, part in values:
            assert f"{name} {part[20]:+}".replace("-", "−").replace("+0 ", "0 ") in " ".join(told.split())
        assert [name for name, _ in values] == ["paid", "fluency", "coherence"]
        tab.mouse.move(2, 2)
        assert "here" not in (tab.get_attribute(TOLD, "class") or "")


def test_arrow_keys_go_from_token_to_token_with_one_stop_a_story(opened):
    with opened() as tab:
        story = tab.locator(".tokens").first
        tokens, here = story.locator("span"), "document.activeElement"
        stops = "document.querySelector('.tokens').querySelectorAll('[tabindex=\"0\"]').length"
        tokens.first.focus()
        for key, word in (("ArrowRight", "was"), ("ArrowRight", "in"), ("ArrowLeft", "was"), ("Home", "sam")):
            tab.keyboard.press(key)
            assert tab.evaluate(f"{here}.textContent") == word and tab.evaluate(stops) == 1
            assert tab.inner_text(TOLD).startswith(f"{word} · ") and tab.locator(TOLD).is_visible()
        left, top = (tab.evaluate(f"{here}.getBoundingClientRect().{side}") for side in ("left", "top"))
        tab.keyboard.press("ArrowDown")
        assert tab.evaluate(f"{here}.getBoundingClientRect().top") > top + 10
        assert abs(tab.evaluate(f"{here}.getBoundingClientRect().left") - left) < 60
        tab.keyboard.press("ArrowUp")
        assert tab.evaluate(f"{here}.getBoundingClientRect().top") == top
        tab.keyboard.press("End")
        tab.keyboard.press("ArrowRight")
        assert tab.inner_text(TOLD).startswith(f"{tokens.last.inner_text()} · {tokens.count()} of {tokens.count()}")
        tab.keyboard.press("Escape")
        assert "here" not in tab.get_attribute(TOLD, "class")
        tab.keyboard.press("Tab")
        assert tab.evaluate(f"{here}.closest('.tokens') === document.querySelectorAll('.tokens')[1]"), "the next story"


def test_what_a_token_earned_stays_within_the_window_of_a_phone(opened):
    with opened(width=380, height=640, has_touch=True) as tab:
        for place in range(0, 25, 4):
            tab.locator(".tokens").first.locator("span").nth(place).tap()
            box = tab.locator(TOLD).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 380 and 0 <= box["y"] <= 640 - box["height"]


def test_what_a_text_says_never_runs_and_no_other_script_may(opened, browser):
    with opened("evil") as tab:
        assert tab.title().startswith("<script>document.title='run'</script>")
        tab.locator(".tokens span").first.focus()
        for _ in range(12):
            tab.keyboard.press("ArrowRight")
        assert tab.locator(f"{TOLD} script").count() == 0 and tab.locator("script").count() == 1
    with pytest.raises(AssertionError, match="Content Security Policy"), opened("sample") as tab:
        tab.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))"
        )
        assert tab.title() == "Which reward should I use?"


def test_light_and_dark_follow_the_reader(opened):
    colours = []
    for scheme in ("light", "dark"):
        with opened(color_scheme=scheme) as tab:
            colours.append([
                tab.evaluate("getComputedStyle(document.body).backgroundColor"),
                tab.evaluate("getComputedStyle(document.querySelector('#curves-1 svg path[stroke*=series-1]')).stroke"),
            ])  # fmt: skip
    assert not set(colours[0]) & set(colours[1]), "of pages and of pictures"


def test_without_script_all_is_there_to_read(opened):
    with opened(java_script_enabled=False) as tab:
        for text in ("gold.quality is best", "Five seeds each.", "contradicts sentence 2 and the brief", "3f1c9a2b"):
            assert tab.locator(f"main >> text={text}").first.is_visible()
        assert tab.locator("#leaderboard-1 th").first.inner_text() == "design"
        assert tab.locator("#curves-1 svg").is_visible() and tab.locator("button").count() == 0


def test_on_paper_everything_is_open_and_nothing_is_cut_off(opened):
    with opened(java_script_enabled=False) as tab:
        tab.emulate_media(media="print")
        assert tab.locator(".stories .card").count() == 8
        assert all(card.is_visible() for card in tab.locator(".stories .card").all()), "folded or not"
        assert tab.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
        assert tab.evaluate("getComputedStyle(document.querySelector('nav')).position") == "static"
        assert tab.pdf().startswith(b"%PDF")


def test_the_keyboard_reaches_the_content_first_and_what_scrolls(opened):
    with opened(width=700) as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "_content"
        assert tab.get_attribute("#matrix-1 .scroll", "tabindex") == "0"
        assert tab.get_attribute("#curves-1 .scroll", "tabindex") == "-1", "what fits is no stop on the way"
