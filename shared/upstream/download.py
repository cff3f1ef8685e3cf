"""Fetches files by hash: streamed, resumed, and in place only when whole and right.

1. The bytes go to a temporary file beside the destination; it gets its name by an atomic rename, or is removed.
2. The sha256 covers every byte from the first, whatever the number of connections that brought them.
3. More bytes than were promised, than `max_size`, or than there is room for, are refused as soon as they are seen;
   fewer at the end.
4. A resumed answer must continue exactly where the last one broke (206 and its Content-Range), and be of the same
   file by its ETag and length, as far as the server tells them (RFC 9110, section 13.1.5); else all starts anew. Two
   halves that do not make the expected whole are fetched anew once, in one state: a mirror moves on between two reads.
5. A server that drips is left: each file has `patience` seconds and the time that SLOWEST takes, one hour at most.
6. A URL that a workload names leads to the public internet alone (`public`).
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import IO

import httpx

from shared import patience
from shared.errors import DmzError, Permanent, Transient
from shared.model.value import Digest
from shared.ports.upstream import Gone, Larger
from shared.upstream import http, public

MAX_SIZE = 16 * 1024**3
_ROUNDS = 20
_PAUSES = 2 * patience.BUDGET
"""Seconds of pauses for one file: enough for every round of a connection that keeps breaking."""
_LONGEST = 3600.0
"""Seconds: a request to a service ends then (https://cloud.google.com/run/docs/configuring/request-timeout)."""
_BUFFER = 1 << 19
"""Bytes that are written and hashed together: what comes off the wire in 64 KiB makes threads wait for one another."""
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", re.ASCII)


class Downloader:
    """`Downloads` over HTTP, for as many threads at once as the pool has connections."""

    def __init__(
        self,
        client: httpx.Client | None = None,
        max_size: int = MAX_SIZE,
        attempts: int = 5,
        trusted: Collection[public.Origin] = (),
        patience: float = public.PATIENCE,
    ) -> None:
        """`max_size` in bytes; `attempts` without progress end a download, with growing random pauses between.

        `trusted`: the operator's own servers, which may be anywhere. `patience` in seconds.
        """
        self._client = client or http.client()
        self._max_size = max_size
        self._attempts = attempts
        self._trusted = trusted
        self._patience = patience

    @cached_property
    def _public(self) -> httpx.Client:
        return http.client(transport=public.PublicTransport(http.trust(), self._trusted))

    def fetch(
        self,
        url: str,
        sha256: Digest,
        to: Path,
        size: int | None = None,
        by_workload: bool = False,
        room: int | None = None,
    ) -> int:
        """Write the content of `url` to `to` and return its size in bytes.

        `size`: what was promised, in bytes. `by_workload`: the URL is no index's and no mirror's, but was named by
        whoever wrote the workload, or by a VM. `room`: no byte more is written. Gone if it is not there; Larger if it
        has more bytes than `room`; Permanent if the content has another hash or size, is too large or comes too slowly,
        if the URL does not lead to the public internet although it must, or if the disk is full or closed to us;
        Transient if the source cannot be reached.
        """
        if size is not None and size > self._max_size:  # 3
            raise Permanent(f"{url} is said to have {size} bytes, which is refused as too large.")
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".part-", dir=to.parent)
        except OSError as error:
            raise _disk(error, to) from error
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                limit = self._max_size if size is None else size
                client = self._public if by_workload else self._client  # 6
                part = _Part(client, url, file, limit, self._patience, room)
                pauses = patience.Budget(_PAUSES)
                self._complete(part, pauses)
                if part.pieced and part.digest != sha256:  # 4
                    part.restart()
                    self._complete(part, pauses)
            if size is not None and part.size != size:  # 3
                raise Permanent(
                    f"{url} has {part.size} bytes and not the expected {size}; nothing of it was kept."
                )
            if part.digest != sha256:  # 2
                raise Permanent(
                    f"{url} has the content {part.digest} and not the expected {sha256}; nothing of it was kept."
                )
            Path(temporary).replace(to)  # 1
        except OSError as error:
            raise _disk(error, to) from error
        else:
            return part.size
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _complete(self, part: _Part, pauses: patience.Budget) -> None:
        """A connection that keeps breaking may go on as long as each round of attempts brings the file further."""
        for _ in range(_ROUNDS - 1):
            before = part.size
            try:
                return patience.persist(part.proceed, self._attempts, pauses)
            except Transient:
                if part.size <= before or pauses.is_spent:
                    raise
        return patience.persist(part.proceed, self._attempts, pauses)


class _Part:
    """The part of one file that has arrived so far."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        file: IO[bytes],
        max_size: int,
        patience: float,
        room: int | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._file = file
        self._max_size = max_size
        self._patience = patience
        self._room = room
        self._begun = time.monotonic()
        self.restart()

    def restart(self) -> None:
        """Forget what has arrived."""
        self.size = 0
        self.pieced = False
        self._etag = ""
        self._total = ""
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._file.seek(0)
        self._file.truncate()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def proceed(self) -> None:
        """Fetch what is still missing; Transient if the connection breaks before the end."""
        # Compressed in transit, a file could be neither resumed nor compared with its hash.
        headers = {"Accept-Encoding": "identity"}
        if self.size:
            headers["Range"] = f"bytes={self.size}-"
            if self._etag:
                headers["If-Range"] = self._etag
        try:
            with http.stream(self._client, self._url, headers) as response:
                self._check(response)
                try:
                    for chunk in response.iter_raw():
                        self._append(chunk)
                finally:
                    self._flush()  # whatever broke off, what has arrived is there to go on from
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Permanent(f"{self._url} cannot be fetched: {error}.") from error
        except httpx.HTTPError as error:
            raise Transient(
                f"{self._url} cannot be reached or broke off after {self.size} bytes: {error or type(error).__name__}."
            ) from error

    def _check(self, response: httpx.Response) -> None:
        if self.size and response.status_code == 206:
            start = _RANGE.fullmatch(response.headers.get("content-range", ""))
            if start is None or int(start[1]) != self.size or self._changed(response, start[2]):  # 4
                self.restart()
                raise Transient(
                    f"{self._url} resumes at another place than where it broke off, or another file; starting anew."
                )
            self.pieced = True
            return
        if self.size and response.status_code in (200, 416):
            self.restart()  # 4
            if response.status_code == 416:
                raise Transient(f"{self._url} does not resume after a broken connection; starting anew.")
        if response.status_code in (404, 410):
            raise Gone(f"{self._url} answers with HTTP status {response.status_code}: the file is not there.")
        http.check_status(response.status_code, self._url, response.headers)
        if response.status_code != 200:
            raise Permanent(f"{self._url} answers with HTTP status {response.status_code} instead of a file.")

        etag = response.headers.get("etag", "")
        self._etag = (
            "" if etag.startswith("W/") else etag
        )  # a weak one does not say that the bytes are the same
        self._total = response.headers.get("content-length", "")
        if self._total.isdecimal():
            self._fits(int(self._total))

    def _fits(self, size: int) -> None:  # 3
        if size > self._max_size:
            raise Permanent(
                f"{self._url} sends more than {self._max_size} bytes, which is refused as too large."
            )
        if self._room is not None and size > self._room:
            raise Larger(f"{self._url} has {size} bytes; there was room for {self._room}.", size)

    def _changed(self, response: httpx.Response, total: str) -> bool:
        """True if the server says that this is not the file whose beginning is here."""
        etag = response.headers.get("etag", "")
        lengths = {self._total, total} - {"", "*"}
        return len(lengths) > 1 or bool(self._etag and etag and etag != self._etag)

    def _append(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._fits(self.size)
        seconds = time.monotonic() - self._begun
        if seconds > min(self._patience + self.size / public.SLOWEST, _LONGEST):  # 5
            raise Permanent(
                f"{self._url} sent {self.size} bytes in {seconds:.0f} s, which is too slow; try again later, or take "
                "another source."
            )
        self._waiting += chunk
        if len(self._waiting) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        view = memoryview(waiting)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(waiting)


def _disk(error: OSError, to: Path) -> DmzError:
    if error.errno in patience.FULL:  # other files beside this one go, and leave their room
        return Transient(f"There is no space left on the disk for {to}.")
    return Permanent(f"{to} cannot be written: {error.strerror or error}.")
