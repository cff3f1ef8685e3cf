"""The cache of pinned inputs: checked on every call, filled in parallel, and the snapshot service behind it."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.errors import DmzError, Permanent, Transient
from shared.image import inputs
from shared.image.inputs import Cache
from shared.model.image import LockedInput
from tests.upstream.support import Reply, Web


def pinned(web: Web, data: bytes = b"content", name: str = "a_1_all.deb", **more: Any) -> LockedInput:
    fields: dict[str, Any] = {
        "role": "base",
        "name": name.partition("_")[0],
        "version": "1",
        "url": f"{web.url}/pool/{name}",
        "sha256": "sha256:" + hashlib.sha256(data).hexdigest(),
        "sha1": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "size": len(data),
    }
    return LockedInput(**{**fields, **more})


@pytest.fixture
def cache(web: Web, tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", snapshot=f"{web.url}/snapshot/")


def test_fetched_once_and_then_offline(web: Web, cache: Cache) -> None:
    wanted = pinned(web)
    web.routes["/pool/a_1_all.deb"] = Reply(b"content")
    path = cache.path(wanted)
    assert path.read_bytes() == b"content"
    web.routes.clear()
    assert cache.path(wanted) == path
    assert len(web.requests) == 1


@pytest.mark.parametrize("spoilt", [b"contenT", b"content and more", b"", b"con"])
def test_a_spoilt_entry_is_fetched_anew(spoilt: bytes, web: Web, cache: Cache) -> None:
    wanted = pinned(web)
    web.routes["/pool/a_1_all.deb"] = Reply(b"content")
    cache.path(wanted).write_bytes(spoilt)
    assert cache.path(wanted).read_bytes() == b"content"
    assert len(web.requests) == 2
    cache.path(wanted).write_bytes(spoilt)
    web.routes["/pool/a_1_all.deb"] = Reply(status=503)
    with pytest.raises(Transient):
        cache.path(wanted)


def test_what_left_the_pool_comes_from_the_snapshot_service(web: Web, cache: Cache) -> None:
    wanted = pinned(web)
    web.routes[f"/snapshot/file/{wanted.sha1}"] = Reply(b"content")
    assert cache.path(wanted).read_bytes() == b"content"
    assert [request.path for request in web.requests] == [
        "/pool/a_1_all.deb",
        f"/snapshot/file/{wanted.sha1}",
    ]


def test_what_the_pool_changed_comes_from_the_snapshot_service(web: Web, cache: Cache) -> None:
    wanted = pinned(web)
    web.routes["/pool/a_1_all.deb"] = Reply(b"CONTENT")
    web.routes[f"/snapshot/file/{wanted.sha1}"] = Reply(b"content")
    assert cache.path(wanted).read_bytes() == b"content"


def test_the_snapshot_service_is_not_trusted(web: Web, cache: Cache) -> None:
    """Its key is a SHA-1, for which two files can be made: the sha256 decides."""
    wanted = pinned(web)
    web.routes[f"/snapshot/file/{wanted.sha1}"] = Reply(b"CONTENT")
    with pytest.raises(Permanent, match=r"neither from the pool nor .*Lock the image again"):
        cache.path(wanted)
    assert not [path for path in cache.where.rglob("*") if path.is_file()]


def test_without_a_sha1_nobody_is_asked(web: Web, cache: Cache) -> None:
    with pytest.raises(Permanent, match="404"):
        cache.path(pinned(web, sha1="", role="jar"))
    assert len(web.requests) == 1


def test_a_pool_that_is_away_is_no_reason_to_ask_elsewhere(web: Web, cache: Cache) -> None:
    web.routes["/pool/a_1_all.deb"] = Reply(status=503)
    with pytest.raises(Transient):
        cache.path(pinned(web))
    assert {request.path for request in web.requests} == {"/pool/a_1_all.deb"}


def test_all_are_fetched_at_once_with_progress(web: Web, cache: Cache) -> None:
    wanted = [pinned(web, b"%d" % number, f"p{number}_1_all.deb") for number in range(20)]
    meeting = threading.Barrier(4, timeout=30)
    for number, each in enumerate(wanted):
        reply = Reply(b"%d" % number)

        def answer(_: object, reply: Reply = reply, number: int = number) -> Reply:
            if number < 4:
                meeting.wait()  # breaks unless four are under way together
            return reply

        web.routes[f"/pool/{each.filename}"] = answer
    seen: list[tuple[int, int, str]] = []
    cache.prefetch([*wanted, wanted[0]], lambda *said: seen.append(said))
    assert [done for done, _, _ in seen] == list(range(21))
    assert {total for _, total, _ in seen} == {20}
    assert {name for _, _, name in seen[1:]} == {each.name for each in wanted}
    web.routes.clear()
    cache.prefetch(wanted, lambda *said: seen.append(said))
    assert seen[-1] == (20, 20, "")
    assert [cache.path(each).read_bytes() for each in wanted] == [b"%d" % number for number in range(20)]


def test_one_failure_ends_the_prefetch(web: Web, cache: Cache) -> None:
    with pytest.raises(DmzError):
        cache.prefetch([pinned(web, b"1", "a_1_all.deb", sha1=""), pinned(web, b"2", "b_1_all.deb", sha1="")])


def test_one_input_asked_for_by_many_is_fetched_once(web: Web, cache: Cache) -> None:
    web.routes["/pool/a_1_all.deb"] = Reply(b"content")
    threads = [threading.Thread(target=cache.path, args=(pinned(web),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(web.requests) == 1


@pytest.mark.parametrize("name", ["../../x", "a/../../b", "%2e%2e", "x" * 300, "a b\n", ""])
def test_a_name_cannot_lead_elsewhere(name: str, cache: Cache) -> None:
    place = cache.place("sha256:" + "a" * 64, name)
    assert place.parent == cache.where / "aa"
    assert len(place.name) <= 170
    assert "/" not in place.name
    assert place.name.isprintable()


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache().where == tmp_path / "package-dmz/inputs"
    assert inputs.SNAPSHOT == "https://snapshot.debian.org"


def test_a_cache_that_cannot_be_written_is_one_sentence(web: Web, tmp_path: Path) -> None:
    web.routes["/pool/a_1_all.deb"] = Reply(b"content")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Permanent, match="cannot be written") as refused:
        Cache(tmp_path / "file/cache", snapshot=web.url).path(pinned(web))
    assert "snapshot" not in str(refused.value)
