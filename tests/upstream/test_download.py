"""Downloads by hash over loopback: whole and right, or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared import patience
from shared.errors import Permanent, Transient
from shared.ports.upstream import Larger
from shared.upstream import download, public
from shared.upstream.download import Downloader
from tests.support.pauses import noted
from tests.upstream.support import Reply, Request, Web, digest, ranged

CONTENT = random.Random(1).randbytes(300_000)  # noqa: S311 - test data, repeatable


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    to = tmp_path / "new" / "folder" / "f"
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), to) == len(CONTENT)
    assert to.read_bytes() == CONTENT
    assert only(to.parent) == ["f"]


def test_more_than_there_is_room_for_is_never_written(web: Web, tmp_path: Path) -> None:
    """Known from its length before the first byte; else as soon as it is seen."""
    web.routes["/f"] = Reply(CONTENT)
    written: list[int] = []

    def watched(self: Any, chunk: bytes) -> None:
        honest(self, chunk)
        written.append(self.size)

    honest = download._Part._append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download._Part, "_append", watched)
        with pytest.raises(Larger) as said:
            Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", room=len(CONTENT) - 1)
        assert (said.value.size, written) == (len(CONTENT), [])
        web.routes["/f"] = Reply(
            CONTENT, headers={"Content-Length": "", "Connection": "close"}, cut=len(CONTENT)
        )
        with pytest.raises(Larger) as said:
            Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", room=100_000)
        assert said.value.size > 100_000 >= max(written, default=0)
    assert only(tmp_path) == []
    to = tmp_path / "f"
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), to, room=len(CONTENT)) == len(CONTENT)


def test_no_file_is_larger_than_the_largest(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    with pytest.raises(Permanent, match="sends more than 100 bytes, which is refused as too large") as said:
        Downloader(max_size=100).fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", room=50)
    assert not isinstance(said.value, Larger)


def test_an_empty_file_arrives(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(b"")
    assert Downloader().fetch(f"{web.url}/f", digest(b""), tmp_path / "f") == 0


def test_other_content_leaves_nothing_behind(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT[:-1] + b"!")
    (tmp_path / "f").write_bytes(b"what was there")
    with pytest.raises(Permanent, match="not the expected"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert only(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"what was there"


def test_a_broken_connection_is_resumed(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = ranged(CONTENT, first_cut=100_000)
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)
    first, second = web.asked("/f")
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 100_000


def test_a_connection_that_keeps_breaking_may_go_on_while_it_gets_further(web: Web, tmp_path: Path) -> None:
    def piecemeal(request: Request) -> Reply:
        whole = ranged(CONTENT)(request)
        return Reply(whole.body, whole.status, headers=whole.headers, cut=40_000)

    web.routes["/f"] = piecemeal
    assert Downloader(attempts=2).fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)
    assert len(web.asked("/f")) >= len(CONTENT) // 40_000


def test_what_was_sent_before_the_break_counts_for_the_hash(web: Web, tmp_path: Path) -> None:
    def lies(request: Request) -> Reply:
        if "range" not in request.headers:
            return Reply(b"\x00" * len(CONTENT), cut=100_000)
        return ranged(CONTENT)(request)

    web.routes["/f"] = lies
    with pytest.raises(Permanent, match="not the expected"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert only(tmp_path) == []


def test_a_server_without_ranges_starts_anew(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = lambda request: Reply(CONTENT, cut=100_000 if request.number == 1 else None)
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)


@pytest.mark.parametrize("span", ["bytes 5-9/10", "", "bytes */10", "bytes x-y/z"])
def test_a_resumption_elsewhere_starts_anew(web: Web, tmp_path: Path, span: str) -> None:
    def elsewhere(request: Request) -> Reply:
        if request.number == 1:
            return Reply(CONTENT, cut=100_000)
        if "range" in request.headers:
            return Reply(CONTENT[:50], 206, headers={"Content-Range": span})
        return Reply(CONTENT)

    web.routes["/f"] = elsewhere
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_two_halves_of_two_states_are_fetched_anew_in_one(web: Web, tmp_path: Path) -> None:
    before = b"\x00" * len(CONTENT)

    def moves_on(request: Request) -> Reply:
        return Reply(before, cut=100_000) if request.number == 1 else ranged(CONTENT)(request)

    web.routes["/f"] = moves_on
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)
    assert ["range" in each.headers for each in web.asked("/f")] == [False, True, False]


def test_a_whole_that_is_wrong_is_not_fetched_again(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(b"\x00" * len(CONTENT))
    with pytest.raises(Permanent, match="not the expected"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert len(web.asked("/f")) == 1


@pytest.mark.parametrize(("etag", "sent"), [('"one"', '"one"'), ('W/"one"', None), ("", None)])
def test_what_is_resumed_is_asked_for_by_its_strong_name(
    web: Web, tmp_path: Path, etag: str, sent: str | None
) -> None:
    def named(request: Request) -> Reply:
        whole = ranged(CONTENT, first_cut=100_000)(request)
        return Reply(whole.body, whole.status, headers={**whole.headers, "ETag": etag}, cut=whole.cut)

    web.routes["/f"] = named
    Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert [each.headers.get("if-range") for each in web.asked("/f")] == [None, sent]


@pytest.mark.parametrize("told", ["etag", "length"])
def test_a_resumption_of_another_file_starts_anew_at_once(web: Web, tmp_path: Path, told: str) -> None:
    """A server that ignores If-Range: what it says of the rest shows that it is the rest of something else."""

    def other(request: Request) -> Reply:
        whole = ranged(CONTENT, first_cut=100_000)(request)
        headers = {**whole.headers, "ETag": '"one"'}
        if whole.status == 206 and told == "etag":
            headers["ETag"] = '"two"'
        elif whole.status == 206:
            headers["Content-Range"] = headers["Content-Range"].replace(f"/{len(CONTENT)}", "/9999999")
        return Reply(whole.body, whole.status, headers=headers, cut=whole.cut)

    web.routes["/f"] = other
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)
    assert ["range" in each.headers for each in web.asked("/f")] == [False, True, False]


def test_a_file_that_shrank_starts_anew(web: Web, tmp_path: Path) -> None:
    short = CONTENT[:1000]

    def shrinks(request: Request) -> Reply:
        if request.number == 1:
            return Reply(CONTENT, cut=100_000)
        return Reply(status=416) if "range" in request.headers else Reply(short)

    web.routes["/f"] = shrinks
    assert Downloader().fetch(f"{web.url}/f", digest(short), tmp_path / "f") == 1000


def test_a_server_that_always_breaks_is_transient(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT, cut=0)
    with pytest.raises(Transient, match="cannot be reached or broke off"):
        Downloader(attempts=3).fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert len(web.asked("/f")) == 3
    assert only(tmp_path) == []


def test_a_server_that_is_not_there_is_transient(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="cannot be reached"):
        Downloader(attempts=2).fetch("http://127.0.0.1:9/f", digest(b""), tmp_path / "f")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(web: Web, tmp_path: Path, status: int) -> None:
    web.routes["/f"] = lambda request: Reply(status=status) if request.number < 3 else Reply(CONTENT)
    assert Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f") == len(CONTENT)


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = noted(monkeypatch)
    web.routes["/f"] = lambda request: (
        Reply(status=503, headers={"Retry-After": "9"}) if request.number == 1 else Reply(CONTENT)
    )
    Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert [pause > 9 for pause in pauses] == [True]
    web.routes["/g"] = Reply(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(Transient, match=r"asks to be left alone for 3600 s\.$"):
        Downloader().fetch(f"{web.url}/g", digest(CONTENT), tmp_path / "g")
    assert len(web.asked("/g")) == 1


def test_a_server_that_gives_a_little_and_asks_for_rest_has_one_budget_for_the_file(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = noted(monkeypatch)

    def grudging(request: Request) -> Reply:
        if request.number % 4:
            return Reply(status=503, headers={"Retry-After": "17"})
        whole = ranged(CONTENT)(request)
        return Reply(whole.body, whole.status, headers=whole.headers, cut=1000)

    web.routes["/f"] = grudging
    with pytest.raises(Transient, match=r"asks to be left alone for 17 s\.$"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert 60 < sum(pauses) <= 120


@pytest.mark.parametrize("status", [401, 403, 404, 204])
def test_a_refusal_is_permanent_and_asked_once(web: Web, tmp_path: Path, status: int) -> None:
    web.routes["/f"] = Reply(status=status)
    with pytest.raises(Permanent, match=f"HTTP status {status}"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert len(web.asked("/f")) == 1
    assert only(tmp_path) == []


def test_too_much_is_refused_before_it_fills_the_disk(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    with pytest.raises(Permanent, match="too large"):
        Downloader(max_size=len(CONTENT) - 1).fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert only(tmp_path) == []


def test_a_compressed_transfer_is_not_asked_for(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert web.requests[0].headers["accept-encoding"] == "identity"


def test_a_full_disk_is_a_sentence(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.routes["/f"] = Reply(CONTENT)

    def full(self: object, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download._Part, "_append", full)
    with pytest.raises(Transient, match="no space left"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert only(tmp_path) == []


def test_a_place_that_cannot_be_written_is_a_sentence(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Permanent, match="cannot be written"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "file" / "f")


def test_many_at_once(web: Web, tmp_path: Path) -> None:
    bodies = {f"/f{number}": CONTENT[number * 1000 :] for number in range(100)}
    web.routes.update({path: Reply(body) for path, body in bodies.items()})
    downloader = Downloader()
    with ThreadPoolExecutor(32) as pool:
        sizes = pool.map(
            lambda item: downloader.fetch(f"{web.url}{item[0]}", digest(item[1]), tmp_path / item[0][1:]),
            bodies.items(),
        )
        assert list(sizes) == [len(body) for body in bodies.values()]


@pytest.mark.parametrize("promised", [1, len(CONTENT) - 1])
def test_more_than_promised_is_refused(web: Web, tmp_path: Path, promised: int) -> None:
    web.routes["/f"] = Reply(CONTENT)
    with pytest.raises(Permanent, match=f"more than {promised} bytes"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", size=promised)
    assert only(tmp_path) == []


def test_less_than_promised_is_refused(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    with pytest.raises(Permanent, match=f"has {len(CONTENT)} bytes and not the expected {len(CONTENT) + 1}"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", size=len(CONTENT) + 1)
    assert only(tmp_path) == []


def test_what_was_promised_arrives(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    got = Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", size=len(CONTENT))
    assert got == len(CONTENT)


def test_a_promise_of_too_much_is_refused_before_anybody_is_asked(web: Web, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="is said to have 1001 bytes"):
        Downloader(max_size=1000).fetch(f"{web.url}/f", digest(b""), tmp_path / "f", size=1001)
    assert web.requests == []


def test_a_server_that_drips_is_left(tmp_path: Path) -> None:
    with Dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x") as server:
        begun = time.monotonic()
        with pytest.raises(Permanent, match="too slow"):
            Downloader(patience=0.3).fetch(f"{server.url}/f", digest(CONTENT), tmp_path / "f")
        assert time.monotonic() - begun < 3
    assert only(tmp_path) == []


def test_a_server_that_drips_its_headers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "PATIENCE", 0.3)
    with Dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x") as server:
        downloads = Downloader(attempts=2, trusted=[public.origin(server.url)])
        begun = time.monotonic()
        with pytest.raises(Transient, match="next to nothing"):
            downloads.fetch(f"{server.url}/f", digest(CONTENT), tmp_path / "f", by_workload=True)
        assert time.monotonic() - begun < 3


class Dripping:
    """A server that says `head` and then `drop` for ever, thirty times a second."""

    def __init__(self, head: bytes, drop: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve, args=(head, drop)) for _ in range(2)]

    def _serve(self, head: bytes, drop: bytes) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError), self._socket.accept()[0] as connection:
                connection.sendall(head)
                while not self._ended.wait(0.03):
                    connection.sendall(drop)

    def __enter__(self) -> Dripping:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._socket.close()
