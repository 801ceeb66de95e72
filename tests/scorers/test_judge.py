"""A judge that is slow, wrong, down, flaky, that limits the rate: every score is its own, every failure an error."""

import asyncio
import builtins
import email.utils
import json
import time

import numpy as np
import pytest
from judge_server import Reply, honest, judge_server, length
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers import judging
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.reward import Reward

TEXTS = ["", "one", "two words", "three short words", "床前明月光", "\U0001f469\u200d\U0001f52c"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Tries follow one another at once, and no proxy stands between."""
    monkeypatch.setattr(judging, "BACKOFF", 0.001)
    monkeypatch.setenv("NO_PROXY", "*")


def chat(content):
    return Reply({"choices": [{"message": {"content": content}}]})


def values(server, *texts, **parameters):
    return s.judge(server.url, **parameters).score_texts(list(texts)).tolist()


def failure(answer, *texts, **parameters):
    with judge_server(answer) as server, pytest.raises(ScoringFailure) as caught:
        values(server, *(texts or ("text",)), **parameters)
    return str(caught.value)


def test_each_row_gets_the_number_of_its_text_in_any_division_into_requests():
    for batch, requests in ((1, 6), (4, 2), (100, 1)):
        with judge_server() as server:
            assert values(server, *TEXTS, batch=batch) == [len(text) / 8 for text in TEXTS]
            assert len(server.requests) == requests


def test_a_service_gets_all_that_is_known_of_a_row():
    with judge_server() as server:
        batch = batch_of_texts(["c"], ["p"], [["r", "s"]], [{"k": 1, "set": {2}}])
        s.judge(server.url).bind(None).score(batch)
    row = {"prompt": "p", "completion": "c", "references": ["r", "s"], "metadata": {"k": 1, "set": "{2}"}}
    assert server.requests == [{"rows": [row]}]
    assert "Authorization" not in server.headers[0]


def test_the_numbers_may_stand_in_another_field():
    with judge_server(lambda request, _: Reply({"rewards": length(request["rows"])})) as server:
        assert values(server, "12345678", field="rewards") == [1]


def test_requests_run_side_by_side_and_never_more_than_allowed():
    with judge_server(lambda request, _: Reply({"scores": length(request["rows"])}, wait=0.05)) as server:
        values(server, *map(str, range(12)), batch=1, concurrency=3)
        assert len(server.requests) == 12 and 2 <= server.most <= 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    def flaky(request, count):
        return honest(request, count) if count > 2 else Reply("busy", status)

    with judge_server(flaky) as server:
        assert values(server, "12345678", "1234") == [1, 0.5] and len(server.requests) == 3


def test_a_server_that_hangs_up_is_tried_again():
    with judge_server(lambda request, count: honest(request, count) if count > 2 else Reply(hang_up=True)) as server:
        assert values(server, "12345678") == [1] and len(server.requests) == 3


def test_a_slow_answer_is_not_waited_for_but_asked_for_again():
    with judge_server(lambda request, count: honest(request, count) if count > 1 else Reply({}, wait=30)) as server:
        assert values(server, "12345678", timeout=0.3) == [1]


def test_an_answer_that_drips_is_cut_off_as_a_whole():
    began = time.monotonic()
    said = failure(lambda *_: Reply({"scores": [1] * 50}, drip=0.05), timeout=0.2, retries=1)
    assert "no answer within 0.2 s, after 2 tries" in said and time.monotonic() - began < 20


def test_the_server_says_how_long_to_wait_and_is_heeded():
    times = []

    def limited(request, count):
        times.append(time.monotonic())
        return honest(request, count) if count > 1 else Reply("", 429, Retry_After="0.3")

    with judge_server(limited) as server:
        values(server, "a")
    assert times[1] - times[0] >= 0.3


def test_a_wait_beyond_the_deadline_fails_at_once():
    said = failure(lambda *_: Reply("", 429, Retry_After="3600"), deadline=5)
    assert "row 0: status 429 Too Many Requests and asks to wait 3600 s, beyond the deadline of 5 s" in said


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("-1", 0),
        ("nonsense", None),
        ("nan", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number(header, seconds):
    assert judging._retry_after(header) == seconds


def test_retry_after_is_a_date():
    date = email.utils.formatdate(time.time() + 1000, usegmt=True)
    assert judging._retry_after(date) == pytest.approx(1000, abs=60)


def test_the_whole_batch_ends_by_its_deadline():
    began = time.monotonic()
    said = failure(lambda *_: Reply({}, wait=30), *"abcdef", batch=1, concurrency=2, deadline=0.5)
    assert "judge http://127.0.0.1" in said and time.monotonic() - began < 20


def test_a_judge_that_is_down_is_an_error_and_never_a_zero():
    with judge_server() as server:
        pass
    with pytest.raises(ScoringFailure, match="row 0: All connection attempts failed, after 3 tries"):
        values(server, "a", retries=2)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply("<html>\n<h1>Not   found</h1>", 404), "status 404 Not Found: '<html> <h1>Not found</h1>'"),
        (Reply("<html>fine</html>"), "its response is no JSON: '<html>fine</html>'"),
        (Reply("", 302, Location="/elsewhere"), "status 302 Found"),
        (Reply([1, 2]), "an object with a list of numbers in 'scores'"),
        (Reply({"scores": 1}), "an object with a list of numbers in 'scores'"),
        (Reply({"scores": [1]}), "it holds 1 scores for 2 rows"),
        (Reply({"scores": [1, 2, 3]}), "it holds 3 scores for 2 rows"),
        (Reply('{"scores": [1, NaN]}'), "a finite number is expected, not NaN"),
        (Reply('{"scores": [1, 1e999]}'), "a finite number is expected, not Infinity"),
        (Reply({"scores": [1, None]}), "a finite number is expected, not null; optional=true allows null"),
        (Reply({"scores": [1, "2"]}), 'a finite number is expected, not "2"'),
        (Reply({"scores": [1, True]}), "a finite number is expected, not true"),
        (Reply({"scores": [1, 7]}), "7 is outside -inf to 5, the range that was declared"),
    ],
)
def test_a_wrong_answer_is_an_error_that_shows_it_and_is_not_asked_for_again(reply, message):
    with judge_server(lambda *_: reply) as server, pytest.raises(ScoringFailure) as caught:
        values(server, "a", "b", high=5)
    assert "rows 0 to 1: " in str(caught.value) and message in str(caught.value)
    assert len(server.requests) == 1


def test_null_is_not_applicable_where_that_is_allowed():
    with judge_server(lambda *_: Reply({"scores": [1, None]})) as server:
        assert np.array_equal(values(server, "a", "b", optional=True), [1, np.nan], equal_nan=True)
    assert s.judge("http://x", optional=True).partial_in(None) and not s.judge("http://x").partial_in(None)


def test_a_reward_names_the_row_without_asking_for_the_others_again():
    def picky(request, _):
        return Reply("no", 400) if "red" in request["rows"][0]["completion"] else honest(request, 0)

    context = FakeContext()
    with judge_server(picky) as server:
        reward = Reward(s.judge(server.url, batch=1, concurrency=1).bind(context))
        with pytest.raises(ScoringFailure, match=r"(?s)failed on row 2 of 4.*status 400.*completion 'red'"):
            reward.score(context.batch(["cat", "dog", "red", "mat"]))
    assert len(server.requests) == 3


def test_a_chat_model_is_asked_in_the_words_given_and_its_number_is_read():
    with judge_server(lambda *_: chat(" Score: 7.5\n")) as server:
        ask = "Rate {completion} for {prompt} beside {reference}, 0 to 10. {not} a place"
        judge = s.judge(server.url, ask=ask, model="m", low=0, high=10)
        assert judge.score_texts(["say {prompt}"], ["p"], [["r"]]).tolist() == [7.5]
    message = {"role": "user", "content": "Rate say {prompt} for p beside r, 0 to 10. {not} a place"}
    assert server.requests == [{"model": "m", "messages": [message], "temperature": 0}]


@pytest.mark.parametrize(
    ("said", "read", "number"),
    [
        ("7", None, 7),
        ("**-0.5**.", None, -0.5),
        ("rating: 3", None, 3),
        ("I think 3 of them.\nScore: 7/10", r"(?i)score: (\d+)", 7),
        ("well, 8", r"\d+", 8),
        ("I think 3 of them. 7", None, "no number is read from 'I think 3 of them. 7'"),
        ("7/10", None, "no number is read"),
        ("good", r"good", "finds 'good' in 'good', which is no number"),
        ("x", r"x(\d)?", "finds None in 'x', which is no number"),
        (None, None, "should hold choices[0].message.content"),
    ],
)
def test_only_a_number_that_is_meant_is_read_from_an_answer(said, read, number):
    parameters = {"ask": "{completion}", **({"read": read} if read else {})}
    if isinstance(number, str):
        assert number in failure(lambda *_: chat(said), **parameters)
    else:
        with judge_server(lambda *_: chat(said)) as server:
            assert values(server, "a", **parameters) == [number]


SECRET = "sk-very-secret"


def test_the_key_comes_from_the_environment_and_shows_nowhere(monkeypatch, caplog):
    monkeypatch.setenv("JUDGE_KEY", SECRET + "\n")
    with judge_server(lambda *_: Reply(f"you sent {SECRET}", 401)) as server, caplog.at_level(0):
        judge = s.judge(server.url, key="JUDGE_KEY")
        with pytest.raises(ScoringFailure, match="you sent \\*\\*\\*") as caught:
            judge.score_texts(["a"])
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    told = [str(caught.value), repr(judge), judge.signature, judge.to_spec(), caplog.text, json.dumps(server.requests)]
    assert not any(SECRET in text for text in told)
    assert "key='JUDGE_KEY'" in judge.to_spec()


def test_a_key_in_the_expression_or_in_the_url_is_refused_and_not_repeated():
    for parameters in ({"url": "http://x", "key": SECRET}, {"url": f"http://me:{SECRET}@x/"}):
        with pytest.raises(ScorerError) as caught:
            s.judge(**parameters)
        assert SECRET not in str(caught.value)


def test_a_key_that_is_missing_or_unfit_is_noticed_at_binding(monkeypatch):
    with pytest.raises(ScorerError, match="environment variable NO_SUCH_KEY is not set"):
        s.judge("http://x", key="NO_SUCH_KEY").bind(None)
    monkeypatch.setenv("ODD_KEY", f"{SECRET}\nX-Other: 1")
    with pytest.raises(ScorerError, match="ODD_KEY holds cannot stand in a header") as caught:
        s.judge("http://x", key="ODD_KEY").bind(None)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"url": "localhost:8000"}, "an address is expected"),
        ({"url": "ftp://x"}, "an address is expected"),
        ({"batch": 0}, "at least 1"),
        ({"concurrency": 0}, "at least 1"),
        ({"timeout": 0}, "above 0"),
        ({"retries": -1}, "retries 0"),
        ({"low": 1, "high": 1}, "low must be below high"),
        ({"model": "m"}, "a model is asked something"),
        ({"ask": "Rate {prompt}"}, "no {completion} in it"),
        ({"ask": "{completion}", "read": "("}, "read='\\('"),
    ],
)
def test_wrong_settings_are_refused(parameters, message):
    with pytest.raises(ScorerError, match=message):
        s.judge(**{"url": "http://x", **parameters})


def test_it_works_where_an_event_loop_is_running_already():
    async def notebook():
        with judge_server() as server:
            return values(server, "12345678")

    assert asyncio.run(notebook()) == [1]


def test_a_cached_judge_is_asked_once_a_text():
    with judge_server() as server:
        bound = s.parse(f"cache(judge('{server.url}'))").bind(None)
        for texts in (["ab", "cd", "ab"], ["cd", "xyz"]):
            bound.score(batch_of_texts(texts))
    assert [[row["completion"] for row in request["rows"]] for request in server.requests] == [["ab", "cd"], ["xyz"]]


def test_without_httpx_the_install_line_is_given(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "httpx":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'textgym\[judge\]'"):
        s.judge("http://x").bind(None)
