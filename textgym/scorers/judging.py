"""A judge behind HTTP: a service of your own, or a language model with the chat interface of OpenAI.

A service gets ``{"rows": [{"prompt": ..., "completion": ..., "references": [...], "metadata": {...}}, ...]}`` and
answers ``{"scores": [0.5, ...]}``, a number for each row. A chat model gets a message of your wording for each row and
answers with a number. Requests run side by side; each has a time limit; those that fail for a reason that may pass
(429, 5xx, no connection, no answer in time) are sent again, later and later. What fails in the end is an error, never
a score of 0.
"""

import asyncio
import email.utils
import json
import math
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers.base import Score, Scorer, register
from textgym.scorers.waiting import awaited
from textgym.types import Scores, ScoringContext, TextBatch

BACKOFF = 0.5
"""Seconds before the second try, on average; twice as many before each further one."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which a request is sent again."""

NUMBER_ALONE = r"(?is)^[^\w-]*(?:(?:score|rating|answer)[^\w-]*)?(-?\d+(?:\.\d+)?)\W*$"
"""What is read from the answer of a chat model: a number and nothing else, or "Score: 7"."""

Answers = list[list[float | None]]
"""For each request a number for each of its rows."""

_SHOWN = 200  # characters of a response in a message
_PLACE = re.compile(r"\{(prompt|completion|reference)\}")


@register("judge")
@dataclass(frozen=True)
class Judge(Scorer):
    r"""What a judge behind HTTP says of each completion.

    The same text need not get the same number twice: that is up to the judge. ``cache(judge(...))`` asks once.

    Args:
        url: where requests are sent (POST), e.g. ``http://localhost:8000/score`` or, for a chat model,
            ``https://.../v1/chat/completions``.
        ask: the message for a chat model, with {prompt}, {completion} and {reference} (the first one) where those
            belong. None for a service of your own.
        model: the chat model's name.
        read: regular expression of the number in a chat model's answer, its first group if it has one; the first match
            counts. By default the answer must be the number alone, or "Score: 7".
        field: where a service's response holds the numbers.
        key: name of the environment variable that holds the API key, which goes into the header Authorization. The key
            itself is nowhere else: not in the expression, not in signatures, not in messages.
        low: least number that the judge may give; none for any.
        high: greatest number that the judge may give; none for any.
        batch: rows a request to a service.
        concurrency: requests at the same time.
        timeout: seconds that one try may take.
        retries: how often a request is sent again.
        deadline: seconds that a whole batch may take, waiting included.
        optional: whether the judge may answer null for "not applicable"; otherwise that is an error.
    """

    url: str
    ask: str | None = None
    model: str | None = None
    read: str = NUMBER_ALONE
    field: str = "scores"
    key: str | None = None
    low: float | None = None
    high: float | None = None
    batch: int = 32
    concurrency: int = 8
    timeout: float = 30.0
    retries: int = 4
    deadline: float = 600.0
    optional: bool = False
    positional = 1
    formula = "the judge's number"
    source = "Zheng et al. 2023 for language models as judges"
    extra = "judge"

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = urlsplit(self.url)
        if parts.username or parts.password:
            raise ScorerError("judge: the url holds a user name or a password; give key='NAME_OF_A_VARIABLE' instead")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ScorerError(f"judge(url={self.url!r}): an address is expected, such as http://localhost:8000/score")
        if self.key is not None and not re.fullmatch("[A-Z_][A-Z0-9_]{0,63}", self.key):
            # What was given may be the key: it is not repeated.
            raise ScorerError(
                "judge: key is the name of an environment variable, such as 'OPENAI_API_KEY', not the key"
            )
        if min(self.batch, self.concurrency) < 1 or self.retries < 0 or min(self.timeout, self.deadline) <= 0:
            raise ScorerError(f"{self}: batch and concurrency are at least 1, retries 0, timeout and deadline above 0")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ScorerError(f"{self}: low must be below high")
        self._check_chat()

    def _check_chat(self) -> None:
        if self.ask is None and self.model is not None:
            raise ScorerError("judge: a model is asked something: ask='Rate ... {completion} ...'")
        if self.ask is not None and "{completion}" not in self.ask:
            raise ScorerError("judge: ask has no {completion} in it, so every text would be judged alike")
        try:
            re.compile(self.read)
        except re.error as error:
            raise ScorerError(f"judge(read={self.read!r}): {error}") from None

    @property
    def range(self) -> tuple[float, float]:
        """From `low` to `high`."""
        return (-math.inf if self.low is None else self.low, math.inf if self.high is None else self.high)

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where the judge may answer null."""
        return self.optional

    def prepare(self, context: ScoringContext | None) -> Score:
        """Reads the key from the environment.

        Raises:
            ScorerError: the variable is not set.
            MissingExtraError: httpx is not installed.
        """
        try:
            import httpx  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("httpx", "judge", "the scorer judge") from error
        self._secret()
        return self.score

    def score(self, batch: TextBatch) -> Scores:
        """What the judge says of B completions: values (B,).

        Raises:
            ScoringFailure: it did not answer, or not with a number for each row.
        """
        rows = _rows(batch)
        size = 1 if self.ask is not None else self.batch
        places = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        chunks = [[rows[index] for index in place] for place in places]
        numbers = [number for answer in awaited(_Round(self).all(chunks, places)) for number in answer]
        values = [0.0 if number is None else number for number in numbers]
        return Scores(np.array(values, dtype=np.float64), np.array([n is not None for n in numbers], dtype=bool))

    def _secret(self) -> str:
        """The API key; empty where there is none to give."""
        secret = os.environ.get(self.key, "").strip() if self.key else ""
        if self.key and not secret:
            raise ScorerError(f"judge: the environment variable {self.key} is not set; it should hold the API key")
        if not re.fullmatch("[!-~]*", secret):
            raise ScorerError(f"judge: what the environment variable {self.key} holds cannot stand in a header")
        return secret

    def request(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What is sent for these rows."""
        if self.ask is None:
            return {"rows": list(rows)}
        (row,) = rows
        given = {**row, "reference": next(iter(row["references"]), "")}
        # One pass: a completion that holds "{prompt}" is not filled in again.
        content = _PLACE.sub(lambda found: str(given[found[1]]), self.ask)
        named = {} if self.model is None else {"model": self.model}
        return {**named, "messages": [{"role": "user", "content": content}], "temperature": 0}

    def answers(self, response: Any, rows: int) -> list[float | None]:
        """The numbers of a response to `request`.

        Raises:
            ValueError: it has another form; says which.
        """
        if self.ask is not None:
            return [self._checked(self._number_in(response))]
        numbers = response.get(self.field) if isinstance(response, dict) else None
        if not isinstance(numbers, list):
            raise ValueError(f"it should be an object with a list of numbers in {self.field!r}")
        if len(numbers) != rows:
            raise ValueError(f"it holds {len(numbers)} scores for {rows} rows")
        return [self._checked(number) for number in numbers]

    def _number_in(self, response: Any) -> float:
        try:
            said = response["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            said = None
        if not isinstance(said, str):
            raise ValueError("it should hold choices[0].message.content, as a chat model's does")
        found = re.search(self.read, said)
        if found is None:
            raise ValueError(f"no number is read from {_shown(said)}: say in ask how to answer, or set read")
        digits = found[min(1, found.re.groups)]
        try:
            return float(digits)
        except (TypeError, ValueError):
            raise ValueError(f"read={self.read!r} finds {digits!r} in {_shown(said)}, which is no number") from None

    def _checked(self, number: Any) -> float | None:
        if number is None and self.optional:
            return None
        if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
            hint = "; optional=true allows null" if number is None else ""
            raise ValueError(f"a finite number is expected, not {json.dumps(number)[:_SHOWN]}{hint}")
        low, high = self.range
        if not low <= number <= high:
            raise ValueError(f"{number:g} is outside {low:g} to {high:g}, the range that was declared")
        return float(number)


class _Round:
    """The requests of one batch."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._ends = time.monotonic() + judge.deadline
        self._random = random.Random()
        self._secret = judge._secret()

    async def all(self, chunks: Sequence[Sequence[Mapping[str, Any]]], places: Sequence[range]) -> Answers:
        """The answers to all chunks, in order; the first failure ends the rest."""
        import httpx

        judge = self._judge
        headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        free = asyncio.Semaphore(judge.concurrency)
        # Whoever waits does so here, not for a free connection, which would count as time that its own try took.
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(headers=headers, timeout=judge.timeout, limits=limits) as client:

            async def one(rows: Sequence[Mapping[str, Any]], place: range) -> list[float | None]:
                async with free:
                    return await self._ask(client, rows, place)

            tasks = [asyncio.ensure_future(one(rows, place)) for rows, place in zip(chunks, places, strict=True)]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, client: Any, rows: Sequence[Mapping[str, Any]], place: range) -> list[float | None]:
        """The answers to one request, which is sent until it is answered or there is no more time."""
        import httpx

        content = json.dumps(self._judge.request(rows), default=str).encode()
        for attempt in range(self._judge.retries + 1):
            left = self._ends - time.monotonic()
            if left <= 0:
                raise self._failure(place, f"it did not answer within the deadline of {self._judge.deadline:g} s")
            try:
                post = client.post(self._judge.url, content=content, headers={"Content-Type": "application/json"})
                response = await asyncio.wait_for(post, min(self._judge.timeout, left))
            except (httpx.TransportError, asyncio.TimeoutError) as error:
                late = isinstance(error, asyncio.TimeoutError | httpx.TimeoutException)
                problem = f"no answer within {min(self._judge.timeout, left):g} s" if late else _said(error)
                pause = None
            except (httpx.InvalidURL, ValueError) as error:
                raise self._failure(place, _said(error)) from error
            else:
                if response.status_code not in PASSING:
                    return self._read(response, place)
                problem, pause = _status(response), _retry_after(response.headers.get("Retry-After"))
            if attempt < self._judge.retries:
                await self._wait(attempt, pause, problem, place)
        raise self._failure(place, f"{problem}, after {self._judge.retries + 1} tries")

    async def _wait(self, attempt: int, asked: float | None, problem: str, place: range) -> None:
        """As long as the server asked for, else exponentially longer with full jitter, so that rows spread out."""
        pause = self._random.uniform(0, 2 * BACKOFF * 2**attempt) if asked is None else asked
        if time.monotonic() + pause > self._ends:
            wanted = f" and asks to wait {asked:g} s" if asked is not None else ""
            raise self._failure(place, f"{problem}{wanted}, beyond the deadline of {self._judge.deadline:g} s")
        await asyncio.sleep(pause)

    def _read(self, response: Any, place: range) -> list[float | None]:
        if response.status_code != 200:
            raise self._failure(place, f"{_status(response)}: {_shown(response.text)}")
        try:
            content = response.json()
        except ValueError as error:
            raise self._failure(place, f"its response is no JSON: {_shown(response.text)}") from error
        try:
            return self._judge.answers(content, len(place))
        except ValueError as error:
            raise self._failure(place, f"{error}; its response: {_shown(response.text)}") from error

    def _failure(self, place: range, problem: str) -> ScoringFailure:
        rows = f"row {place.start}" if len(place) == 1 else f"rows {place.start} to {place.stop - 1}"
        if self._secret:  # a server may send back what it was sent
            problem = problem.replace(self._secret, "***")
        failure = ScoringFailure(f"judge {self._judge.url}, {rows}: {problem}")
        failure.row = place.start
        return failure


def _rows(batch: TextBatch) -> list[dict[str, Any]]:
    return [
        {
            "prompt": prompt,
            "completion": completion,
            "references": list(batch.references[index]) if batch.references else [],
            "metadata": dict(batch.metadata[index]) if batch.metadata else {},
        }
        for index, (prompt, completion) in enumerate(zip(batch.prompt_texts, batch.completion_texts, strict=True))
    ]


def _retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After asks for, as a number or as a date; None where there is none that can be read."""
    if header is None:
        return None
    try:
        return max(0.0, float(header)) if math.isfinite(float(header)) else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _status(response: Any) -> str:
    return f"status {response.status_code} {response.reason_phrase}".strip()


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _shown(text: str) -> str:
    short = " ".join(text.split())
    return repr(short if len(short) <= _SHOWN else short[:_SHOWN] + "…")
