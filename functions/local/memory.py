"""The platform without Google's emulators, seen from outside: its process, and clients of it."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from functions.local.children import Program
from functions.local.layout import CHECKOUT
from functions.local.ports import answers
from shared.errors import Permanent, Transient
from shared.model.value import Digest
from shared.ports.store import Document, Put, Write

ADDRESS = "DMZ_MEMORY"
"""Environment variable of the command line: HOST:PORT of the twins."""


def program(port: int, console: int, environment: Mapping[str, str]) -> Program:
    """The twins, the stages and the console in one process, which is not restarted: it holds everything in memory."""
    return Program(
        name="the in-memory broker",
        log="memory",
        command=(sys.executable, "-P", "-m", "functions.local.twins", str(port), str(console)),
        ready=lambda: answers(port),
        environment={"PYTHONPATH": os.fspath(CHECKOUT), **environment},
        restart=False,
    )


class TwinStore:
    """The operator's part of the store."""

    def __init__(self, address: str) -> None:
        self._base = f"http://{address}"

    def get(self, collection: str, id: str) -> Document | None:
        found: Document | None = _answer(
            "GET", f"{self._base}/documents/{quote(collection)}/{quote(id, safe='')}"
        )
        return found

    def find(self, collection: str, field: str, equals: object) -> Sequence[tuple[str, Document]]:
        query = {"field": field, "equals": str(equals)}
        return [
            (name, fields)
            for name, fields in _answer("GET", f"{self._base}/documents/{quote(collection)}", params=query)
        ]

    def put(self, writes: Sequence[Write]) -> None:
        content = []
        for write in writes:
            assert isinstance(write, Put)  # noqa: S101 - an operator creates and counts nothing
            content.append(
                {
                    "collection": write.collection,
                    "id": write.id,
                    "fields": dict(write.fields),
                    "merge": write.merge,
                }
            )
        _answer("POST", f"{self._base}/documents", json={"writes": content})


class TwinBlobs:
    """The operator's part of the blobs."""

    def __init__(self, address: str) -> None:
        self._base = f"http://{address}"

    def get(self, digest: Digest) -> bytes:
        return base64.b64decode(_answer("GET", f"{self._base}/blobs/{quote(digest, safe='')}"))


def _answer(method: str, url: str, **content: Any) -> Any:
    try:
        answer = httpx.request(method, url, timeout=10, trust_env=False, **content)
    except httpx.HTTPError as error:
        raise Transient(f"The in-memory store does not answer: {error}.") from error
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise Transient(str(answer.json()["error"]))
    if answer.status_code != httpx.codes.OK:
        raise Permanent(str(answer.json()["error"]))
    return answer.json()
