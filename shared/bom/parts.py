"""Small parts of CycloneDX 1.7 documents (https://cyclonedx.org/docs/1.7/json/). Pure.

Strangers chose the names, reasons and summaries in them, and programs that show such documents to people do not all
take care: nothing stands in them that a terminal would obey, and nothing that HTML would.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from shared.model.package import Package
from shared.model.value import Digest, canonical, printable, sha256

Json = dict[str, Any]
SPEC = "1.7"
_SCHEMA = "http://cyclonedx.org/schema/bom-1.7.schema.json"
_PREFIX = "package-dmz:"
_LONGEST = 2000
_SERIAL = re.compile(rb'"serialNumber":"(urn:uuid:[0-9a-f-]{36})","specVersion":"[0-9.]+","version":1\}\Z')
_END = 200
"""Bytes of a document's end in which that stands."""


def text(said: str, limit: int = _LONGEST) -> str:
    """One line that is safe on a terminal."""
    return printable(" ".join(said.split()), limit)


def properties(*given: tuple[str, object]) -> list[Json]:
    """Name-value pairs under our own prefix, those with a value."""
    return [
        {"name": _PREFIX + name, "value": text(_value(value))}
        for name, value in given
        if value not in ("", None, (), False)
    ]


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return "true" if value is True else str(value)


def sha256_of(digest: Digest) -> list[Json]:
    """A component's hashes."""
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]


def link(url: str) -> str:
    """`url` with only the characters that one may have (RFC 3986); what is there encoded already stays."""
    return quote(printable(url, _LONGEST), safe=":/?#[]@!$&'()*+,;=%~")


def source_purl(package: Package) -> str:
    """Purl of the source package that a Debian package was built from."""
    vendor = package.distro.split("-")[0] or "debian"
    name, version = quote(package.source_name, safe=""), quote(package.source_version, safe="+~.-")
    return f"pkg:deb/{vendor}/{name}@{version}?arch=source&distro={package.distro}"


def finished(document: Json) -> bytes:
    """The bytes of a document: with its serial number, which follows from all the rest, in one form.

    RFC 9562, section 5.8, has UUIDs of version 8 for what is made of one's own data.
    """
    named = {"$schema": _SCHEMA, "bomFormat": "CycloneDX", "specVersion": SPEC, "version": 1, **document}
    raw = bytearray.fromhex(sha256(canonical(named))[7:39])
    raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
    named["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=bytes(raw))}"
    # The same strings for whoever reads JSON; nothing for whoever takes it for HTML.
    return canonical(named).replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def serial(bill: bytes) -> str:
    """The serial number of a `finished` bill of materials, which is not parsed for it: it may name ten thousand files.

    Keys are sorted, so it stands behind everything that somebody else wrote, and the form of the end is its own.
    """
    found = _SERIAL.search(bill[-_END:])
    if found is None:
        raise ValueError("a finished document ends with its serial number and its versions")
    return found[1].decode()


def metadata(name: str, at: str, extra: Iterable[Json]) -> Json:
    """What both documents say of themselves. `at` is RFC 3339."""
    return {
        "timestamp": at,
        "tools": {"components": [{"type": "application", "name": "package-dmz"}]},
        "component": {"type": "application", "bom-ref": root(name), "name": text(name, 200)},
        "properties": list(extra),
    }


def root(name: str) -> str:
    """Reference of the workload itself."""
    return f"workload:{text(name, 200)}"
