"""How large the files of an index are, asked of their hosts: HEAD, and Content-Length (RFC 9110, section 8.6).

What a host says is a hint for the plan and nothing more: the file is counted and hashed when it comes. So nothing here
fails, and nothing takes long: whoever does not answer in time, or has nothing to say several times, is asked no more.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from shared.errors import DmzError
from shared.upstream import http

_SECONDS = 20.0
"""For all files together."""
_AT_ONCE = 16
"""Each connection costs more of the processor than the question that it carries."""
_TIMEOUT = 5.0
"""Seconds for one answer."""
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_MUTE = 8
"""Files of which a host said nothing, after which it is asked no more."""


class Sizes:
    """Asks of many files at once."""

    def __init__(self, client: httpx.Client, seconds: float = _SECONDS) -> None:
        self._client, self._seconds = client, seconds
        self._mute: Counter[str] = Counter()
        self._lock = threading.Lock()

    def of(self, urls: Sequence[str]) -> Mapping[str, int]:
        """Bytes by URL; what is not said in time is absent."""
        end = time.monotonic() + self._seconds
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sizes") as pool:
            found = pool.map(lambda url: self._one(url, end), urls)
            return {url: size for url, size in zip(urls, found, strict=True) if size is not None}

    def _one(self, url: str, end: float) -> int | None:
        host = url.partition("://")[2].partition("/")[0]
        if time.monotonic() > end or self._mute[host] >= _MUTE:
            return None
        size = self._said(url)
        if size is None:
            with self._lock:
                self._mute[host] += 1
        return size

    def _said(self, url: str) -> int | None:
        # Compressed in transit, it would be the length of something else.
        headers = {"Accept-Encoding": "identity"}
        try:
            with http.stream(self._client, url, headers, method="HEAD", seconds=_TIMEOUT) as answer:
                answer.read()  # there is nothing to read; but then the connection serves again
                length = answer.headers.get("content-length", "")
                known = answer.status_code == 200 and _LENGTH.fullmatch(length)
                return int(length) if known else None
        except (httpx.HTTPError, httpx.InvalidURL, DmzError):
            return None
