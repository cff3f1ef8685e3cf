"""A page read by version is the page read as a whole, and says no less than it when it is not one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from packaging.version import Version

from shared.errors import Permanent
from shared.ports.upstream import IndexFile
from shared.upstream import simple_page
from shared.upstream.page import Page, of_version
from shared.upstream.simple_page import HTML, JSON

URL = "https://index.example/simple/demo/"
A = "a" * 64
NAMES = (
    "demo-1.0-py3-none-any.whl",
    "demo-1.0.0-2-py3-none-any.whl",
    "demo-1.0.post1-py3-none-any.whl",
    "demo-1.0.tar.gz",
    "demo-1.0.zip",
    "demo-v1.0.tar.gz",
    "demo-1!1.0.tar.gz",
    "demo-1.0+cpu-py3-none-any.whl",
    "demo-1.0.win32-py2.4.exe",
    "demo-odd-1.0.tar.gz",
    "demo-1.0-broken.whl",
    "demo.whl",
    "1.0.whl",
    "demo-2.0-py3-none-any.whl",
    "demo-2.0rc1.tar.gz",
    "demo-nonsense.tar.gz",
)
VERSIONS = ("1.0", "1.0.post1", "1!1.0", "1.0+cpu", "2.0", "2.0rc1", "3.0")


def as_json(*names: str, hashes: object = None) -> tuple[str, bytes]:
    files = [{"filename": each, "url": f"/f/{each}", "hashes": hashes or {"sha256": A}} for each in names]
    return JSON, json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files}).encode()


def as_html(*names: str, hashes: object = None) -> tuple[str, bytes]:
    anchors = "".join(f'<a href="/f/{each}#{hashes or "sha256=" + A}">{each}</a>' for each in names)
    return HTML, f"<!DOCTYPE html><html><body>{anchors}</body></html>".encode()


def as_parsed_html(*names: str, hashes: object = None) -> tuple[str, bytes]:
    """A comment makes the parser read all of it."""
    kind, body = as_html(*names, hashes=hashes)
    return kind, body.replace(b"<body>", b"<body><!-- -->")


Format = Callable[..., tuple[str, bytes]]
FORMATS = pytest.mark.parametrize("written", [as_json, as_html, as_parsed_html])


@FORMATS
@pytest.mark.parametrize("hinted", [(), ("1.0", "3.0"), VERSIONS])
def test_a_version_has_the_files_that_the_whole_page_has_of_it(
    written: Format, hinted: tuple[str, ...]
) -> None:
    kind, body = written(*NAMES)
    whole = simple_page.parse("demo", URL, kind, body)
    page = Page("demo", URL, kind, body, map(Version, hinted))
    for text in VERSIONS:
        assert list(page.of_version(Version(text))) == list(of_version(whole, Version(text))), text
    assert [file.filename for file in page.of_version(Version("1.0"))] == [
        "demo-1.0-py3-none-any.whl",
        "demo-1.0.0-2-py3-none-any.whl",
        "demo-1.0.tar.gz",
        "demo-1.0.zip",
        "demo-v1.0.tar.gz",
        "demo-odd-1.0.tar.gz",
    ]
    assert (tuple(page), len(page), page[0], page[1:]) == (whole, len(whole), whole[0], whole[1:])
    for text in VERSIONS:  # now that all is read
        assert list(page.of_version(Version(text))) == list(of_version(whole, Version(text))), text


@FORMATS
def test_an_empty_page_is_empty(written: Format) -> None:
    page = Page("demo", URL, *written(), [Version("1.0")])
    assert not page
    assert list(page) == list(page.of_version(Version("1.0"))) == []


@FORMATS
@pytest.mark.parametrize("hinted", [(), ("2.0",)])
def test_a_page_without_hashes_is_refused_at_once(written: Format, hinted: tuple[str, ...]) -> None:
    hashes = {"md5": "0" * 32} if written is as_json else "md5=" + "0" * 32
    with pytest.raises(Permanent, match="none is usable"):
        Page("demo", URL, *written("demo-1.0.tar.gz", hashes=hashes), map(Version, hinted))


def test_what_is_no_page_is_refused_at_once() -> None:
    with pytest.raises(Permanent, match="not PEP 691"):
        Page("demo", URL, JSON, b"{")
    with pytest.raises(Permanent, match="for project 'demo'"):
        Page("demo", URL, JSON, as_json("demo-1.0.tar.gz")[1].replace(b'"demo"', b'"other"'))


def test_of_the_other_versions_nothing_stays_decoded() -> None:
    page = Page("demo", URL, *as_json(*NAMES), [Version("2.0")])
    kept = [value for value in vars(page).values() if isinstance(value, (simple_page.Listing, tuple))]
    assert kept == [page._said]
    (file,) = page.of_version(Version("2.0"))
    assert file == IndexFile(
        "demo-2.0-py3-none-any.whl",
        "https://index.example/f/demo-2.0-py3-none-any.whl",
        f"sha256:{A}",
        "",
        False,
    )
