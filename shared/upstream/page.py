"""A project's page as the sequence of its files, of which only those are read that somebody asks for. Pure.

A large project lists thousands of files, a claim is about one version. What is decoded is dropped again: the bytes of
the page are smaller, and seldom asked twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import overload

from packaging.version import InvalidVersion, Version

from shared.ports.upstream import IndexFile
from shared.upstream import simple_page
from shared.upstream.tags import version_of


class Page(Sequence[IndexFile]):
    """Every file of the page that can be relied on, in the page's order; for as many threads as want it."""

    def __init__(
        self, name: str, url: str, content_type: str, body: bytes, versions: Iterable[Version] = ()
    ) -> None:
        """As `simple_page.parse`, and Permanent for the same reasons. `versions` will be asked for."""
        self._said = (name, url, content_type, body)
        self._listing: simple_page.Listing | None = simple_page.listing(*self._said)
        self._listing.check()
        self._any = bool(self._listing.entries)
        self._all: tuple[IndexFile, ...] | None = None
        self._versions: dict[Version, tuple[IndexFile, ...]] = {}
        wanted = set(versions)
        if wanted:
            listing, self._listing = self._listing, None
            self._versions = {version: _read(listing, version) for version in wanted}

    def of_version(self, version: Version) -> tuple[IndexFile, ...]:
        """The wheels and source distributions of that version."""
        if version not in self._versions:
            if self._all is not None:
                return ()  # all versions are known
            self._versions[version] = _read(self._decoded(), version)
        return self._versions[version]

    def _files(self) -> tuple[IndexFile, ...]:
        if self._all is None:
            files = self._decoded().files()
            found: dict[Version, list[IndexFile]] = {}
            for file in files:
                if (version := version_of(file.filename)) is not None:
                    found.setdefault(version, []).append(file)
            self._versions = {version: tuple(its) for version, its in found.items()}
            self._all = files
        return self._all

    def _decoded(self) -> simple_page.Listing:
        listing, self._listing = self._listing, None
        return listing or simple_page.listing(*self._said)

    def __bool__(self) -> bool:
        return self._any

    def __len__(self) -> int:
        return len(self._files())

    def __iter__(self) -> Iterator[IndexFile]:
        return iter(self._files())

    @overload
    def __getitem__(self, index: int) -> IndexFile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[IndexFile, ...]: ...
    def __getitem__(self, index: int | slice) -> IndexFile | tuple[IndexFile, ...]:
        return self._files()[index]


def of_version(files: Iterable[IndexFile], version: Version) -> Sequence[IndexFile]:
    """The wheels and source distributions of that version."""
    if isinstance(files, Page):
        return files.of_version(version)
    return [
        file for file in files if _may_be(file.filename, version) and version_of(file.filename) == version
    ]


def _read(listing: simple_page.Listing, version: Version) -> tuple[IndexFile, ...]:
    return tuple(
        file
        for entry in listing.entries
        if _is(listing.filename(entry), version) and (file := listing.file(entry))
    )


def _is(filename: str, version: Version) -> bool:
    return _may_be(filename, version) and version_of(filename) == version


def _may_be(filename: str, version: Version) -> bool:
    """False if the file's name readably has another version, where a wheel or source distribution has it.

    A project has thousands of files: most are told apart by this, long before their names are taken apart.
    """
    if filename.endswith(".whl"):
        parts = filename.split("-", 2)
        text = parts[1] if len(parts) == 3 else ""
    else:
        text = filename.removesuffix(".zip").removesuffix(".tar.gz").rpartition("-")[2]
    return _version(text) == version


@lru_cache(65536)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
