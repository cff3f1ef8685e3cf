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
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin

import orjson
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
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~-]{0,254}", re.ASCII)


def parse(name: str, url: str, content_type: str, body: bytes) -> tuple[IndexFile, ...]:
    """The files on the page of project `name` that came from `url`. Permanent if it is no such page."""
    if content_type in (JSON, "application/json"):
        listed, files = _from_json(name, url, body)
    elif content_type in (HTML, "text/html", "application/xhtml+xml"):
        listed, files = _from_html(url, body)
    else:  # 1
        raise Permanent(
            f"The index page {url} is '{printable(content_type, 60)}', neither PEP 691 JSON nor HTML; check that the "
            "address is a simple index."
        )
    if listed and not files:  # 3
        raise Permanent(
            f"The index page {url} lists {listed} files but none with a sha256 over TLS; none is usable."
        )
    return files


@dataclass(frozen=True)
class _Said:
    """What a page says of a file beside its name, address and hash; nothing of it is checked yet."""

    python: object
    yanked: object
    uploaded: object
    metadata: object
    """True, or a hash as the format writes it."""
    provenance: object = None


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


def _from_json(name: str, url: str, body: bytes) -> tuple[int, tuple[IndexFile, ...]]:
    try:
        page = orjson.loads(body)
        major = str(page["meta"]["api-version"]).partition(".")[0]
        owner, entries = page["name"], page["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise Permanent(f"The index page {url} is not PEP 691 JSON: {printable(str(error), 120)}.") from error
    if major != "1" or not isinstance(entries, list) or canonicalize_name(str(owner)) != name:  # 1
        raise Permanent(f"The index page {url} is not version 1 of the simple API for project '{name}'.")
    return len(entries), tuple(file for entry in entries if (file := _json_file(url, entry)))


def _json_file(base: str, entry: Any) -> IndexFile | None:
    match entry:
        case {"filename": str(filename), "url": str(href), "hashes": {"sha256": sha256}}:
            said = _Said(
                python=entry.get("requires-python"),
                yanked=entry.get("yanked"),
                uploaded=entry.get("upload-time"),
                metadata=entry.get("core-metadata", entry.get("dist-info-metadata")),
                provenance=entry.get("provenance"),
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


def _plain_anchors(text: str) -> tuple[str, list[dict[str, str | None]]]:
    """The page without its plain anchors, and these. All that is not plain is left for the parser.

    A large project's page has thousands of anchors of one form, and html.parser needs seconds for a few hundred pages.
    """
    anchors: list[dict[str, str | None]] = []

    def take(match: re.Match[str]) -> str:
        anchors.append({key: unescape(value) for key, value in _PLAIN_ATTRIBUTE.findall(match[1])})
        return ""

    # Inside a comment or a script an anchor is none: such a page goes to the parser as a whole.
    if "<!--" in text or "<script" in text.lower():
        return text, []
    return _PLAIN_ANCHOR.sub(take, text), anchors


def _from_html(url: str, body: bytes) -> tuple[int, tuple[IndexFile, ...]]:
    parser = _Anchors()
    try:
        rest, plain = _plain_anchors(body.decode("utf-8", "replace"))
        parser.feed(rest)
        parser.close()
    except (AssertionError, ValueError) as error:  # html.parser on a malformed declaration
        raise Permanent(f"The index page {url} is not HTML: {printable(str(error), 120)}.") from error
    if parser.version.partition(".")[0] != "1":  # 1
        raise Permanent(f"The index page {url} is not version 1 of the simple API.")
    parser.anchors = [*plain, *parser.anchors]
    if not parser.anchors and b"<html" not in body[:4096].lower():  # 1
        raise Permanent(f"The index page {url} says that it is HTML but holds none.")
    base = urljoin(url, parser.base)
    return len(parser.anchors), tuple(_html_files(base, parser.anchors))


def _html_files(base: str, anchors: list[dict[str, str | None]]) -> Iterator[IndexFile]:
    for anchor in anchors:
        address, _, fragment = (anchor.get("href") or "").partition("#")
        algorithm, _, value = fragment.partition("&")[0].partition("=")
        filename = unquote(address.partition("?")[0].rpartition("/")[2])
        yanked = (anchor["data-yanked"] or "") if "data-yanked" in anchor else None
        said = _Said(
            python=anchor.get("data-requires-python"),
            yanked=yanked,
            uploaded=anchor.get("data-upload-time"),
            metadata=anchor.get("data-core-metadata", anchor.get("data-dist-info-metadata")),
            provenance=anchor.get("data-provenance"),
        )
        file = _file(base, address, filename, value if algorithm == "sha256" else None, said)
        if file:
            yield file
