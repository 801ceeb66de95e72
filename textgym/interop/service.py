"""A reward as a service over HTTP, for whatever speaks JSON: one file of the standard library, no framework.

    GET  /health   {"status": "ok", "reward": ..., "signature": ..., "components": [...]}
    POST /score    {"rows": [{"prompt"?, "completion", "references"?, "metadata"?}], "tokens"?: true}
                   {"rows": [{"score", "components", "valid", "tokens"?}]}

A score is null where the reward is not applicable. What cannot be used is a 400 with {"error": message}, a scorer that
fails a 500; neither is ever a score of 0.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from textgym.errors import ScoringFailure, TextGymError
from textgym.interop.portable_reward import PortableReward

_log = logging.getLogger("textgym")

HOST, PORT = "127.0.0.1", 8787
LIMIT = 32 * 2**20
"""Bytes of a request at most."""


class BadRequest(TextGymError, ValueError):  # noqa: N818 - named as HTTP names it
    """A request that cannot be answered.

    Args:
        message: what is wrong with it.
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def reward_server(reward: PortableReward, host: str = HOST, port: int = PORT) -> ThreadingHTTPServer:
    """A server that has its port and waits for `serve_forever()`; the reward is opened before.

    Args:
        reward: what is paid.
        host: the address; by default no other machine can reach it, and there is no password.
        port: 0 takes a free one; see `server_port`.

    Raises:
        OSError: the port is taken.
    """
    health = {
        "status": "ok",
        "reward": reward.spec,
        "signature": reward.opened.reward.signature,
        "components": reward.components,
    }

    class Handler(_Handler):
        answers = {"/health": health}  # noqa: RUF012
        paid = reward

    return ThreadingHTTPServer((host, port), Handler)


def serve(reward: PortableReward, host: str = HOST, port: int = PORT) -> None:
    """Answers requests until it is interrupted."""
    with reward_server(reward, host, port) as server:
        _log.info("http://%s:%d/score pays %s", host, server.server_port, reward.spec)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            _log.info("stopped")


def answer(reward: PortableReward, body: bytes) -> dict[str, Any]:
    """The answer to the body of a request.

    Raises:
        BadRequest: it is no JSON, or a row has something missing; names the row.
        ScoringFailure: the scorer failed.
    """
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    rows = asked.get("rows") if isinstance(asked, dict) else None
    if not isinstance(rows, list):
        raise BadRequest('the body must be {"rows": [{"prompt": ..., "completion": ...}]}')
    for number, row in enumerate(rows):
        _check(row, f"row {number}")
    scores = reward.rewards(
        [row.get("prompt") or "" for row in rows],
        [row["completion"] for row in rows],
        [row.get("references") or [] for row in rows],
        [row.get("metadata") or {} for row in rows],
        tokens=bool(asked.get("tokens")),
    )
    return {"rows": [scores.row(index) for index in range(len(rows))]}


def _check(row: Any, where: str) -> None:
    if not isinstance(row, Mapping):
        raise BadRequest(f"{where}: an object is expected, not {type(row).__name__}")
    if not isinstance(row.get("completion"), str):
        raise BadRequest(f"{where}: 'completion' must be text")
    if not isinstance(row.get("prompt") or "", str):
        raise BadRequest(f"{where}: 'prompt' must be text")
    references = row.get("references") or []
    if not isinstance(references, Sequence) or not all(isinstance(text, str) for text in references):
        raise BadRequest(f"{where}: 'references' must be a list of texts")
    if isinstance(references, str) or not isinstance(row.get("metadata") or {}, Mapping):
        raise BadRequest(f"{where}: 'references' must be a list, 'metadata' an object")


class _Handler(BaseHTTPRequestHandler):
    """Answers in JSON; what the library calls a method is what HTTP does."""

    protocol_version = "HTTP/1.1"
    answers: Mapping[str, Any]
    paid: PortableReward

    def do_GET(self) -> None:
        if self.path in self.answers:
            self._send(200, self.answers[self.path])
        else:
            self._send(404, {"error": f"there is no {self.path}: GET /health or POST /score"})

    def do_POST(self) -> None:
        try:
            body = self._body()
            if self.path != "/score":
                raise BadRequest(f"there is no {self.path}: GET /health or POST /score", 404)
            self._send(200, answer(self.paid, body))
        except BadRequest as error:
            self._send(error.status, {"error": str(error)})
        except ScoringFailure as error:
            _log.error("%s", error)
            self._send(500, {"error": str(error)})

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.close_connection = True
            raise BadRequest("the request needs a Content-Length", 411)
        if int(length) > LIMIT:
            self.close_connection = True
            raise BadRequest(f"{int(length):,} bytes are more than the {LIMIT:,} of one request: send fewer rows", 413)
        return self.rfile.read(int(length))

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)
