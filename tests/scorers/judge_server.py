"""A judge behind HTTP on this machine that does as it is told: answer, wait, fail, send nonsense, hang up."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Reply:
    """What a request is answered with.

    Args:
        body: JSON-able, or text as it is.
        status: of the response.
        wait: seconds before anything is sent.
        hang_up: close the connection without a word.
        drip: seconds between the bytes.
    """

    def __init__(self, body: Any = None, status: int = 200, wait: float = 0, hang_up=False, drip: float = 0, **headers):
        self.body = body if isinstance(body, str) else json.dumps(body)
        self.status, self.wait, self.hang_up, self.drip, self.headers = status, wait, hang_up, drip, headers


def length(rows: list[dict[str, Any]]) -> list[float]:
    """The judgement of an honest server."""
    return [len(row["completion"]) / 8 for row in rows]


def honest(request: dict[str, Any], count: int) -> Reply:
    return Reply({"scores": length(request["rows"])})


class Server:
    """The server and what it was sent.

    Attributes:
        url: its address.
        requests: the bodies, as they came.
        headers: of each request.
        most: how many requests were open at once.
    """

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/score"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.requests.append(request)
                    server.headers.append(dict(self.headers))
                    count = len(server.requests)
                    server.open += 1
                    server.most = max(server.most, server.open)
                with suppress(OSError):  # the client has gone
                    self._reply(server.answer(request, count))

            def _reply(self, reply: Reply) -> None:
                server.stop.wait(reply.wait)
                with server.lock:  # before the client hears of it, and asks again
                    server.open -= 1
                if reply.hang_up:
                    self.connection.close()
                    return
                data = reply.body.encode()
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in reply.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                for part in [data[i : i + 1] for i in range(len(data))] if reply.drip else [data]:
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(reply.drip)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


@contextmanager
def judge_server(answer: Callable[[dict[str, Any], int], Reply] = honest) -> Iterator[Server]:
    """Serves until the end of the block."""
    server = Server(answer)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
