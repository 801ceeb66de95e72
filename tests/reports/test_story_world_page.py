"""docs/story-world.md runs from top to bottom as one session, and shows what is printed."""

import contextlib
import io
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from textgym.cli.app import app
from textgym.worlds.story.world import story_world

PAGE = Path(__file__).parents[2] / "docs/story-world.md"
FENCE = re.compile(r"```(python|console|text)\n(.*?)```", re.DOTALL)


def test_the_page_on_the_story_world_runs_and_shows_what_is_printed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    session, printed, seen = {}, "", []
    for language, block in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        seen.append(language)
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(block, "example", "exec"), session)
            printed = said.getvalue()
            promised = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
            assert printed.splitlines()[: len(promised)] == promised
        elif language == "text":
            assert printed == block
        else:
            command, shown = block.split("\n", 1)
            result = CliRunner().invoke(app, shlex.split(command)[2:])
            assert "\n".join(line.rstrip() for line in result.stdout.splitlines()) + "\n" == shown
    assert seen == ["python", "console", "python", "text", "python", "text"]


def test_the_sizes_on_the_page_are_those_of_the_worlds():
    rows = re.findall(
        r"^\| (small|base) \| (\d), (\d), (\d) \| ([\d,]+) \| (\d+) and (\d+) tokens \| (\d+) tokens \|$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert [row[0] for row in rows] == ["small", "base"]
    for preset, people, places, objects, worlds, english, chinese, longest in rows:
        one, other = story_world(preset, "en"), story_world(preset, "zh")
        shape = one.shape
        assert (shape.people, shape.places, shape.objects) == (int(people), int(places), int(objects))
        assert (shape.worlds, one.max_tokens) == (int(worlds.replace(",", "")), int(longest))
        sizes = one.lexicon.tokenizer.vocab_size, other.lexicon.tokenizer.vocab_size
        assert sizes == (int(english), int(chinese))
