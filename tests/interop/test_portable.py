"""A reward that travels: opened where it is called, of plain texts, and loud where it is another."""

import json
import pickle
import subprocess
import sys
import warnings

import pytest

from textgym.errors import ScorerError, ScoringFailure, SpecError, TaskError
from textgym.interop.portable_reward import OtherRewardWarning, PortableReward, portable
from textgym.scorers import parse

TEXTS = ["The old king saw the river.", "", "the cat the cat the cat", "你好世界你好"]


def test_it_scores_as_the_expression_does():
    reward = portable("length - 2*distinct")
    scores = reward.rewards(None, TEXTS)
    for text, value in zip(TEXTS, scores.values, strict=True):
        assert value == parse("length - 2*distinct").score_texts([text])[0]
    assert scores.components.keys() == {"length", "distinct"}
    assert scores.tokens == []


def test_on_a_task_it_scores_as_the_task_does(tiny_corpus):
    reward = portable("fluency - repetition", corpus=str(tiny_corpus))
    text = " saw the river at night."
    opened = reward.opened.reward.bound
    context = opened.context
    expected = parse("fluency - repetition").score_texts([text], ["The king"], context=context)[0]
    scores = reward.rewards(["The king"], [text], tokens=True)
    assert scores.values == [expected]
    assert reward.signature == opened.signature


def test_tokens_earn_what_the_text_earns(tiny_corpus):
    for reward in (
        portable("fluency - repetition + 0.1*length", corpus=str(tiny_corpus)),
        portable("distinct - repetition"),
        portable("product(length, distinct)"),
    ):
        scores = reward.rewards(None, TEXTS, tokens=True)
        for text, value, tokens in zip(TEXTS, scores.values, scores.tokens, strict=True):
            assert sum(earned for *_, earned in tokens) == pytest.approx(value, abs=1e-12)
            assert tokens[-1][:2] == (len(text), len(text))
            assert [start for start, _, _ in tokens] == [0, *(end for _, end, _ in tokens[:-1])]


def test_what_is_known_early_is_paid_early(tiny_corpus):
    (tokens,) = portable("length", corpus=str(tiny_corpus)).rewards(None, [" the old king"], tokens=True).tokens
    *words, end = tokens
    assert [earned for *_, earned in words] == [1.0] * len(words)
    assert end[2] == 0.0


def test_not_applicable_is_none_and_no_total():
    scores = portable("rouge").rewards(None, ["a"], [[]])
    assert scores.values == [None]
    assert scores.row(0) == {"score": None, "components": {"rouge": None}, "valid": False}
    with pytest.raises(ScoringFailure, match=r"row 0 of 1.*default\(x, value\)"):
        scores.total()


def test_it_pickles_and_opens_elsewhere(tiny_corpus, tmp_path):
    reward = portable("fluency", corpus=str(tiny_corpus))
    (tmp_path / "reward.pickle").write_bytes(pickle.dumps(reward))
    code = (
        "import pickle, json; reward = pickle.load(open('reward.pickle', 'rb'))\n"
        "print(json.dumps(reward.rewards(None, ['The king saw']).values))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert json.loads(done.stdout) == reward.rewards(None, ["The king saw"]).values, done.stderr
    assert hash(pickle.loads(pickle.dumps(reward))) == hash(reward)


def test_opening_it_loads_no_torch():
    code = (
        "import sys; from textgym.interop import portable, to_trl\n"
        "to_trl('distinct')(prompts=['a'], completions=['b'])\n"
        "assert not {'torch', 'transformers', 'stable_baselines3', 'sklearn', 'scipy'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_failure_names_the_row(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def score(text):\n    return 1 / len(text)\n")
    with pytest.raises(ScoringFailure, match="row 1 of 2: ZeroDivisionError"):
        portable(f"{path}:score").rewards(None, ["a", ""])
    path.write_text("def score(text):\n    return float('nan')\n")
    with pytest.raises(ScoringFailure, match="is nan for row 0"):
        PortableReward(f"call('{path}:score') + 0*length").rewards(None, ["a"])


def test_another_reward_than_was_exported_warns(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def score(text):\n    return 1\n")
    reward = portable(f"{path}:score")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reward.rewards(None, ["a"])
    other = PortableReward(reward.spec, reward.task, reward.signature.replace("sha=", "sha=0"))
    with pytest.warns(OtherRewardWarning, match="is not what was exported"):
        other.rewards(None, ["a"])


def test_paths_do_not_depend_on_the_folder(tmp_path, monkeypatch, tiny_corpus):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def score(text):\n    return len(text)\n")
    (tmp_path / "corpus.txt").write_text(tiny_corpus.read_text())
    reward = portable("0.5*call('mine.py:score') + clip(call('mine.py:score'), 0, 9)", corpus="corpus.txt")
    monkeypatch.chdir("/")
    assert PortableReward(reward.spec, reward.task).rewards(None, ["abc"]).values[0] == 0.5 * 3 + 3
    assert reward.task["corpus"] == str(tmp_path / "corpus.txt")


def test_terms_are_weighted_and_sum_to_the_whole():
    reward = portable("0.5*length - (distinct - 2*repetition) + 0.5*length")
    terms = reward.terms()
    assert {name: weight for name, (weight, _) in terms.items()} == {"length": 1.0, "distinct": -1.0, "repetition": 2.0}
    whole = reward.rewards(None, TEXTS).values
    parts = [[weight * value for value in term.rewards(None, TEXTS).values] for weight, term in terms.values()]
    assert [sum(column) for column in zip(*parts, strict=True)] == pytest.approx(whole)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("length*distinct", ScorerError, "is no sum of terms"),
        ("length + distinct + 1", ScorerError, "holds the constant 1"),
    ],
)
def test_what_cannot_be_split_says_so(spec, error, message):
    with pytest.raises(error, match=message):
        portable(spec).terms()


@pytest.mark.parametrize(
    ("reward", "settings", "error", "message"),
    [
        ("flunecy", {}, SpecError, "fluency"),
        ("fluency", {}, ScorerError, "comes with a task"),
        ("2", {}, ScorerError, "holds no scorer"),
        ("self_bleu", {}, ScorerError, "set of texts"),
        (len, {}, ScorerError, "has no name"),
        ("distinct + lagrangian(length, 20)", {}, ScorerError, "changes while textgym trains"),
        ("length", {"corpsu": "a.txt"}, TaskError, "Did you mean 'corpus'"),
    ],
)
def test_what_cannot_travel_is_refused_at_home(reward, settings, error, message):
    with pytest.raises(error, match=message):
        portable(reward, **settings)


def test_a_task_in_hand_cannot_travel(tiny_corpus):
    import textgym

    with pytest.raises(TaskError, match="register it"):
        portable("length", textgym.make_task(corpus=tiny_corpus))
