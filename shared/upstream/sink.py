"""Delivers notifications to a CloudEvents sink over HTTP, in the binary mode of the HTTP protocol binding.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md

1. What is sent goes over TLS, or to this very machine. 2. No redirect is followed: the event is for the address that
the operator gave. 3. Nothing of the answer but its status is read. 4. Whoever waits, waits for some seconds in all,
however slowly the sink answers. 5. A sink that cannot be reached is left alone for a minute. 6. Of the address no more
than the host is ever told: its path may be what lets in.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from shared.errors import DmzError, Transient
from shared.upstream import http, public

PATIENCE = 10.0
"""Seconds for one notification."""
_SILENCE = 5.0
_REST = 60.0
# Section 3.1.3.2: what is not printable, and space, double quote and percent, are percent-encoded.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class HttpSink:
    """Sends one event after the other, each with its own connection: they are few."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self._url, self._patience = url, patience
        self._host = httpx.URL(url).host
        self._rests_until = 0.0

    def send(self, attributes: Mapping[str, str], body: bytes) -> None:
        """Returns when the sink has taken the event: a status of 200 to 299. Transient with what went wrong.

        `attributes`: of the CloudEvent, by their names; `body`: JSON.
        """
        if time.monotonic() < self._rests_until:  # 5
            raise Unanswered(f"The sink at {self._host} could not be reached a moment ago.")
        answer: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()
        work = threading.Thread(
            target=self._posted, args=(attributes, body, answer), name="notification", daemon=True
        )
        work.start()
        try:
            found = answer.get(timeout=self._patience)  # 4
        except queue.Empty:
            raise self._resting(f"does not answer within {self._patience:.0f} s") from None
        if isinstance(found, Exception):
            raise self._resting(f"cannot be reached ({type(found).__name__})") from None  # 6
        if not 200 <= found < 300:
            raise Transient(f"The sink at {self._host} answers with HTTP status {found}.")

    def _posted(self, attributes: Mapping[str, str], body: bytes, answer: Any) -> None:
        headers = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in attributes.items()}
        headers["content-type"] = "application/json"
        try:
            transport = public.PublicTransport(http.trust(), {public.origin(self._url)})
            with (
                httpx.Client(
                    transport=transport, timeout=_SILENCE, headers={"User-Agent": "package-dmz"}
                ) as client,
                client.stream(
                    "POST", self._url, headers=headers, content=body, follow_redirects=False
                ) as response,  # 2, 3
            ):
                answer.put(response.status_code)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, DmzError) as error:
            answer.put(error)

    def _resting(self, what: str) -> Unanswered:
        self._rests_until = time.monotonic() + _REST
        return Unanswered(f"The sink at {self._host} {what}.")


class Unanswered(Transient):
    """Nobody has answered: what else there is to send need not be tried now."""
