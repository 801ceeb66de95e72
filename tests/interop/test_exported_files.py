"""Exported files, run as their libraries run them: in another process, from another folder."""

import json
import subprocess
import sys
import time
import urllib.request

import pytest

from textgym.errors import UnknownNameError
from textgym.interop.export import TARGETS, export_source, usage
from textgym.interop.portable_reward import portable

USES = {
    "trl": (
        "from reward import reward, reward_funcs, reward_weights, async_reward\n"
        "import asyncio, pickle, inspect\n"
        "call = dict(prompts=['p'], completions=['go go stop'], completion_ids=[[1]])\n"
        "assert inspect.iscoroutinefunction(async_reward) and pickle.dumps(reward)\n"
        "assert asyncio.run(async_reward(**call)) == reward(**call)\n"
        "assert sum(w * f(**call)[0] for w, f in zip(reward_weights, reward_funcs)) == reward(**call)[0]\n"
        "print(reward(**call)[0])"
    ),
    "verl": (
        "from reward import compute_score, compute_scores, RewardManager\n"
        "assert compute_scores(['d'], ['go go stop'], [None], [None]) == [compute_score('d', 'go go stop', None)]\n"
        "assert hasattr(RewardManager(tokenizer=None), 'run_single')\n"
        "print(compute_score(data_source='d', solution_str='go go stop', ground_truth='x', extra_info={})['score'])"
    ),
    "openrlhf": (
        "from reward import reward_func\n"
        "print(reward_func(['ask: go go stop</s>'], ['ask: '], [None])['rewards'].tolist()[0])"
    ),
    "verifiers": (
        "from reward import functions, weights\n"
        "assert [f.__name__ for f in functions] == ['reward', 'length', 'repetition'] and weights == [1.0, 0.0, 0.0]\n"
        "print(functions[0](prompt='p', completion='go go stop'))"
    ),
    "http": "from reward import REWARD\nprint(REWARD.rewards(None, ['go go stop']).values[0])",
}
SPEC = "length - 3*repetition(n=1)"


@pytest.fixture
def exported(tmp_path):
    def export(target, reward, **settings):
        (tmp_path / "reward.py").write_text(export_source(reward, target, **settings))
        return tmp_path / "reward.py"

    return export


def run(folder, code, *flags):
    return subprocess.run([sys.executable, *flags, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_pays_what_the_expression_pays(exported, target):
    if target == "openrlhf":
        pytest.importorskip("torch")
    done = run(exported(target, portable(SPEC)).parent, USES[target], "-W", "error")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(2.0)


def test_a_file_brings_its_task(exported, tiny_corpus):
    reward = portable("fluency - repetition", corpus=str(tiny_corpus))
    folder = exported("verl", reward).parent
    code = "from reward import compute_score\nprint(compute_score('d', 'The old king saw', None)['score'])"
    done = run(folder, code, "-W", "error")
    assert float(done.stdout) == reward.rewards(None, ["The old king saw"]).values[0], done.stderr


def test_a_file_warns_where_the_reward_is_no_longer_what_was_exported(exported, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def score(text):\n    return 1\n")
    folder = exported("verl", portable(f"{mine}:score")).parent
    code = "from reward import compute_score\nprint(compute_score('d', 'a', None)['score'])"
    assert "OtherRewardWarning" not in run(folder, code).stderr
    mine.write_text("def score(text):\n    return 2\n")
    done = run(folder, code)
    assert float(done.stdout) == 2.0
    assert "is not what was exported" in done.stderr
    assert "Bring the corpus, the file or the version of textgym back" in done.stderr


def test_importing_a_file_opens_nothing(exported, tiny_corpus):
    folder = exported("trl", portable("fluency + length", corpus=str(tiny_corpus))).parent
    code = (
        "import sys, reward, textgym.interop.portable_reward as portable_reward\n"
        "assert not portable_reward._opened and 'torch' not in sys.modules"
    )
    assert run(folder, code).returncode == 0


def test_a_file_is_valid_python_whatever_the_names_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'it\'s """ odd'
    (tmp_path / f"{name}.py").write_text("def f(text):\n    return len(text)\n")
    reward = portable(f"{name}.py:f")
    for target in TARGETS:
        compile(export_source(reward, target), "reward.py", "exec")


def test_a_served_file_answers(exported):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = exported("http", portable(SPEC), port=port)
    server = subprocess.Popen([sys.executable, str(path)], stderr=subprocess.PIPE)
    try:
        body = json.dumps({"rows": [{"completion": "go go stop"}]}).encode()
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/score", body, timeout=10) as answer:
                    told = json.loads(answer.read())
                break
            except OSError:
                time.sleep(0.1)
        assert told["rows"][0]["score"] == pytest.approx(2.0)
    finally:
        server.terminate()
        server.communicate()


def test_an_unknown_library_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="'verl'"):
        export_source(portable("length"), "verll")


@pytest.mark.parametrize("target", TARGETS)
def test_the_line_that_uses_a_file_names_it(tmp_path, target):
    assert "mine" in usage(target, tmp_path / "mine.py")
