"""Calls of one web service for one question: tried again within bounds, and ended when its time is over.

1. What may pass by itself is tried again: no connection, 429, 5xx, an answer that is not what was asked for.
2. Between tries lies a random time up to a doubling bound (so that many instances do not come back at once), or what
   `Retry-After` asks for (RFC 9110, 10.2.3) if the question has so much time left.
3. What will not pass (400, 404 and the like) is said at once.
4. After its time is over, or many calls in a row failed for good, a question makes no more calls; no answer is read
   beyond its bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import Any, TypeVar

import httpx
import orjson

from shared.errors import Permanent, Transient
from shared.model.value import printable

TRIES = 5
PATIENCE = 150.0
"""Seconds that a question may take, so that the event behind it is done within the 600 s of a push."""
_FIRST, _LONGEST = 1.0, 30.0
_IN_A_ROW = 20
_MOST = 128 * 1024 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True)
class Waiting:
    """How time passes."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = SystemRandom().random
    """From 0 to 1."""


class Refused(Permanent):
    """The service understands no such question, or does not answer this asker."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _Postponed(Exception):
    """It may pass by itself."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why, self.after = why, after
        """What happened, as a verb; seconds that the service asks to wait."""


class Calls:
    """Calls of the service at `url`, in any number of threads."""

    def __init__(self, client: httpx.Client, url: str, what: str, waiting: Waiting) -> None:
        self._client, self._url, self._what, self._waiting = client, url, what, waiting
        self._until = waiting.now() + PATIENCE
        self._failed = 0  # in a row; threads may miscount it by a few

    def json(self, method: str, path: str, read: Callable[[Any], _T], body: Any = None) -> _T:
        """What `read` makes of the answer; it raises ValueError if that is not what was asked for.

        Refused if the service refuses the question itself, Transient if it gave no answer in time.
        """
        url = self._url + path
        for tries in range(TRIES):
            if self._waiting.now() >= self._until or self._failed >= _IN_A_ROW:  # 4
                raise Transient(
                    f"{self._what} at {url} was not asked: it did not answer others: try again later."
                )
            try:
                answer = read(self._once(method, url, body))
            except ValueError as error:
                postponed = _Postponed(f"answered something else than was asked ({error})")
            except _Postponed as error:
                postponed = error
            else:
                self._failed = 0
                return answer
            bound = min(_LONGEST, _FIRST * 2**tries) * self._waiting.chance()  # 2
            pause = bound if postponed.after is None else max(bound, postponed.after)
            if tries == TRIES - 1 or self._waiting.now() + pause >= self._until:
                break
            self._waiting.sleep(pause)
        self._failed += 1
        raise Transient(f"{self._what} at {url} {postponed.why}: try again later.")

    def _once(self, method: str, url: str, body: Any) -> Any:
        content = None if body is None else orjson.dumps(body)
        try:
            with self._client.stream(method, url, content=content) as response:
                parts, size = [], 0
                for chunk in response.iter_bytes():
                    parts.append(chunk)
                    size += len(chunk)
                    if size > _MOST:
                        raise _Postponed(f"sends more than {_MOST} bytes")
                data = b"".join(parts)
        except httpx.HTTPError as error:  # 1
            raise _Postponed(f"cannot be reached ({type(error).__name__}: {error})") from error
        status = response.status_code
        if status == 429 or status >= 500:
            raise _Postponed(f"answered HTTP {status}", _after(response.headers.get("Retry-After", "")))
        if status != 200:  # 3
            text = printable(" ".join(data[:1000].decode("utf-8", "replace").split()), 200)
            said = f"{self._what} at {url} refuses the question with HTTP {status}: {text or '-'}"
            raise Refused(said, status)
        return orjson.loads(data)


def _after(header: str) -> float | None:
    """Seconds, from a number of them or a date."""
    if header.isascii() and header.isdigit():
        return float(header[:6])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    return None
