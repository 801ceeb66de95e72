import numpy as np
import pytest
from envs_samples import IdSum

from textgym.envs.render import Ending, ansi
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.text.tokenizers import train_tokenizer

EOS = 2


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(scope="module")
def letters():
    return train_tokenizer("char", ["abc "], 20)


def test_the_prompt_is_dim_and_tokens_have_the_colour_of_what_they_earned(letters):
    prompt, completion = letters.encode("a "), np.array([*letters.encode("bcab"), EOS], np.int32)
    ending = Ending("stop", 1.5, {"x": 2.0}, np.array([2.0, 0.5, -2.0, 0.0, 0.0]))
    assert ansi(letters, prompt, completion, ending) == (
        "\x1b[2ma \x1b[0m\x1b[1;32mb\x1b[0m\x1b[32mc\x1b[0m\x1b[1;31ma\x1b[0mb\x1b[2m<eos>\x1b[0m\n"
        "\x1b[2m[stop] reward +1.500 · x +2.000\x1b[0m"
    )


def test_without_token_scores_and_before_the_end_the_text_is_plain(letters):
    assert ansi(letters, letters.encode("a"), letters.encode(" bc")) == "\x1b[2ma\x1b[0m bc"


def test_no_color_takes_the_escape_codes_away(letters, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    frame = ansi(letters, letters.encode("a"), letters.encode("b"), Ending("length", -1.0, {}, np.array([1.0])))
    assert frame == "ab\n[length] reward -1.000"


def test_a_chinese_character_of_several_byte_tokens_is_one_piece():
    tokenizer = train_tokenizer("bpe", ["only English is known here, and nothing else"], 400)
    ids = tokenizer.encode("床前")
    assert len(ids) == 6
    ending = Ending("length", 1.0, {}, np.array([3.0, -1.0, -1.0, -3.0, 1.0, 1.0]))
    assert ansi(tokenizer, tokenizer.encode("x"), ids, ending).startswith(
        "\x1b[2mx\x1b[0m\x1b[1;32m床\x1b[0m\x1b[1;31m前\x1b[0m"
    )
    assert "床\ufffd" in ansi(tokenizer, tokenizer.encode("x"), ids[:4]), "half a character is shown as such"


def test_ansi_mode_returns_the_text_so_far(task):
    env = TextGenEnv(task=task, reward=IdSum(), render_mode="ansi")
    env.reset(options={"prompt": "a b"})
    assert env.render() == "\x1b[2ma b\x1b[0m"
    c = int(task.tokenizer.encode("c")[0])
    env.step(c)
    assert env.render() == "\x1b[2ma b\x1b[0mc"
    env.step(EOS)
    assert "[stop] reward" in env.render()


def test_human_mode_prints_at_reset_and_at_each_step(task, capsys):
    env = TextGenEnv(task=task, reward=IdSum(), render_mode="human")
    env.reset(options={"prompt": "a b"})
    env.step(EOS)
    assert env.render() is None
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "\x1b[2ma b\x1b[0m"
    assert [line.startswith("\x1b[2m[stop] reward") for line in printed] == [False, False, True, False, True]


def test_vector_frames_are_those_of_single_environments(task):
    for mode in ("NextStep", "SameStep"):
        vector = TextGenVectorEnv(3, task=task, reward=IdSum(), render_mode="ansi", autoreset_mode=mode)
        vector.reset(seed=0)
        singles = [TextGenEnv(task=task, reward=IdSum(), render_mode="ansi") for _ in range(3)]
        for i, env in enumerate(singles):
            env.reset(seed=i)
        assert vector.render() == tuple(env.render() for env in singles)
        vector.step([EOS, 4, 5])
        for env, action in zip(singles, [EOS, 4, 5], strict=True):
            env.step(action)
        if mode == "SameStep":
            singles[0].reset()
        assert vector.render() == tuple(env.render() for env in singles)


def test_vector_human_mode_prints_every_row(task, capsys):
    TextGenVectorEnv(3, task=task, reward=IdSum(), render_mode="human").reset(seed=0)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_render_without_a_mode_warns_and_returns_nothing(task):
    with pytest.warns(UserWarning, match="without a render mode"):
        assert TextGenEnv(task=task, reward=IdSum()).render() is None
