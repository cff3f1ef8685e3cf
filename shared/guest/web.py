"""HTTP with the standard library: retries, hashes on the way, the system's trust store."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.guest.failure import GuestError

_CHUNK = 1 << 20
_FINAL = {400, 403, 404, 405, 409, 410, 413, 422}


class _SafeRedirect(urllib.request.HTTPRedirectHandler):
    """Follows to https only, and takes no token along to another host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise GuestError(f"{req.full_url} redirects to {newurl[:200]}, which is not https.")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urllib.parse.urlsplit(newurl).netloc != req.host:
            new.remove_header("Authorization")
        return new


# No proxies: the repositories, metadata and Pub/Sub are reached directly or not at all.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SafeRedirect)


def request(
    url: str,
    headers: Mapping[str, str] | None = None,
    data: bytes | None = None,
    *,
    patience: float = 60,
    timeout: float = 30,
) -> bytes:
    """The body of the answer to GET, or to POST if there is `data`.

    What may pass (no connection, 429, 5xx) is tried again with growing pauses for `patience` seconds; GuestError then,
    and at once for an answer that another try cannot change.
    """
    end, pause = time.monotonic() + patience, 0.5
    while True:
        try:
            with _open(url, headers, data, timeout) as answer:
                return bytes(answer.read())
        except (OSError, http.client.HTTPException) as error:
            problem, final = _explain(error)
        if final or time.monotonic() + pause > end:
            raise GuestError(f"{_host(url)} did not give {_path(url)}: {problem}.")
        time.sleep(pause)
        pause = min(pause * 2, 20)


def download(
    url: str, to: Path, headers: Mapping[str, str] | None = None, *, patience: float = 60
) -> tuple[str, int]:
    """Fetch `url` to the file `to`; its sha256 (`sha256:<hex>`) and size. The file appears when it is whole."""
    end, pause = time.monotonic() + patience, 0.5
    partial = to.with_name(to.name + ".partial")
    to.parent.mkdir(parents=True, exist_ok=True)
    while True:
        digest, size = hashlib.sha256(), 0
        try:
            with _open(url, headers, None, 60) as answer, partial.open("wb") as file:
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    size += file.write(chunk)
                expected = answer.headers.get("Content-Length")
            if expected is not None and int(expected) != size:
                raise http.client.IncompleteRead(b"", int(expected) - size)
            partial.replace(to)
        except (OSError, http.client.HTTPException) as error:
            partial.unlink(missing_ok=True)
            problem, final = _explain(error)
        else:
            return "sha256:" + digest.hexdigest(), size
        if final or time.monotonic() + pause > end:
            raise GuestError(f"{_host(url)} did not give {_path(url)}: {problem}.")
        time.sleep(pause)
        pause = min(pause * 2, 20)


def _open(url: str, headers: Mapping[str, str] | None, data: bytes | None, timeout: float) -> Any:
    message = urllib.request.Request(url, data=data, headers=dict(headers or {}))  # noqa: S310 - see callers
    return _OPENER.open(message, timeout=timeout)


def _explain(error: Exception) -> tuple[str, bool]:
    """(what happened, whether another try is useless)."""
    if isinstance(error, urllib.error.HTTPError):
        body = error.read(300).decode("utf-8", "replace")
        return f"HTTP {error.code} {error.reason} {' '.join(body.split())}".rstrip(), error.code in _FINAL
    if isinstance(error, urllib.error.URLError):
        return str(error.reason), False
    return str(error) or type(error).__name__, False


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def _path(url: str) -> str:
    return urllib.parse.urlsplit(url).path[:200] or "/"
