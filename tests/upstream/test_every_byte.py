"""A download that breaks at any byte, from a server that goes on well, badly or not at all: whole, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared import patience
from shared.errors import DmzError, Permanent
from shared.upstream.download import Downloader
from tests.upstream.support import Reply, Request, Route, Web, digest, ranged

CONTENT = bytes(range(8))
OTHER = bytes(reversed(CONTENT))
BYTES = range(len(CONTENT) + 1)
"""After how many the connection dies: none, some, all."""
Going = Callable[[bytes, Request], Reply]
"""What the server answers to whoever asks for the rest."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))


def _spans(rest: Reply, start: int, size: int) -> Reply:
    return Reply(rest.body, 206, headers={"Content-Range": f"bytes {start}-{size - 1}/{size}"})


def well(content: bytes, request: Request) -> Reply:
    return ranged(content)(request)


def ignored(content: bytes, _request: Request) -> Reply:
    """200 for a Range: the whole file (RFC 9110, section 14.2)."""
    return Reply(content)


def refused(_content: bytes, _request: Request) -> Reply:
    return Reply(status=416)


def elsewhere(content: bytes, request: Request) -> Reply:
    """One byte early, and it says so."""
    rest = ranged(content)(request)
    start = len(content) - len(rest.body) - 1
    return _spans(Reply(content[start:]), start, len(content))


def shifted(content: bytes, request: Request) -> Reply:
    """One byte early, and it says that it were not."""
    rest = ranged(content)(request)
    start = len(content) - len(rest.body)
    return _spans(Reply(content[start - 1 : -1]), start, len(content))


def longer(content: bytes, request: Request) -> Reply:
    """The rest of a file that is longer."""
    rest = ranged(content + b"more")(request)
    return rest


def unnamed(content: bytes, request: Request) -> Reply:
    """206 without a word of where."""
    return Reply(ranged(content)(request).body, 206)


def again(content: bytes, request: Request) -> Reply:
    """It breaks again after one more byte, each time."""
    rest = ranged(content)(request)
    return Reply(rest.body, 206, headers=rest.headers, cut=1)


GOINGS: tuple[Going, ...] = (well, ignored, refused, elsewhere, shifted, longer, unnamed, again)


def breaking(after: int, content: bytes, goes_on: Going, times: int = 1) -> Route:
    """The first `times` whole answers break off `after` so many bytes."""
    broken = 0

    def answer(request: Request) -> Reply:
        nonlocal broken
        if "range" in request.headers:
            return goes_on(content, request)
        broken += 1
        return Reply(content, cut=after if broken <= times else None)

    return answer


def outcome(downloads: Downloader, url: str, to: Path) -> bytes | DmzError:
    try:
        downloads.fetch(url, digest(CONTENT), to)
    except DmzError as error:
        return error
    return to.read_bytes()


@pytest.mark.parametrize("goes_on", GOINGS, ids=lambda going: going.__name__)
def test_a_connection_that_dies_at_each_byte(web: Web, tmp_path: Path, goes_on: Going) -> None:
    """Whatever the server makes of the rest, the file arrives whole: by that rest, or from the beginning."""
    downloads = Downloader()
    for after in BYTES:
        path = f"/{after}"
        web.routes[path] = breaking(after, CONTENT, goes_on)
        to = tmp_path / str(after)
        assert downloads.fetch(f"{web.url}{path}", digest(CONTENT), to) == len(CONTENT)
        assert to.read_bytes() == CONTENT
        asked = web.asked(path)
        # All its bytes were there before the connection died: nothing is asked for again.
        assert len(asked) == 1 if after == len(CONTENT) else len(asked) > 1
        if 0 < after < len(CONTENT):
            assert asked[1].headers["range"] == f"bytes={after}-"
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path / str(after) for after in BYTES)


@pytest.mark.parametrize("goes_on", GOINGS, ids=lambda going: going.__name__)
def test_a_liar_is_found_out_wherever_the_connection_dies(web: Web, tmp_path: Path, goes_on: Going) -> None:
    """Other bytes of the same length, in one piece or in two, are never taken for the file; nor are the two mixed."""
    downloads = Downloader(attempts=3)
    for after in BYTES:
        liar = breaking(after, OTHER, goes_on)
        turncoat = breaking(after, CONTENT, lambda _truth, request: goes_on(OTHER, request), times=9)
        for number, route in enumerate((liar, turncoat)):
            path = f"/{after}-{number}"
            web.routes[path] = route
            to = tmp_path / str(number)
            found = outcome(downloads, f"{web.url}{path}", to)
            if isinstance(found, DmzError):
                assert str(found).startswith(f"{web.url}{path} ")
            else:
                assert (found, number) == (CONTENT, 1), "a liar has been believed"
                to.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_early_is_never_taken_for_the_whole(web: Web, tmp_path: Path) -> None:
    """200, with a length that agrees: only the hash knows."""
    for size in range(len(CONTENT)):
        web.routes[f"/{size}"] = Reply(CONTENT[:size])
        with pytest.raises(Permanent, match="and not the expected"):
            Downloader().fetch(f"{web.url}/{size}", digest(CONTENT), tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_told_twice_is_no_length(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT, headers={"Content-Length": "7"})
    with pytest.raises(
        DmzError, match=r"/f (cannot be reached or broke off|has the content .* and not the expected)"
    ):
        Downloader(attempts=2).fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
