"""Upstreams that lie: what a web server may answer instead of the truth, to the stages alone."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.chain.world import from_stage
from tests.upstream.support import Reply, Request, Route, ranged

Spoil = Callable[[Request, Reply], Reply]


@dataclass
class Lie:
    """What becomes of the answers at `path`, from the stages' request number `since` on, `times` times."""

    path: str
    spoil: Spoil
    what: str
    since: int = 1
    times: int = 1 << 30
    asked: int = 0
    told: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def about(self, request: Request, reply: Reply) -> Reply:
        with self._guard:
            self.asked += 1
            if self.asked < self.since or self.told >= self.times:
                return reply
            self.told += 1
        return self.spoil(request, reply)


class Routes(dict[str, Route]):
    """The routes of a `Web`, and the lies that are told about them."""

    def __init__(self, truth: Mapping[str, Route]) -> None:
        super().__init__(truth)
        self.lies: list[Lie] = []

    def get(self, path: str, default: Route = None) -> Route:  # type: ignore[override,assignment]
        route = super().get(path, default)
        about = [lie for lie in self.lies if lie.path == path]
        if not about:
            return route

        def answer(request: Request) -> Reply:
            reply = route(request) if callable(route) else route
            for lie in about if from_stage(request) else ():
                reply = lie.about(request, reply)
            return reply

        return answer


# --- what is said ---


def _flipped(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(max(1, len(body)))
    return body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :] if body else b"x"


def _status(code: int, **headers: str) -> Spoil:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request, _reply: Reply(b"not now", code, "text/plain", named)


def _cut(after: int) -> Spoil:
    """More is announced than comes."""
    return lambda _request, reply: replace(reply, cut=min(after, max(0, len(reply.body) - 1)))


def _short(at: int) -> Spoil:
    """The beginning of the file, as if that were all of it."""
    return lambda _request, reply: replace(reply, body=reply.body[:at])


def _resumes(after: int, how: str, chance: random.Random) -> Spoil:
    """The first connection breaks; who asks for the rest is answered `how`."""
    other = random.Random(chance.random())  # noqa: S311 - to be repeated

    def answer(request: Request, reply: Reply) -> Reply:
        if reply.status != 200 or "range" not in request.headers:
            return _cut(after)(request, reply) if reply.status == 200 else reply
        rest, size = ranged(reply.body)(request), len(reply.body)
        start = size - len(rest.body)
        if how == "all":
            return reply
        if how == "elsewhere":
            return replace(rest, headers={"Content-Range": f"bytes {max(0, start - 1)}-{size - 1}/{size}"})
        if how == "of another":
            return replace(rest, headers={"Content-Range": f"bytes {start}-{size}/{size + 1}"})
        if how == "other bytes":
            return replace(rest, body=_flipped(rest.body, other))
        if how == "no":
            return Reply(b"", 416)
        return rest

    return answer


LIES: Mapping[str, Callable[[random.Random, int], Spoil]] = {
    "other bytes": lambda chance, _: lambda _r, reply: replace(reply, body=_flipped(reply.body, chance)),
    "short": lambda chance, size: _short(chance.randrange(max(1, size))),
    "more": lambda _chance, _: lambda _r, reply: replace(reply, body=reply.body + b"more"),
    "empty": lambda _chance, _: lambda _r, reply: replace(reply, body=b""),
    "two lengths": lambda _chance, _: (
        lambda _r, reply: replace(reply, headers={**reply.headers, "Content-Length": "7"})
    ),
    "announces more": lambda chance, size: _cut(chance.randrange(max(1, size))),
    "resumes": lambda chance, size: _resumes(chance.randrange(max(1, size)), "well", chance),
    "all for the rest": lambda chance, size: _resumes(chance.randrange(max(1, size)), "all", chance),
    "resumes elsewhere": lambda chance, size: _resumes(chance.randrange(max(1, size)), "elsewhere", chance),
    "resumes another": lambda chance, size: _resumes(chance.randrange(max(1, size)), "of another", chance),
    "resumes wrongly": lambda chance, size: _resumes(chance.randrange(max(1, size)), "other bytes", chance),
    "does not resume": lambda chance, size: _resumes(chance.randrange(max(1, size)), "no", chance),
    "busy": lambda chance, _: _status(chance.choice((429, 503)), Retry_After=str(chance.choice((1, 2)))),
    "broken": lambda chance, _: _status(chance.choice((500, 502, 504))),
    "gone": lambda chance, _: _status(chance.choice((404, 410))),
    "forbidden": lambda chance, _: _status(chance.choice((401, 403))),
}
"""By name: made for a file of so many bytes."""


def other_hash(page: bytes) -> bytes:
    """An index page on which every file has another hash."""
    return re.sub(
        rb"sha256=([0-9a-f])", lambda found: b"sha256=" + (b"1" if found[1] != b"1" else b"2"), page
    )


PAGES: Mapping[str, Spoil] = {
    "another hash": lambda _request, reply: replace(reply, body=other_hash(reply.body)),
    "nothing on it": lambda _request, reply: replace(reply, body=b"<!DOCTYPE html><html></html>"),
    "garbage": lambda _request, reply: replace(reply, body=b"\x00\xff<a href='/x'>" * 9),
    "half": lambda _request, reply: replace(reply, body=reply.body[: len(reply.body) // 2]),
    "gone": _status(404),
    "broken": _status(503),
}
"""What an index page may say instead."""
