"""One project's page of a Python package index, as JSON (PEP 691) or HTML (PEP 503). Pure.

https://packaging.python.org/en/latest/specifications/simple-repository-api/

Checks:
1. The page is of a kind that the specification knows, of major version 1, and of the project that was asked for.
2. A file counts only with a plain file name, a sha256, and a URL over TLS (or over http where the page itself was).
   What else is said of it (PEP 592, 658, 700) is dropped where it is malformed; a yank without a reason is a yank,
   and where its provenance is (PEP 740) stays as it is said, to be refused when it is asked for.
3. A page that lists files but not one with a sha256 is refused as a whole: nothing on it could be proved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin

import msgspec
from packaging.utils import canonicalize_name

from shared.errors import Permanent
from shared.model.value import printable
from shared.ports.upstream import IndexFile

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
ACCEPT = f"{JSON}, {HTML};q=0.2, text/html;q=0.1"

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?/[!-~]{1,2000}", re.ASCII)
_UPLOADED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z", re.ASCII)
_MAX_REASON = 500
_LARGEST = 1 << 40
_PARTS = 2_000_000
"""Commas of a page as JSON: one that lists a hundred thousand files has fewer, and each may become an object."""
_OPEN = 50
"""Tags that begin before one ends: html.parser looks for the end of each again, in time that grows with the square."""
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~-]{0,254}", re.ASCII)


@dataclass(frozen=True)
class Listing:
    """What a page lists, entry by entry as the page writes it; nothing of an entry is checked yet."""

    url: str
    entries: Sequence[Any]
    filename: Callable[[Any], str]
    """What an entry says that its file is called."""
    file: Callable[[Any], IndexFile | None]
    """An entry's file; None if it cannot be relied on (check 2)."""

    def files(self) -> tuple[IndexFile, ...]:
        """All that can be relied on. Permanent if there is none (check 3)."""
        found = tuple(file for entry in self.entries if (file := self.file(entry)))
        if self.entries and not found:
            raise self._useless()
        return found

    def check(self) -> None:
        """Check 3 alone: the first file that can be relied on is enough."""
        if self.entries and not any(self.file(entry) for entry in self.entries):
            raise self._useless()

    def _useless(self) -> Permanent:
        return Permanent(
            f"The index page {self.url} lists {len(self.entries)} files but none with a sha256 over TLS; none is "
            "usable."
        )


def parse(name: str, url: str, content_type: str, body: bytes) -> tuple[IndexFile, ...]:
    """The files on the page of project `name` that came from `url`. Permanent if it is no such page."""
    return listing(name, url, content_type, body).files()


def listing(name: str, url: str, content_type: str, body: bytes) -> Listing:
    """The same before check 3, and before any entry is looked at. Permanent if it is no such page (check 1)."""
    if content_type in (JSON, "application/json"):
        return _from_json(name, url, body)
    if content_type in (HTML, "text/html", "application/xhtml+xml"):
        return _from_html(url, body)
    raise Permanent(  # 1
        f"The index page {url} is '{printable(content_type, 60)}', neither PEP 691 JSON nor HTML; check that the "
        "address is a simple index."
    )


@dataclass(frozen=True)
class _Said:
    """What a page says of a file beside its name, address and hash; nothing of it is checked yet."""

    python: object
    yanked: object
    uploaded: object
    metadata: object
    """True, or a hash as the format writes it."""
    provenance: object = None
    size: object = None


def _file(base: str, href: str, filename: str, sha256: object, said: _Said) -> IndexFile | None:
    """The entry, or None if it cannot be relied on (check 2)."""
    try:
        url = href if href.startswith("https://") else urljoin(base, href)
    except ValueError:
        return None
    if not _URL.fullmatch(url) or (url.startswith("http://") and not base.startswith("http://")):
        return None
    if not _FILENAME.fullmatch(filename):
        return None
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.lower()):
        return None
    return IndexFile(
        filename=filename,
        url=url,
        sha256=f"sha256:{sha256.lower()}",
        requires_python=said.python if isinstance(said.python, str) else "",
        yanked=said.yanked is not None and said.yanked is not False,
        uploaded=said.uploaded
        if isinstance(said.uploaded, str) and _UPLOADED.fullmatch(said.uploaded)
        else "",
        yank_reason=said.yanked[:_MAX_REASON] if isinstance(said.yanked, str) else "",
        metadata=_metadata(said.metadata),
        provenance=_provenance(said.provenance),
        size=said.size if type(said.size) is int and 0 <= said.size <= _LARGEST else None,
    )


def _provenance(said: object) -> str:
    """As `IndexFile.provenance`: what is malformed is kept, so that it is refused and not taken for none."""
    return "" if said in (None, False, "") else printable(str(said), 2000)


def _metadata(said: object) -> str | None:
    """As `IndexFile.metadata`: the page says `true`, or gives hashes of which a sha256 is one."""
    match said:
        case None | False:
            return None
        case {"sha256": str(digest)} if _SHA256.fullmatch(digest.lower()):
            return digest.lower()
        case str() if said.startswith("sha256=") and _SHA256.fullmatch(said[7:].lower()):
            return said[7:].lower()
    return ""


class _Project(msgspec.Struct, gc=False):
    """A page as JSON. What stands between an entry's braces is not read: of thousands one version's are wanted."""

    meta: dict[str, Any]
    name: str
    files: list[msgspec.Raw]


class _Named(msgspec.Struct, gc=False):
    """An entry, of which nothing but this is read."""

    filename: str = ""


_PROJECT = msgspec.json.Decoder(_Project)
_NAMED = msgspec.json.Decoder(_Named)


def _from_json(name: str, url: str, body: bytes) -> Listing:
    if len(body) > _PARTS and body.count(b",") > _PARTS:
        raise Permanent(f"The index page {url} lists more than any project has; it is refused as too large.")
    try:
        page = _PROJECT.decode(body)
        major = str(page.meta["api-version"]).partition(".")[0]
    except (ValueError, KeyError, RecursionError) as error:
        raise Permanent(f"The index page {url} is not PEP 691 JSON: {printable(str(error), 120)}.") from error
    if major != "1" or canonicalize_name(page.name) != name:  # 1
        raise Permanent(f"The index page {url} is not version 1 of the simple API for project '{name}'.")
    return Listing(url, page.files, _json_filename, lambda entry: _json_file(url, entry))


def _json_filename(entry: msgspec.Raw) -> str:
    try:
        return _NAMED.decode(entry).filename
    except (ValueError, RecursionError):
        return ""


def _json_file(base: str, entry: msgspec.Raw) -> IndexFile | None:
    try:
        fields = msgspec.json.decode(entry)
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"filename": str(filename), "url": str(href), "hashes": {"sha256": sha256}}:
            said = _Said(
                python=fields.get("requires-python"),
                yanked=fields.get("yanked"),
                uploaded=fields.get("upload-time"),
                metadata=fields.get("core-metadata", fields.get("dist-info-metadata")),
                provenance=fields.get("provenance"),
                size=fields.get("size"),
            )
            return _file(base, href, filename, sha256, said)
    return None


class _Anchors(HTMLParser):
    """Collects the attributes of every anchor, and the page's base and declared version."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.version = "1.0"
        self.anchors: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.anchors.append(dict(attrs))
        elif tag == "base" and not self.base:
            self.base = dict(attrs).get("href") or ""
        elif tag == "meta" and ("name", "pypi:repository-version") in attrs:
            self.version = dict(attrs).get("content") or ""


_PLAIN_ANCHOR = re.compile(r"<a ((?:[a-z-]+=\"[^\"<>]*\" ?)+)>[^<>&]*</a>(?:<br ?/?>)?")
_PLAIN_ATTRIBUTE = re.compile(r"([a-z-]+)=\"([^\"]*)\"")
_Anchor = str | Mapping[str, str | None]
"""The text of a plain anchor's attributes, or the attributes of any."""


def _plain_anchors(text: str) -> tuple[str, list[_Anchor]]:
    """The page without its plain anchors, and these, unread. All that is not plain is left for the parser.

    A large project's page has thousands of anchors of one form, and html.parser needs seconds for a few hundred pages.
    """
    anchors: list[_Anchor] = []

    def take(match: re.Match[str]) -> str:
        anchors.append(match[1])
        return ""

    # Inside a comment or a script an anchor is none: such a page goes to the parser as a whole.
    if "<!--" in text or "<script" in text.lower():
        return text, []
    return _PLAIN_ANCHOR.sub(take, text), anchors


def _check_tags(text: str) -> None:
    if any(part.count("<") > _OPEN for part in text.split(">")):
        raise ValueError("tags begin in it that do not end")


def _attributes(anchor: _Anchor) -> Mapping[str, str | None]:
    if isinstance(anchor, str):
        return {key: unescape(value) for key, value in _PLAIN_ATTRIBUTE.findall(anchor)}
    return anchor


def _from_html(url: str, body: bytes) -> Listing:
    parser = _Anchors()
    try:
        rest, plain = _plain_anchors(body.decode("utf-8", "replace"))
        _check_tags(rest)
        parser.feed(rest)
        parser.close()
        base = urljoin(url, parser.base)
    except (AssertionError, ValueError) as error:  # html.parser on a malformed declaration, urljoin on no URL
        raise Permanent(f"The index page {url} is not HTML: {printable(str(error), 120)}.") from error
    if parser.version.partition(".")[0] != "1":  # 1
        raise Permanent(f"The index page {url} is not version 1 of the simple API.")
    anchors: list[_Anchor] = [*plain, *parser.anchors]
    if not anchors and b"<html" not in body[:4096].lower():  # 1
        raise Permanent(f"The index page {url} says that it is HTML but holds none.")
    return Listing(url, anchors, _html_filename, lambda anchor: _html_file(base, anchor))


def _html_filename(anchor: _Anchor) -> str:
    return _last((_attributes(anchor).get("href") or "").partition("#")[0])


def _last(address: str) -> str:
    return unquote(address.partition("?")[0].rpartition("/")[2])


def _html_file(base: str, anchor: _Anchor) -> IndexFile | None:
    said = _attributes(anchor)
    address, _, fragment = (said.get("href") or "").partition("#")
    algorithm, _, value = fragment.partition("&")[0].partition("=")
    yanked = (said["data-yanked"] or "") if "data-yanked" in said else None
    return _file(
        base,
        address,
        _last(address),
        value if algorithm == "sha256" else None,
        _Said(
            python=said.get("data-requires-python"),
            yanked=yanked,
            uploaded=said.get("data-upload-time"),
            metadata=said.get("data-core-metadata", said.get("data-dist-info-metadata")),
            provenance=said.get("data-provenance"),
        ),
    )
