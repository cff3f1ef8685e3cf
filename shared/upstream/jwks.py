"""The issuer's key set, fetched when it is needed and no more often than that.

1. Keys are fresh as long as the answer's Cache-Control says (RFC 9111, section 4.2), but at least MIN_FRESH and at most
   MAX_FRESH; DEFAULT_FRESH without a word about it.
2. A key id that is not there may be a new key, so the set is fetched again; but no more than once in MIN_INTERVAL,
   since anybody can send a token with any key id.
3. If fetching fails, stale keys serve on for MAX_STALE and then no longer: a withdrawn key must end.
4. A set that is not exactly what shared.appraisal.keys reads changes nothing.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from shared.appraisal.keys import JWKS_URL, MAX_JWKS, TrustedKeys, read_jwks
from shared.errors import DmzError, Permanent, Transient
from shared.model.value import printable
from shared.upstream import http

MIN_FRESH, DEFAULT_FRESH, MAX_FRESH = 60.0, 300.0, 86_400.0
MIN_INTERVAL = 60.0
MAX_STALE = 3600.0
"""All in seconds."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,10})\"?\s*(?:,|$)", re.IGNORECASE)
_NEVER = re.compile(r"(?:^|[\s,])(no-store|no-cache)\s*(?:[,=]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class _Kept:
    keys: TrustedKeys
    fresh_until: float

    @property
    def ends(self) -> float:
        return self.fresh_until + MAX_STALE


class JwksClient:
    """Keys of one issuer, for any number of threads; one fetches while the others wait for it."""

    def __init__(
        self, client: httpx.Client, url: str = JWKS_URL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parsed = httpx.URL(url)
        if parsed.scheme != "https" and parsed.host not in _LOOPBACK:
            raise Permanent(
                f"The key set's address {printable(url, 200)} must be https: it is believed as it comes."
            )
        self._client = client
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._asked: float | None = None

    def keys(self, kid: str = "") -> TrustedKeys:
        """The issuer's keys, with the one named `kid` if the issuer has it. Transient if there are none to be had."""
        with self._lock:
            now, kept = self._clock(), self._kept
            lately = self._asked is not None and now - self._asked < MIN_INTERVAL
            if kept and now < kept.fresh_until and (not kid or kid in kept.keys.by_kid or lately):
                return kept.keys
            if lately and not kept:
                raise Transient(
                    f"The key set at {self._url} could not be had a moment ago; it is not asked again yet."
                )
            if not lately:
                self._asked = now
                try:
                    self._kept = kept = self._fetch(now)
                except DmzError as error:
                    if kept is None or now >= kept.ends:
                        raise Transient(
                            f"There are no current keys to appraise tokens with: {error}"
                        ) from error
            if kept is None or now >= kept.ends:  # 3
                raise Transient(f"The keys from {self._url} are too old, and no newer ones could be had.")
            return kept.keys

    def _fetch(self, now: float) -> _Kept:
        answer = http.get(self._client, self._url, MAX_JWKS, "application/json", attempts=2)
        if answer is None:
            raise Permanent(f"There is no key set at {self._url}; check the address.")
        return _Kept(read_jwks(answer.body, f"The key set at {self._url}"), now + freshness(answer.headers))


def freshness(headers: Mapping[str, str]) -> float:
    """Seconds for which an answer may be used without asking again; `headers` have names in lower case."""
    control = headers.get("cache-control", "")
    if _NEVER.search(control):
        return MIN_FRESH
    found = _MAX_AGE.search(control)
    if not found:
        return DEFAULT_FRESH
    age = headers.get("age", "0").strip()
    seconds = float(found[1]) - (float(age) if age.isascii() and age.isdigit() and len(age) < 11 else 0.0)
    return min(max(seconds, MIN_FRESH), MAX_FRESH)
