import functools
import itertools
import logging
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import IdSum
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgym.envs import fonts
from textgym.envs.picture import COLUMNS, HEIGHT, ROWS, WIDTH, Cell, cut, paint, picture, wrap
from textgym.envs.render import Ending, Tone
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.text.tokenizers import train_tokenizer

EOS = 2
WHITE, GREEN, RED = (255, 255, 255), (0xC8, 0xF0, 0xD0), (0xFF, 0xD9, 0xD6)


@pytest.fixture(scope="module")
def letters():
    return train_tokenizer("char", ["abcdefgh \n"], 20)


@pytest.fixture
def install(monkeypatch):
    """A function that makes these paths the fonts of the system."""

    def change(*paths):
        monkeypatch.setattr(fonts, "system_fonts", lambda: paths)
        forget()

    def forget():
        for cached in (fonts.ink, fonts.font_with, fonts._tell_once):
            cached.cache_clear()

    yield change
    forget()


def lines(text, columns=COLUMNS):
    return ["".join(cell.text for cell in line) for line in wrap(cut([(text, Tone.PLAIN)]), columns)]


def cell_of(frame, row, column):
    """The pixels of one cell of the sheet."""
    top, left = (row + 1) * fonts.CELL_HEIGHT, (column + 1) * fonts.CELL_WIDTH
    return frame[top : top + fonts.CELL_HEIGHT, left : left + fonts.CELL_WIDTH]


def paper(frame, row, column):
    """The colour in the corner of a cell, where no letter is."""
    return tuple(cell_of(frame, row, column)[0, 0].tolist())


def is_blank(pixels):
    return bool((pixels == 255).all())


# --- lines -----------------------------------------------------------------------------------------------------------


def test_lines_break_at_spaces_which_are_not_drawn():
    assert lines("aa bb cc", 5) == ["aa bb", "cc"]
    assert lines("aa bbbb", 5) == ["aa ", "bbbb"]


def test_a_word_longer_than_a_line_is_broken_where_it_must_be():
    assert lines("abcdefg", 3) == ["abc", "def", "g"]


def test_line_breaks_of_the_text_are_kept():
    assert lines("a\n\nb\r\nc\u2028d") == ["a", "", "b", "c", "d"]


def test_chinese_breaks_anywhere_and_takes_two_cells():
    assert lines("床前明月光", 4) == ["床前", "明月", "光"]
    assert lines("ab床c床", 5) == ["ab床c", "床"]


def test_a_combining_mark_joins_its_letter_and_marks_of_direction_are_dropped():
    cells = cut([("e\u0301x\u0323\u200b\u202e!", Tone.PLAIN)])
    assert [cell.text for cell in cells] == ["é", "x\u0323", "!"]


@given(st.text(st.sampled_from("ab \n床，é"), max_size=80), st.integers(2, 20))
@settings(deadline=None, max_examples=60)
def test_no_line_is_too_long_and_only_spaces_and_breaks_are_lost(text, columns):
    cells = cut([(text, Tone.PLAIN)])
    wrapped = wrap(cells, columns)
    assert all(sum(cell.width for cell in line) <= columns for line in wrapped)
    kept = "".join(cell.text for line in wrapped for cell in line)
    assert kept.replace(" ", "") == "".join(cell.text for cell in cells if cell.text not in " \n")


# --- frames ----------------------------------------------------------------------------------------------------------


def test_tokens_have_the_colours_of_what_they_earned(letters):
    ending = Ending("stop", 1.5, {"x": 2.0}, np.array([2.0, 0.5, -2.0, 0.0, 0.0]))
    completion = np.array([*letters.encode("bcab"), EOS], np.int32)
    frame = picture(letters, letters.encode("aa"), completion, ending)
    assert [paper(frame, 0, column) for column in range(6)] == [WHITE, WHITE, GREEN, WHITE, RED, WHITE]
    prompt, good, plain = (cell_of(frame, 0, column).reshape(-1, 3).astype(int) for column in (0, 3, 5))
    assert np.ptp(prompt, axis=1).max() < 25, "the prompt is grey"
    assert (good[:, 1] - good[:, 0]).max() > 60, "what earned a little is green"
    assert prompt.min() > plain.min(), "the prompt is paler than a token that earned nothing"
    assert not is_blank(cell_of(frame, 0, 6 + len("<eos>") - 1)) and is_blank(cell_of(frame, 0, 6 + len("<eos>")))


def test_the_larger_half_is_bold(letters):
    for sign, most, less in ((1, Tone.BEST, Tone.GOOD), (-1, Tone.WORST, Tone.BAD)):
        ids = letters.encode("aa")
        frame = picture(letters, ids, ids, Ending("stop", 1.0, {}, sign * np.array([2.0, 0.5])))
        for column, tone in ((2, most), (3, less)):
            assert np.array_equal(cell_of(frame, 0, column), cell_of(paint([[Cell("a", tone, 1)]]), 0, 0))
    darkest = [(paint([[Cell("a", tone, 1)]]).min(axis=2) < 80).sum() for tone in (Tone.GOOD, Tone.BEST)]
    assert darkest[1] > 1.15 * darkest[0]


def test_the_verdict_stands_at_the_bottom_once_there_is_one(letters):
    ids = letters.encode("abc")
    before, after = picture(letters, ids, ids), picture(letters, ids, ids, Ending("length", 1.0, {}))
    assert is_blank(before[-5 * fonts.CELL_HEIGHT :])
    assert not is_blank(cell_of(after, ROWS - 1, 0)) and not is_blank(cell_of(after, ROWS - 2, COLUMNS - 1))
    assert np.array_equal(before[: 5 * fonts.CELL_HEIGHT], after[: 5 * fonts.CELL_HEIGHT])


def test_a_long_text_shows_its_last_lines_in_a_frame_of_the_same_size(letters):
    prompt, last = letters.encode("a"), "".join(f"{'gh'[i % 2]}\n" for i in range(ROWS - 1)) + "g"
    frame = picture(letters, prompt, letters.encode("abc " * 900 + "\n" + last))
    assert frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8
    assert np.array_equal(frame, paint([[Cell(line, Tone.PLAIN, 1)] for line in last.split("\n")]))


def test_a_verdict_of_many_scorers_leaves_room_for_the_text(letters):
    ending = Ending("stop", 1.0, {f"scorer-{i}": 1.0 for i in range(99)})
    frame = picture(letters, letters.encode("a"), letters.encode("b"), ending)
    assert not is_blank(cell_of(frame, 0, 0)) and is_blank(cell_of(frame, ROWS - 8, 0))


def test_what_is_handed_out_may_be_drawn_upon(letters):
    ids = letters.encode("abc")
    frame = picture(letters, ids, ids)
    kept = frame.copy()
    frame[:] = 0
    assert np.array_equal(picture(letters, ids, ids), kept)


@given(st.text(max_size=200))
@example("\x00\u2029\u0301 \u0e33\ud7ff\U0010ffff")
@settings(deadline=None, max_examples=60)
def test_every_text_can_be_drawn(text):
    frame = paint(wrap(cut([(text, Tone.BEST)]))[:ROWS])
    assert frame.shape == (HEIGHT, WIDTH, 3)


# --- fonts -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chinese_font(tmp_path_factory):
    """A font with one character, 床, whose glyph is a full square."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (1000, 800), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "bed"])
    builder.setupCharacterMap({ord("床"): "bed"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "bed": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "bed": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Bed", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path_factory.mktemp("fonts") / "bed.ttf"
    builder.save(path)
    return str(path)


def test_a_font_of_the_system_draws_what_dejavu_does_not_have(install, chinese_font):
    install(chinese_font)
    square = fonts.ink("床")
    assert square.shape == (fonts.CELL_HEIGHT, 2 * fonts.CELL_WIDTH)
    assert (square == 255).sum() >= 14 * 17, "the square of the font"
    assert fonts.ink("床", bold=True).sum() > square.sum(), "a font without a bold cut is thickened"


def test_a_character_without_a_font_is_its_code_in_a_box_and_is_told_of_once(install, caplog):
    install()
    with caplog.at_level(logging.WARNING, "textgym"):
        boxes = [fonts.ink(character) for character in "床前"]
    assert len(caplog.records) == 1 and "fonts-noto-cjk" in caplog.text
    assert boxes[0].shape == (fonts.CELL_HEIGHT, 2 * fonts.CELL_WIDTH)
    assert not np.array_equal(*boxes), "different characters look different"
    assert boxes[0][1, 1:-1].min() > 0 and boxes[0][1:-2, 1].min() > 0, "the box has a border"


def test_a_full_width_form_without_a_font_is_drawn_as_its_plain_form(install):
    install()
    wide, plain = fonts.ink("，"), fonts.ink(",")
    assert wide.shape[1] == 2 * fonts.CELL_WIDTH
    assert np.array_equal(wide.any(axis=1), plain.any(axis=1)), "ink in the same rows, and no box"


def test_a_file_that_is_no_font_is_passed_over(install, tmp_path, chinese_font):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font at all")
    install(str(broken), chinese_font)
    assert fonts.font_with("床") == chinese_font


def test_the_fonts_of_this_machine_are_found():
    paths = fonts.system_fonts()
    assert len(set(paths)) == len(paths)


# --- environments ----------------------------------------------------------------------------------------------------


def play(env, actions):
    env.reset(seed=0)
    frames = [env.render()]
    for action in actions:
        env.step(action)
        frames.append(env.render())
    return frames


def test_every_frame_of_an_environment_has_the_same_size_and_shows_what_happened(task):
    frames = play(TextGenEnv(task=task, reward=IdSum(), render_mode="rgb_array"), [4, 5, EOS])
    assert {(frame.shape, frame.dtype) for frame in frames} == {((HEIGHT, WIDTH, 3), np.dtype(np.uint8))}
    assert all(not np.array_equal(*pair) for pair in itertools.pairwise(frames))


def test_vector_pictures_are_those_of_single_environments(task):
    vector = TextGenVectorEnv(3, task=task, reward=IdSum(), render_mode="rgb_array")
    singles = [TextGenEnv(task=task, reward=IdSum(), render_mode="rgb_array") for _ in range(3)]
    vector.reset(seed=0)
    for i, env in enumerate(singles):
        env.reset(seed=i)
    for actions in ([4, 5, 6], [EOS, 4, 5]):
        vector.step(actions)
        for env, action in zip(singles, actions, strict=True):
            env.step(action)
        frames = vector.render()
        assert isinstance(frames, tuple) and len(frames) == 3
        assert all(np.array_equal(frame, env.render()) for frame, env in zip(frames, singles, strict=True))


def test_frames_are_collected_under_the_list_mode(task):
    env = gym.make("TextGen-v0", task=task, reward=IdSum(), render_mode="rgb_array_list")
    env.reset(seed=0)
    env.step(4)
    frames = env.render()
    assert len(frames) == 2 and frames[0].shape == (HEIGHT, WIDTH, 3)


def test_gymnasium_records_a_video(task, tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo needs moviepy: pip install 'gymnasium[other]'")
    env = gym.make("TextGen-v0", task=task, reward=IdSum(), render_mode="rgb_array")
    env = gym.wrappers.RecordVideo(env, str(tmp_path / "video"), episode_trigger=lambda episode: True)
    play(env, [4, 5, EOS])
    env.close()
    (video,) = (tmp_path / "video").glob("*.mp4")
    assert video.stat().st_size > 1000


@pytest.mark.parametrize("native", [False, True])
def test_sb3_tiles_the_pictures_of_its_rows(task, native):
    from stable_baselines3.common.env_util import make_vec_env

    from textgym.sb3 import make_sb3_env

    make = make_sb3_env if native else functools.partial(make_vec_env, seed=None)
    settings = {"task": task, "reward": IdSum(), "render_mode": "rgb_array"}
    env = make("TextGen-v0", n_envs=4, **(settings if native else {"env_kwargs": settings}))
    env.seed(0)
    env.reset()
    tiled = env.render()
    assert tiled.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert np.array_equal(tiled[:HEIGHT, :WIDTH], play(TextGenEnv(**settings), [])[0])


def test_pictures_load_their_libraries_only_when_one_is_drawn(letters_folder):
    code = f"""
import sys, textgym, gymnasium
env = gymnasium.make("TextGen-v0", corpus={str(letters_folder / "letters.txt")!r}, tokenizer="char", max_new_tokens=6,
                     reward="length", cache_dir={str(letters_folder / "cache")!r}, render_mode="rgb_array")
env.reset(seed=0)
print([name for name in ("PIL", "matplotlib") if name in sys.modules])
env.render()
print([name for name in ("PIL", "matplotlib", "matplotlib.pyplot", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "['PIL', 'matplotlib']"], done.stderr
