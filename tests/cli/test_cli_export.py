"""`textgym export`: the file, the line that uses it, and what cannot be exported."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_written_and_the_line_that_uses_it_printed(textgym, here):
    result = textgym("export", "length - distinct", "--to", "verl", "--out", "my_reward.py")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        f"my_reward.py: reward.custom_reward_function.path={here}/my_reward.py "
        "reward.custom_reward_function.name=compute_score\n"
    )
    code = "from my_reward import compute_score; print(compute_score('d', 'one one', None)['score'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True)
    assert float(done.stdout) == 2 - 1.0, done.stderr


def test_the_file_is_called_by_the_library(textgym, here):
    assert "from reward_trl import reward" in textgym("export", "length", "--to", "trl").stdout
    assert (here / "reward_trl.py").exists()


def test_a_task_travels_and_the_cache_does_not(textgym, here, tiny_corpus):
    result = textgym("export", "fluency", "--corpus", tiny_corpus, "--to", "trl", "--cache-dir", here / "cache")
    assert result.exit_code == 0, result.stderr
    source = (here / "reward_trl.py").read_text()
    assert f"'corpus': {str(tiny_corpus)!r}" in source
    assert "cache" not in source


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["length", "--to", "trll"], "Did you mean 'trl'"),
        (["lenght", "--to", "trl"], "Did you mean 'length'"),
        (["fluency", "--to", "trl"], "--task NAME"),
        (["self_bleu", "--to", "trl"], "set of texts"),
        (["length", "--to", "trl", "--out", "reward.txt"], "must be like my_reward.py"),
        (["length", "--to", "trl", "--out", "my-reward.py"], "must be like my_reward.py"),
        (["length", "--to", "trl", "--out", "nowhere/reward.py"], "nowhere"),
        (["./mine.py:score", "--to", "trl"], "cannot read"),
    ],
)
def test_what_cannot_be_exported_is_one_message(textgym, here, arguments, message):
    result = textgym("export", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not list(here.glob("*.py")) and "Traceback" not in result.stderr


def test_a_file_of_functions_is_named_absolutely(textgym, here):
    (here / "mine.py").write_text("def score(text):\n    return len(text)\n")
    assert textgym("export", "./mine.py:score", "--to", "verl").exit_code == 0
    assert f"{here}/mine.py:score" in (here / "reward_verl.py").read_text()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_without_a_file_http_serves_until_it_is_interrupted(here):
    main = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from textgym.cli import main; main()"
    )
    command = [sys.executable, "-c", main, "export", "length", "--to", "http", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = server.stderr.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        body = json.dumps({"rows": [{"completion": "one two"}]}).encode()
        with urllib.request.urlopen(address, body, timeout=30) as answer:
            assert json.loads(answer.read())["rows"][0]["score"] == 2.0
    finally:
        time.sleep(0.1)
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
    assert server.returncode == 0
