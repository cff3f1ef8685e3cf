"""One blob to a registry: not at all if it is there, else whole, and resumed where a connection broke.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs.
1. The file is what the manifest says before a byte of it leaves.
2. After a broken connection the registry is asked first whether it has the blob, then how far it has come; only what it
   has not is sent. A registry that cannot say, or that takes no chunks, begins anew.
3. The registry checks the whole against the digest at the end.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.errors import Permanent, Transient
from shared.image.registry_wire import Answer, Wire

_PIECE = 1 << 18
_SMALL = 1 << 20
"""Bytes up to which a blob goes in the request that ends its upload."""
_ROUNDS = 40
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)
_STREAM = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Blob:
    """A file of a layout. Size in bytes."""

    digest: str
    size: int
    path: Path


def upload(wire: Wire, blob: Blob, chunk: int, attempts: int, sent: Callable[[int], None]) -> bool:
    """False if the registry had the blob already. `chunk`: bytes a request carries at most, 0 for no limit.

    `attempts` rounds without progress end it. `sent` is told how many bytes of the blob are on their way.
    """
    if _is_there(wire, blob):
        return False
    _check_file(blob)  # 1
    under_way = _Upload(wire, blob, chunk, sent)
    idle = 0
    for _ in range(_ROUNDS):
        before = under_way.furthest
        try:
            under_way.proceed()
        except Transient:
            idle = 0 if under_way.furthest > before else idle + 1
            if idle >= attempts:
                raise
            time.sleep(random.uniform(0.5, 1.0) * min(0.2 * 2**idle, 10.0))  # noqa: S311 - spreads retries
            if _is_there(wire, blob):  # 2: only the answer was lost
                return True
        else:
            return True
    raise Transient(
        f"Pushing {blob.digest} broke off {_ROUNDS} times; run it again, it goes on where it stopped."
    )


def _is_there(wire: Wire, blob: Blob) -> bool:
    what = f"Looking for {blob.digest}"
    answer = wire.ask("HEAD", wire.url(f"blobs/{blob.digest}"), what, tolerated=(404,))
    if answer.status == 404:
        return False
    said = answer.headers.get("content-length", str(blob.size))
    if said != str(blob.size):
        raise Permanent(
            f"The registry holds {blob.digest} with {said[:20]} bytes, but it has {blob.size}: its copy is damaged."
        )
    return True


def _check_file(blob: Blob) -> None:
    with blob.path.open("rb") as file:
        found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if (found, size) != (blob.digest, blob.size):
        raise Permanent(
            f"{blob.path} holds {found} of {size} bytes and not what its name and the manifest say; build the image "
            "again."
        )


class _Upload:
    """An upload session, or several if the registry forgets them."""

    def __init__(self, wire: Wire, blob: Blob, chunk: int, sent: Callable[[int], None]) -> None:
        self._wire = wire
        self._blob = blob
        self._is_chunked = chunk > 0
        self._chunk = chunk or max(blob.size, 1)
        self._sent = sent
        self._location: httpx.URL | None = None
        self._offset = 0
        self._is_resumed = False
        self.furthest = 0
        """Bytes that a registry has confirmed, in whichever session."""

    def proceed(self) -> None:
        """Send what is missing. Transient if the connection breaks: call it again."""
        if self._location is not None:
            self._ask()
        if self._location is None:
            self._begin()
        size = self._blob.size
        if size > _SMALL:
            while self._offset < size:
                self._patch(min(self._chunk, size - self._offset))
        self._finish()

    def _begin(self) -> None:
        answer = self._wire.ask("POST", self._wire.url("blobs/uploads/"), f"Pushing {self._blob.digest}")
        self._location, self._offset = self._wire.located(answer), 0
        self._is_resumed = False

    def _ask(self) -> None:
        """How far the session has come; without a usable answer, a new one."""
        location, self._location = self._location, None
        if not self._is_chunked:
            return
        assert location is not None  # noqa: S101 - for the type checker: proceed() has looked
        what = f"Asking how much of {self._blob.digest} has arrived"
        answer = self._wire.ask("GET", location, what, tolerated=(400, 404, 405, 416))
        found = _RANGE.fullmatch(answer.headers.get("range", ""))
        # `0-0` is said of one byte and of none: then a new session is as good.
        if answer.status not in (202, 204) or found is None or not 0 < int(found[1]) < self._blob.size:
            return
        # Some registries say it without the session's newest address.
        self._location = self._wire.located(answer) if "location" in answer.headers else location
        self._is_resumed = True
        self._confirm(int(found[1]) + 1)

    def _patch(self, count: int) -> None:
        first, location = self._offset, self._location
        assert location is not None  # noqa: S101 - as above
        headers = {
            **_STREAM,
            "Content-Length": str(count),
            "Content-Range": f"{first}-{first + count - 1}",
        }
        answer = self._send("PATCH", location, headers, first, count)
        self._location = self._wire.located(answer)
        self._confirm(first + count)

    def _finish(self) -> None:
        assert self._location is not None  # noqa: S101 - as above
        url = self._location.copy_merge_params({"digest": self._blob.digest})
        left = self._blob.size - self._offset
        headers = {**_STREAM, "Content-Length": str(left)}
        self._send("PUT", url, headers, self._offset, left)
        self._confirm(self._blob.size)

    def _send(self, method: str, url: httpx.URL, headers: dict[str, str], first: int, count: int) -> Answer:
        """A part of the blob. The session of a request that broke off may end after it was asked about: begin anew."""
        what = f"Pushing {self._blob.digest}"
        refusals = (400, 404, 416) if self._is_resumed else ()
        answer = self._wire.send(method, url, what, headers, self._bytes(first, count), refusals)
        if answer.status in refusals:
            self._location = None
            raise Transient(f"{what}: the registry does not go on where it stopped; beginning anew.")
        return answer

    def _confirm(self, offset: int) -> None:
        self._offset = offset
        self.furthest = max(self.furthest, offset)
        self._sent(self.furthest)

    def _bytes(self, first: int, count: int) -> Iterator[bytes]:
        with self._blob.path.open("rb") as file:
            file.seek(first)
            while count and (data := file.read(min(count, _PIECE))):
                if self._wire.client.is_ended:
                    raise Transient("Another blob failed.")
                count -= len(data)
                yield data
                self._sent(file.tell())
