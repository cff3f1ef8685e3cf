"""A Packages file of an apt repository as a mapping, parsed only where somebody looks. Pure.

https://wiki.debian.org/DebianRepository/Format#A.22Packages.22_Indices

A release has some 65,000 stanzas, a workload asks for some hundred: stanzas are cut apart and indexed by name, their
fields are read on demand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from shared.errors import Permanent
from shared.model import debian_version
from shared.model.apt_source import AptPin
from shared.model.value import printable
from shared.ports.upstream import Archive

_SOURCE = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?: \(([^()\s]+)\))?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,12}", re.ASCII)
_FILENAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9.+~_:%-]*/)*[A-Za-z0-9_][A-Za-z0-9.+~_:%-]*\.deb", re.ASCII)


@dataclass(frozen=True)
class PackagesFile:
    """The verified text of one Packages file."""

    suite: str
    base_url: str
    """What `Filename` is relative to, with a slash at its end."""
    text: bytes
    source: AptPin | None = None
    """The repository, if it is not the distribution's."""
    only: frozenset[str] | None = None
    """Packages that are taken from there; None: all."""


class Archives(Mapping[tuple[str, str], tuple[Archive, ...]]):
    """(name, architecture) to its versions, newest first."""

    def __init__(self, files: Sequence[PackagesFile]) -> None:
        self._stanzas: dict[str, list[tuple[PackagesFile, bytes]]] = {}
        for file in files:
            for stanza in file.text.split(b"\n\n"):
                if (name := _name(stanza)) and (file.only is None or name in file.only):
                    self._stanzas.setdefault(name, []).append((file, stanza))
        self._provides: dict[str, frozenset[str]] | None = None

    def __getitem__(self, key: tuple[str, str]) -> tuple[Archive, ...]:
        name, architecture = key
        found = tuple(archive for archive in self.named(name) if archive.architecture == architecture)
        if not found:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name in self._stanzas:
            yield from dict.fromkeys((name, archive.architecture) for archive in self.named(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def named(self, name: str) -> tuple[Archive, ...]:
        """Every version of `name` for any architecture, newest first; the same archive of two suites once."""
        archives = (_archive(file, stanza) for file, stanza in self._stanzas.get(name, ()))
        unique = {archive.sha256: archive for archive in archives}
        return tuple(sorted(unique.values(), key=lambda one: debian_version.key(one.version), reverse=True))

    def providing(self, name: str) -> frozenset[str]:
        """Names of the packages that declare to provide `name`."""
        if self._provides is None:
            providers: dict[str, set[str]] = {}
            for provider, stanzas in self._stanzas.items():
                for _, stanza in stanzas:
                    for part in _field(stanza, b"Provides").split(","):
                        if provided := part.partition("(")[0].strip():
                            providers.setdefault(provided, set()).add(provider)
            self._provides = {provided: frozenset(names) for provided, names in providers.items()}
        return self._provides.get(name, frozenset())


def _name(stanza: bytes) -> str:
    if stanza.startswith(b"Package: "):
        return stanza[9 : stanza.find(b"\n") if b"\n" in stanza else None].decode("ascii", "replace").strip()
    return _field(stanza, b"Package")


def _field(stanza: bytes, name: bytes) -> str:
    """The field's value on one line; empty if absent. Continuation lines are joined by a space."""
    start = 0 if stanza.startswith(name + b":") else stanza.find(b"\n" + name + b":") + 1
    if start == 0 and not stanza.startswith(name + b":"):
        return ""
    end = stanza.find(b"\n", start)
    while end != -1 and stanza[end + 1 : end + 2] in (b" ", b"\t"):
        end = stanza.find(b"\n", end + 1)
    value = stanza[start + len(name) + 1 : end if end != -1 else None]
    return " ".join(value.decode("utf-8", "replace").split())


def _archive(file: PackagesFile, stanza: bytes) -> Archive:
    name, version = _name(stanza), _field(stanza, b"Version")
    source = _SOURCE.fullmatch(_field(stanza, b"Source") or name)
    sha256, size = _field(stanza, b"SHA256"), _field(stanza, b"Size")
    filename = _field(stanza, b"Filename").removeprefix("./")  # as flat repositories write it
    try:
        debian_version.key(version)
        sound = (
            source is not None
            and _SHA256.fullmatch(sha256)
            and _SIZE.fullmatch(size)
            and _FILENAME.fullmatch(filename)
        )
    except ValueError:
        sound = False
    if not sound or source is None:
        raise Permanent(
            f"The Packages file of {file.suite} has a stanza for '{printable(name, 60)}' without a sound version, "
            "source, file name, size or sha256."
        )
    depends = [_field(stanza, b"Pre-Depends"), _field(stanza, b"Depends")]
    return Archive(
        name=name,
        version=version,
        architecture=_field(stanza, b"Architecture"),
        source_name=source[1],
        source_version=source[2] or version,
        url=file.base_url + quote(filename, safe="/+~:%"),
        sha256=f"sha256:{sha256}",
        size=int(size),
        suite=file.suite,
        depends=", ".join(filter(None, depends)),
        provides=_field(stanza, b"Provides"),
        priority=_field(stanza, b"Priority"),
        source=file.source,
    )
