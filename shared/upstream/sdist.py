"""Source distributions: proved to be what their name says, and what their build needs, read without running them.

https://packaging.python.org/en/latest/specifications/source-distribution-format/

Checks:
1. The archive is a gzip-compressed tar (or a zip) of at most MAX_MEMBERS members and MAX_INFLATED bytes, whose headers
   have a bearable size.
2. Every member is a regular file, a directory, or a link that stays inside, with a relative path of ordinary parts,
   all under one top directory.
3. PKG-INFO in the top directory states the name and version of the file name.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import InvalidSdistFilename, parse_sdist_filename
from packaging.version import InvalidVersion

from shared.errors import Permanent
from shared.model.value import printable
from shared.upstream import build_requires, static_metadata
from shared.upstream.static_metadata import StaticMetadata
from shared.upstream.wheel import check_identity, check_listing, check_path

MAX_MEMBERS = 200_000
MAX_INFLATED = 8 * 1024**3
_MAX_TEXT = 4 * 1024**2
_WANTED = re.compile(
    r"PKG-INFO|pyproject\.toml|setup\.(?:cfg|py)|(?:[^/]+/)?[^/]+\.egg-info/(?:PKG-INFO|requires\.txt)"
)


@dataclass(frozen=True)
class ProvenSdist:
    """What a source distribution is, after every check."""

    name: str
    version: str
    build_requires: tuple[str, ...]
    """What its build needs, as far as its files say (`build_requires`)."""
    metadata: StaticMetadata | None
    """Its dependencies as far as they are written down; None if only a build would tell them."""
    pkg_info: bytes
    """The file of that name, whose fields are those of METADATA."""


def prove(path: Path, filename: str) -> ProvenSdist:
    """All checks on the source distribution at `path`. Permanent with the first that fails."""
    try:
        name, version = parse_sdist_filename(filename)
    except (InvalidSdistFilename, InvalidVersion) as error:
        raise Permanent(
            f"'{printable(filename, 120)}' is not the file name of a source distribution: {error}."
        ) from error
    try:
        files = _zip_texts(path, filename) if filename.endswith(".zip") else _tar_texts(path, filename)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        UnicodeDecodeError,
    ) as error:
        raise Permanent(f"{filename} is a broken archive: {printable(str(error), 120)}.") from error
    except OSError as error:
        raise Permanent(f"{filename} cannot be read: {error.strerror or error}.") from error
    if "PKG-INFO" not in files:
        raise Permanent(f"{filename} has no PKG-INFO in its top directory; it is not a source distribution.")
    check_identity(files["PKG-INFO"], name, version, filename)  # 3
    needs = build_requires.read(files, filename)
    return ProvenSdist(name, str(version), needs, _metadata(files), files["PKG-INFO"])


def _metadata(files: dict[str, bytes]) -> StaticMetadata | None:
    eggs = [path.rpartition("/")[0] for path in files if path.endswith(".egg-info/PKG-INFO")]
    known = static_metadata.from_pkg_info(files["PKG-INFO"])
    if known or len(eggs) != 1:
        return known
    return static_metadata.from_egg_info(files["PKG-INFO"], files.get(f"{eggs[0]}/requires.txt", b""))


class _Members:
    """Holds the members, one after the other, to the checks that tar and zip have in common."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._top = ""
        self._count = self._inflated = 0

    def check(self, name: str, size: int) -> str:
        """The member's path under the top directory."""
        self._count += 1
        self._inflated += size
        if self._count > MAX_MEMBERS or self._inflated > MAX_INFLATED:  # 1
            raise Permanent(
                f"{self._filename} holds too much ({self._count} members, {self._inflated} bytes)."
            )
        check_path(name, self._filename)  # 2
        top, _, inside = name.partition("/")
        if self._top not in ("", top):  # 2
            raise Permanent(f"{self._filename} has more than one top directory; it is refused.")
        self._top = top
        return inside


class _Unpacked(gzip.GzipFile):
    """The tar in a gzip file, of which nobody reads much at once: tarfile takes a long name in one piece."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_TEXT:
            raise tarfile.ReadError(f"a header of {size} bytes")
        try:
            return super().read(size)
        except gzip.BadGzipFile as error:
            raise tarfile.ReadError(str(error)) from error


def _tar_texts(path: Path, filename: str) -> dict[str, bytes]:
    if not filename.endswith((".tar.gz", ".tgz")):
        raise Permanent(f"{filename} is neither .tar.gz nor .zip (PEP 625); it is refused.")
    members, texts = _Members(filename), {}
    with _Unpacked(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
        for info in _tar_members(archive, filename):
            inside = members.check(info.name, info.size)
            if _WANTED.fullmatch(inside) and info.isreg() and info.size <= _MAX_TEXT:
                content = archive.extractfile(info)
                texts[inside] = content.read() if content else b""
    return texts


def _tar_members(archive: tarfile.TarFile, filename: str) -> Iterator[tarfile.TarInfo]:
    """Every member that carries content or a link (check 2)."""
    for info in archive:
        if info.name in (".", "pax_global_header"):
            continue
        if info.issym() or info.islnk():
            start = PurePosixPath(info.name).parent if info.issym() else PurePosixPath()
            depth = 0
            for part in (*start.parts, *info.linkname.split("/")):
                depth += -1 if part == ".." else part not in ("", ".")
                if depth < 1 and part == "..":
                    raise Permanent(f"{filename} holds a link out of itself ('{printable(info.name, 120)}').")
            if info.linkname.startswith("/"):
                raise Permanent(f"{filename} holds a link out of itself ('{printable(info.name, 120)}').")
        elif not info.isreg() and not info.isdir():
            raise Permanent(
                f"{filename} holds a device or pipe ('{printable(info.name, 120)}'); it is refused."
            )
        yield info


def _zip_texts(path: Path, filename: str) -> dict[str, bytes]:
    members, texts = _Members(filename), {}
    check_listing(path, filename)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            inside = members.check(info.filename, info.file_size)
            if _WANTED.fullmatch(inside) and info.file_size <= _MAX_TEXT:
                texts[inside] = archive.read(info)
    return texts
