"""Index pages: both formats, and what a hostile or broken one may not do."""

from __future__ import annotations

import json

import pytest

from shared.errors import Permanent
from shared.ports.upstream import IndexFile
from shared.upstream import simple_page
from shared.upstream.simple_page import HTML, JSON, parse

A, B = "a" * 64, "b" * 64
URL = "https://index.example/simple/demo/"


def html(body: str, head: str = "") -> bytes:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>".encode()


def page(*files: dict[str, object], name: str = "demo", version: str = "1.1") -> bytes:
    return json.dumps({"meta": {"api-version": version}, "name": name, "files": files}).encode()


def entry(**changes: object) -> dict[str, object]:
    return {
        "filename": "demo-1.0-py3-none-any.whl",
        "url": "https://files.example/demo-1.0-py3-none-any.whl",
        "hashes": {"sha256": A},
        **changes,
    }


def test_html() -> None:
    body = (
        f'<a href="../../files/demo-1.0.tar.gz#sha256={A}" data-requires-python="&gt;=3.8">demo-1.0.tar.gz</a>'
        f'<a href="https://files.example/demo-1.0-py3-none-any.whl#sha256={B}" data-yanked="broken">x</a>'
    )
    assert parse("demo", URL, "text/html", html(body)) == (
        IndexFile(
            "demo-1.0.tar.gz", "https://index.example/files/demo-1.0.tar.gz", f"sha256:{A}", ">=3.8", False
        ),
        IndexFile(
            "demo-1.0-py3-none-any.whl",
            "https://files.example/demo-1.0-py3-none-any.whl",
            f"sha256:{B}",
            "",
            True,
            yank_reason="broken",
        ),
    )


def test_html_base_and_percent_escapes() -> None:
    body = f'<a href="demo-1.0%2Bcpu-py3-none-any.whl#sha256={A}">x</a>'
    (file,) = parse("demo", URL, HTML, html(body, '<base href="https://files.example/f/">'))
    assert file.filename == "demo-1.0+cpu-py3-none-any.whl"
    assert file.url == "https://files.example/f/demo-1.0%2Bcpu-py3-none-any.whl"


def test_json() -> None:
    body = page(
        entry(**{"requires-python": ">=3.9", "yanked": "bad"}), entry(url="../f/demo-1.0.zip", yanked=False)
    )
    first, second = parse("demo", URL, JSON, body)
    assert (first.requires_python, first.yanked, first.sha256) == (">=3.9", True, f"sha256:{A}")
    assert (second.url, second.yanked) == ("https://index.example/simple/f/demo-1.0.zip", False)


def test_an_empty_project_has_no_files() -> None:
    assert parse("demo", URL, JSON, page()) == ()
    assert parse("demo", URL, "text/html", html("")) == ()


@pytest.mark.parametrize(
    "spoiled",
    [
        entry(url="http://files.example/demo-1.0.tar.gz"),
        entry(url="file:///etc/passwd"),
        entry(url="https:///nohost"),
        entry(url="https://user@files.example/x.whl"),
        entry(url="https://files.example/a b.whl"),
        entry(hashes={"md5": "0" * 32}),
        entry(hashes={"sha256": "z" * 64}),
        entry(hashes={"sha256": None}),
        entry(filename="../demo-1.0.tar.gz"),
        entry(filename="demo\n1.0.tar.gz"),
        entry(filename=7),
        "no mapping",
    ],
)
def test_a_file_that_cannot_be_relied_on_is_left_out(spoiled: dict[str, object]) -> None:
    assert [file.sha256 for file in parse("demo", URL, JSON, page(spoiled, entry()))] == [f"sha256:{A}"]


@pytest.mark.parametrize(
    "spoiled",
    [
        b'{"filename": "\xff\xfe"}',
        b'{"filename": "demo-1.0.zip", "url": "\xff"}',
        b'{"filename": ' + b"[" * 500 + b"]" * 500 + b"}",
        b"[]",
        b"null",
    ],
)
def test_an_entry_that_cannot_be_read_is_left_out(spoiled: bytes) -> None:
    body = page("spoiled", entry()).replace(b'"spoiled"', spoiled)
    listing = simple_page.listing("demo", URL, JSON, body)
    assert [file.sha256 for file in listing.files()] == [f"sha256:{A}"]
    assert [listing.filename(each) for each in listing.entries][1] == entry()["filename"]


def test_an_index_on_loopback_may_serve_files_without_tls() -> None:
    (file,) = parse("demo", "http://127.0.0.1:80/simple/demo/", JSON, page(entry(url="/f/demo-1.0.zip")))
    assert file.url == "http://127.0.0.1:80/f/demo-1.0.zip"


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("application/pdf", b"%PDF", "neither PEP 691 JSON nor HTML"),
        ("", html(""), "neither PEP 691 JSON nor HTML"),
        ("text/html", b"\x00\x01\x02 not a page", "says that it is HTML but holds none"),
        ("text/html", html("", '<meta name="pypi:repository-version" content="2.0">'), "not version 1"),
        ("text/html", html('<a href="x">x</a>', '<base href="http://[x">'), "is not HTML"),
        ("text/html", html("<a " * 100_000), "is not HTML"),
        ("text/html", html('<a href="demo-1.0.tar.gz">x</a>'), "none with a sha256"),
        (JSON, b"{", "not PEP 691 JSON"),
        (JSON, b"[]", "not PEP 691 JSON"),
        (JSON, b'{"files": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not PEP 691 JSON"),
        (JSON, page()[:-1] + b', "files": null}', "not PEP 691 JSON"),
        (JSON, page() + b"{}", "not PEP 691 JSON"),
        (JSON, page().replace(b"[]", b"[" + b"1," * 2_000_001 + b"1]"), "refused as too large"),
        (JSON, page(version="2.0"), "not version 1"),
        (JSON, page(name="other"), "for project 'demo'"),
        (JSON, page(entry(hashes={})), "none with a sha256"),
    ],
)
def test_a_page_that_is_none_is_refused(kind: str, body: bytes, words: str) -> None:
    with pytest.raises(Permanent, match=words):
        parse("demo", URL, kind, body)


@pytest.mark.parametrize(
    ("said", "uploaded"),
    [
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05", ""),
        ("2026-W01", ""),
        (1767323045, ""),
        (None, ""),
    ],
)
def test_upload_times(said: object, uploaded: str) -> None:
    (file,) = parse("demo", URL, JSON, page(entry(**{"upload-time": said})))
    assert file.uploaded == uploaded


@pytest.mark.parametrize(
    ("said", "reason"), [("bad\nfile", "bad\nfile"), (True, ""), ("", ""), ("x" * 9999, "x" * 500)]
)
def test_reasons_of_yanks(said: object, reason: str) -> None:
    (file,) = parse("demo", URL, JSON, page(entry(yanked=said)))
    assert (file.yanked, file.yank_reason) == (True, reason)


@pytest.mark.parametrize(
    ("said", "metadata"),
    [
        ({"sha256": "B" * 64}, B),
        ({"md5": "0"}, ""),
        (True, ""),
        (False, None),
        (None, None),
        ({"sha256": 7}, ""),
    ],
)
def test_metadata_beside_a_file(said: object, metadata: str | None) -> None:
    (file,) = parse("demo", URL, JSON, page(entry(**{"core-metadata": said})))
    assert file.metadata == metadata
    (older,) = parse("demo", URL, JSON, page(entry(**{"dist-info-metadata": said})))
    assert older.metadata == metadata


def test_metadata_and_upload_time_in_html() -> None:
    body = (
        f'<a href="/f/demo-1.0.tar.gz#sha256={A}" data-upload-time="2026-01-02T03:04:05Z">x</a>'
        f'<a href="/f/demo-1.1-py3-none-any.whl#sha256={A}" data-core-metadata="sha256={B}">x</a>'
        f'<a href="/f/demo-1.2-py3-none-any.whl#sha256={A}" data-dist-info-metadata="true">x</a>'
    )
    files = parse("demo", URL, "text/html", html(body))
    assert [(file.uploaded, file.metadata) for file in files] == [
        ("2026-01-02T03:04:05Z", None),
        ("", B),
        ("", ""),
    ]
