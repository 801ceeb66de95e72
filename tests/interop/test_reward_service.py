"""A reward as a service: a real server, asked over HTTP."""

import http.client
import json
import socket
import threading

import pytest

from textgym.interop import service
from textgym.interop.portable_reward import portable
from textgym.interop.service import reward_server


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "mine.py"
    path.write_text("def crash(text):\n    return 1 / len(text)\n")
    server = reward_server(portable(f"length - 2*repetition(n=1) + 0*call('{path}:crash')"), port=0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told

    ask.port = server.server_port
    yield ask
    server.shutdown()
    server.server_close()
    thread.join()


def test_rows_are_scored(ask):
    rows = [{"prompt": "ask", "completion": "one two"}, {"completion": "go go", "references": ["x"], "metadata": {}}]
    status, told = ask("POST", "/score", {"rows": rows})
    assert status == 200
    assert [row["score"] for row in told["rows"]] == [2.0, 2.0 - 2 * 0.5]
    assert told["rows"][1]["components"] == {"length": 2.0, "repetition": 0.5, "crash": 0.2}
    assert all(row["valid"] for row in told["rows"])
    assert ask("POST", "/score", {"rows": []}) == (200, {"rows": []})


def test_tokens_come_when_they_are_asked_for(ask):
    _, told = ask("POST", "/score", {"rows": [{"completion": "one two"}], "tokens": True})
    (row,) = told["rows"]
    assert sum(token[2] for token in row["tokens"]) == pytest.approx(row["score"])
    assert [token[:2] for token in row["tokens"]] == [[0, 3], [3, 7], [7, 7]]


def test_health_tells_the_signature(ask):
    status, told = ask("GET", "/health")
    assert status == 200
    assert told["status"] == "ok"
    assert told["components"] == ["length", "repetition", "crash"]
    assert "length.v" in told["signature"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        ([], "the body must be"),
        ({"rows": 3}, "the body must be"),
        ({"rows": [{"completion": "a"}, 3]}, "row 1: an object"),
        ({"rows": [{"prompt": "a"}]}, "row 0: 'completion'"),
        ({"rows": [{"completion": "a", "prompt": 3}]}, "row 0: 'prompt'"),
        ({"rows": [{"completion": "a", "references": "x"}]}, "row 0: 'references'"),
        ({"rows": [{"completion": "a", "metadata": [1]}]}, "row 0: .*'metadata'"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(ask, body, message):
    import re

    status, told = ask("POST", "/score", body)
    assert status == 400
    assert re.search(message, told["error"])


def test_a_failure_of_the_scorer_is_no_score(ask):
    status, told = ask("POST", "/score", {"rows": [{"completion": "a"}, {"completion": ""}]})
    assert status == 500
    assert "row 1 of 2: ZeroDivisionError" in told["error"]


def test_other_places_are_not_found(ask):
    assert ask("GET", "/")[0] == 404
    assert ask("POST", "/health", {"rows": []})[0] == 404


def test_requests_have_a_limit(ask, monkeypatch):
    monkeypatch.setattr(service, "LIMIT", 100)
    assert ask("POST", "/score", {"rows": [{"completion": "a" * 100}]})[0] == 413
    with socket.create_connection(("127.0.0.1", ask.port), timeout=30) as raw:
        raw.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"411" in raw.recv(100)


def test_requests_are_answered_side_by_side(ask):
    told = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(ask("POST", "/score", {"rows": [{"completion": "a " * n}]})))
        for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _ in told] == [200] * 8


def test_no_other_machine_can_ask():
    with reward_server(portable("length"), port=0) as server:
        assert server.server_address[0] == "127.0.0.1"
