"""Google's upload protocols on the wire, and the multipart reader below them."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.emulators.registry.body import Body
from shared.emulators.registry.multipart import Multipart, boundary
from shared.emulators.registry.problems import Problem
from tests.emulators.registry.support import (
    PROJECT,
    READER,
    WRITER,
    Registry,
    finished,
    related,
    repository,
    upload_generic,
)

COLLECTION = f"{repository('files')}/genericArtifacts:create"
METADATA = {"packageId": "archive", "versionId": "1.0", "filename": "a.bin"}
FILE = f"/v1/{repository('files')}/files/archive:1.0:a.bin"


def begin(client: httpx.Client, prefix: str = "/resumable/upload/v1/") -> str:
    answer = client.post(f"{prefix}{COLLECTION}", params={"uploadType": "resumable"}, json=METADATA)
    assert answer.status_code == 200
    return answer.headers["Location"]


def download(client: httpx.Client) -> httpx.Response:
    return client.get(f"{FILE}:download", params={"alt": "media"})


def test_resumable_in_chunks_with_a_lost_one(registry: Registry) -> None:
    client = registry.client(WRITER)
    content = os.urandom(700_000)
    session = begin(client)
    asked = client.put(session, headers={"Content-Range": "bytes */700000"})
    assert (asked.status_code, asked.headers.get("Range")) == (308, None)
    one = client.put(session, content=content[:300_000], headers={"Content-Range": "bytes 0-299999/700000"})
    assert (one.status_code, one.headers["Range"]) == (308, "bytes=0-299999")
    gap = client.put(
        session, content=content[400_000:], headers={"Content-Range": "bytes 400000-699999/700000"}
    )
    assert gap.status_code == 400
    # The client did not see the first answer and sends part of the chunk again.
    two = client.put(
        session, content=content[200_000:500_000], headers={"Content-Range": "bytes 200000-499999/*"}
    )
    assert (two.status_code, two.headers["Range"]) == (308, "bytes=0-499999")
    assert client.get(FILE).status_code == 404
    last = client.put(
        session, content=content[500_000:], headers={"Content-Range": "bytes 500000-699999/700000"}
    )
    assert "response" in finished(client, last)
    assert download(client).content == content
    assert client.put(session, headers={"Content-Range": "bytes */700000"}).status_code == 404


def test_resumable_in_one_request_and_cancelled(registry: Registry) -> None:
    client = registry.client(WRITER)
    cancelled = begin(client, "/upload/v1/")
    assert client.delete(cancelled).status_code == 204
    assert client.put(cancelled, content=b"x").status_code == 404
    assert "response" in finished(client, client.put(begin(client), content=b"all at once"))
    assert download(client).content == b"all at once"


def test_a_session_belongs_to_its_target_and_needs_the_role(registry: Registry) -> None:
    session = begin(registry.client(WRITER))
    assert registry.client(READER).put(session, content=b"x").status_code == 403
    assert registry.client(None).put(session, content=b"x").status_code == 401
    elsewhere = session.replace("/files/genericArtifacts", "/trixie/aptArtifacts")
    assert registry.client(WRITER).put(elsewhere, content=b"x").status_code == 404


def test_the_session_is_at_the_name_that_the_client_used(registry: Registry) -> None:
    client = registry.client(WRITER)
    answer = client.post(
        f"/upload/v1/{COLLECTION}",
        params={"uploadType": "resumable"},
        json=METADATA,
        headers={"Host": "artifactregistry.googleapis.com"},
    )
    assert answer.headers["Location"].startswith(
        "https://artifactregistry.googleapis.com/upload/v1/projects/"
    )


def test_a_chunked_body_of_unknown_length(registry: Registry) -> None:
    client = registry.client(WRITER)
    pieces = [os.urandom(size) for size in (1, 70_000, 3, 300_000)]
    answer = client.post(
        f"/upload/v1/{COLLECTION}",
        params={"uploadType": "multipart"},
        content=iter([related(METADATA, b"".join(pieces))[:50], related(METADATA, b"".join(pieces))[50:]]),
        headers={"Content-Type": "multipart/related; boundary=mark"},
    )
    assert "Transfer-Encoding" in answer.request.headers
    assert "response" in finished(client, answer)
    assert download(client).content == b"".join(pieces)


@pytest.mark.parametrize(
    "changes",
    [
        {"packageId": "-a"},
        {"packageId": ""},
        {"packageId": "a" * 257},
        {"versionId": "1.0+b"},
        {"versionId": "latest"},
        {"versionId": "UPPER"},
        {"filename": "../a"},
        {"filename": "a//b"},
        {"filename": "/a"},
        {"filename": "a b"},
        {"filename": 3},
    ],
)
def test_ids_that_the_page_forbids(registry: Registry, changes: dict[str, Any]) -> None:
    client = registry.client(WRITER)
    answer = client.post(
        f"/upload/v1/{COLLECTION}",
        params={"uploadType": "multipart"},
        content=related({**METADATA, **changes}, b"x"),
        headers={"Content-Type": "multipart/related; boundary=mark"},
    )
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert client.get(f"/v1/{repository('files')}/files").json() == {}


def test_an_existing_generic_file_is_kept(registry: Registry) -> None:
    client = registry.client(WRITER)
    assert "response" in upload_generic(client, "archive", "1.0", "a.bin", b"first")
    error = upload_generic(client, "archive", "1.0", "a.bin", b"second")["error"]
    assert error["code"] == 6
    assert "already exists" in error["message"]
    assert download(client).content == b"first"
    assert "response" in upload_generic(client, "archive", "1.0", "b.bin", b"another file of the version")


@pytest.mark.parametrize(
    ("query", "headers", "content"),
    [
        ({}, {}, b""),
        ({"uploadType": "other"}, {}, b""),
        ({"uploadType": "multipart"}, {"Content-Type": "text/plain"}, b"x"),
        ({"uploadType": "multipart"}, {"Content-Type": "multipart/related; boundary=mark"}, b"no boundary"),
        ({"uploadType": "multipart"}, {"Content-Type": "multipart/related; boundary=mark"}, b"--mark--"),
        (
            {"uploadType": "multipart"},
            {"Content-Type": "multipart/related; boundary=mark"},
            related(METADATA, b"x")[:-4],
        ),
        (
            {"uploadType": "multipart"},
            {"Content-Type": "multipart/related; boundary=mark"},
            b"--mark\r\n\r\n{}\r\n--mark--",
        ),
        (
            {"uploadType": "multipart"},
            {"Content-Type": "multipart/related; boundary=mark"},
            b"--mark\r\n\r\n[]\r\n--mark--",
        ),
        ({"uploadType": "resumable"}, {}, b"{"),
    ],
)
def test_malformed_uploads(
    registry: Registry, query: dict[str, str], headers: dict[str, str], content: bytes
) -> None:
    client = registry.client(WRITER)
    answer = client.post(f"/upload/v1/{COLLECTION}", params=query, headers=headers, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert registry.app
    assert not list(registry.app.store.blobs._staging.iterdir())


def test_a_repository_of_another_format(registry: Registry) -> None:
    client = registry.client(WRITER)
    wrong = f"/upload/v1/{repository('trixie')}/genericArtifacts:create"
    answer = client.post(wrong, params={"uploadType": "media"}, content=b"x")
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert client.post(f"/{PROJECT}/trixie/", content=b"x").status_code == 404


class Pieces:
    """A socket file that gives out `content` in pieces of `size` bytes."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = content, size

    def read1(self, size: int, /) -> bytes:
        count = min(size, self._size)
        piece, self._content = self._content[:count], self._content[count:]
        return piece

    def readline(self, _size: int, /) -> bytes:
        raise AssertionError("not chunked")


_tricky = st.lists(
    st.sampled_from([b"\r\n", b"--", b"mark", b"\n--mar", b"\r\n--mar", b"\r", b"\n", b"x" * 40])
)


@given(
    parts=st.lists(_tricky.map(b"".join), min_size=1, max_size=4), size=st.integers(1, 60), crlf=st.booleans()
)
def test_parts_come_out_as_they_went_in(parts: list[bytes], size: int, crlf: bool) -> None:
    """Whatever the network cuts, and however close a content comes to the boundary."""
    newline = b"\r\n" if crlf else b"\n"
    mark = newline + b"--mark"
    parts = [part.replace(b"\n--mark", b"") for part in parts]
    whole = b"".join(mark + newline + b"X-Number: 1" + newline * 2 + part for part in parts) + mark + b"--"
    whole = whole[len(newline) :]
    multipart = Multipart(Body(Pieces(whole, size), len(whole), False), b"mark")
    seen = [(headers["X-Number"], multipart.text(1 << 20)) for headers in multipart.parts()]
    assert seen == [("1", part) for part in parts]


def test_boundaries_of_real_clients() -> None:
    assert boundary("multipart/form-data; boundary=abc") == b"abc"
    assert boundary('multipart/form-data; boundary="a b"') == b"a b"
    assert boundary("multipart/related; boundary='===12=='") == b"===12=="
    for wrong in ("", "text/plain; boundary=a", "multipart/form-data", 'multipart/form-data; boundary=""'):
        with pytest.raises(Problem):
            boundary(wrong)


def test_ranges(registry: Registry) -> None:
    client = registry.client(WRITER)
    content = os.urandom(1000)
    upload_generic(client, "archive", "1.0", "a.bin", content)
    for header, code, expected in [
        ("bytes=0-9", 206, content[:10]),
        ("bytes=990-2000", 206, content[990:]),
        ("bytes=-10", 206, content[-10:]),
        ("bytes=500-", 206, content[500:]),
        ("bytes=9-1", 200, content),
        ("bytes=0-1,5-6", 200, content),
        ("lines=1-2", 200, content),
    ]:
        answer = client.get(f"{FILE}:download", params={"alt": "media"}, headers={"Range": header})
        assert (answer.status_code, answer.content) == (code, expected), header
        if code == 206:
            start, _, rest = answer.headers["Content-Range"].removeprefix("bytes ").partition("-")
            assert content[int(start) : int(rest.split("/")[0]) + 1] == expected
    beyond = client.get(f"{FILE}:download", params={"alt": "media"}, headers={"Range": "bytes=1000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */1000")
    head = client.head(f"{FILE}:download", params={"alt": "media"})
    assert (head.headers["Content-Length"], head.content) == ("1000", b"")


def test_errors_are_shaped_as_googles(registry: Registry) -> None:
    answer = registry.client(READER).post(
        f"/upload/v1/{COLLECTION}", params={"uploadType": "media"}, content=b"x" * 5_000_000
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (403, 403, "PERMISSION_DENIED")
    assert error["message"].startswith(
        "Permission 'artifactregistry.repositories.uploadArtifacts' denied on resource "
    )
    assert json.loads(answer.content) == {"error": error}
    assert registry.client(READER).get("/v1/nowhere").json()["error"]["status"] == "NOT_FOUND"
    assert hashlib.sha256(answer.content).hexdigest()
