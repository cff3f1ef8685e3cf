"""What hosts say of their files' sizes: a hint, which costs little and never fails."""

from __future__ import annotations

import pytest

from shared.upstream import http, sizes
from shared.upstream.sizes import Sizes
from tests.upstream.support import Reply, Request, Web


def asked(web: Web, *paths: str) -> dict[str, int]:
    with http.client() as client:
        found = Sizes(client).of([web.url + path for path in paths])
    return {url.removeprefix(web.url): size for url, size in found.items()}


def test_a_host_says_how_large_its_files_are(web: Web) -> None:
    for number in range(100):
        web.routes[f"/{number}"] = Reply(b"x" * number)
    paths = [f"/{number}" for number in range(100)]
    assert asked(web, *paths) == {path: number for number, path in enumerate(paths)}
    assert all(each.headers["accept-encoding"] == "identity" for each in web.requests)


def test_a_redirect_is_followed_where_a_download_would_follow_it(web: Web) -> None:
    web.routes["/there"] = Reply(b"four")
    web.routes["/here"] = Reply(status=302, headers={"Location": "/there"})
    web.routes["/away"] = Reply(status=302, headers={"Location": "http://169.254.169.254/x"})
    web.routes["/round"] = Reply(status=302, headers={"Location": "/round"})
    assert asked(web, "/here", "/away", "/round") == {"/here": 4}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"not here", 404),
        Reply(b"", 501),
        Reply(b"", 206, headers={"Content-Length": "7"}),
        Reply(headers={"Content-Length": "1" * 16}),
        Reply(headers={"Transfer-Encoding": "chunked", "Content-Length": ""}),
    ],
    ids=["gone", "no HEAD", "a part", "a number for nobody", "none"],
)
def test_who_says_nothing_is_no_trouble(web: Web, reply: Reply) -> None:
    web.routes["/mute"], web.routes["/known"] = reply, Reply(b"12345")
    assert asked(web, "/mute", "/known") == {"/known": 5}
    assert asked(web) == {}


def test_nobody_there_is_no_trouble(web: Web) -> None:
    web.close()
    assert asked(web, "/a", "/b") == {}


def test_a_host_that_says_nothing_several_times_is_asked_no_more(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "_AT_ONCE", 4)
    asked(web, *(f"/{number}" for number in range(300)))
    assert sizes._MUTE <= len(web.requests) < sizes._MUTE + 4


def test_the_time_for_all_has_an_end(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def slow(_: Request) -> Reply:
        now[0] += 7
        return Reply(b"x")

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(sizes, "time", Clock)
    monkeypatch.setattr(sizes, "_AT_ONCE", 1)
    web.routes |= {f"/{number}": slow for number in range(9)}
    assert sorted(asked(web, *web.routes)) == ["/0", "/1", "/2"]
