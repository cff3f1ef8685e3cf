"""Calls of Google's clients over HTTP: what may go wrong there beyond what `shared.gcp.errors` knows.

1. A connection that breaks, or an answer that cannot be read, as somebody in between gives it, may pass.
2. What the service asks for with Retry-After (https://google.aip.dev/194) reaches whoever tries again.
3. A token that is not taken may have ended before it was said to, because clocks differ: that may pass. The client has
   tried a new one already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import requests
from google.api_core import exceptions
from google.protobuf import json_format

from shared import patience
from shared.errors import Transient
from shared.gcp.errors import translated, words


@contextmanager
def over_http(what: str) -> Iterator[None]:
    """As `translated`, for a client whose transport is REST."""
    with translated(what):
        try:
            yield
        except (requests.RequestException, json_format.ParseError) as error:  # 1
            raise Transient(f"{what} broke off: {words(error)}") from error
        except (exceptions.TooManyRequests, exceptions.ServerError, exceptions.Unauthorized) as error:  # 2, 3
            headers = getattr(error.response, "headers", None) or {}
            sentence = f"{what} did not succeed for now: {words(error)}"
            raise patience.passing(sentence, headers.get("retry-after")) from error


def operation(said: Any, what: str) -> dict[str, Any]:
    """A long-running operation as it is (https://google.aip.dev/151). Transient if `said` is none (1)."""
    if isinstance(said, dict) and isinstance(said.get("error") or {}, dict):
        return said
    raise Transient(f"{what} is answered with what is no operation.")


def document(answer: httpx.Response) -> Any:
    """The JSON of an answer; None if it holds none."""
    try:
        return answer.json()
    except ValueError:
        return None
