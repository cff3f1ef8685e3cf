"""One Debian archive, read without running anything of it (https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html).

Refused, whoever signed it:
1. What is no archive of format 2.x, is cut off, or has something behind its end.
2. A path that leaves the tree: absolute, with `..`, not UTF-8, with a control character.
3. Device nodes, pipes and every other member that is no file, link or directory.
4. More than MAX_SIZE bytes or MAX_MEMBERS members, and a stream that asks for more memory than any sound one.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

from shared.errors import Permanent
from shared.image.inflate import inflated
from shared.image.spool import Spool
from shared.image.tree import Content, Directory, File, Link, Node, check_path
from shared.model.value import printable

MAX_SIZE = 8 * 1024**3
MAX_MEMBERS = 500_000
_MAX_CONTROL = 64 * 1024**2
_HEADER = 60
_MOST_LINKS = 8
_FIELD = re.compile(rb"([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)")
_SIZE = re.compile(rb"[0-9]{1,10} *")


@dataclass(frozen=True)
class Deb:
    """A package's content, its bytes in a spool."""

    name: str
    control: bytes
    md5sums: bytes
    nodes: Mapping[str, Node]
    """As the package has them, `./` and a trailing `/` taken off; sorted by path."""


class _Member(tarfile.TarInfo):
    """A header that must be whole: `tarfile` takes a damaged one in the middle for the end (check 1)."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _EXTENSIONS and member.size > _MAX_EXTENSION):  # 4
            raise Permanent(f"a member's header says {member.size} bytes")
        return member

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _HEADER_ERROR as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise Permanent(f"a member's header is damaged or missing ({error})") from error


_HEADER_ERROR = tarfile.HeaderError
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MAX_EXTENSION = 64 * 1024
"""Bytes: `tarfile` reads these members whole."""


def read(path: Path, spool: Spool) -> Deb:
    """The archive at `path`; its files' bytes go to `spool`. Permanent with the reason if it is refused."""
    what = f"The Debian archive {printable(path.name, 200)}"
    control: dict[str, bytes] = {}
    nodes: dict[str, Node] | None = None
    with _opened(path, what) as file:
        for number, (name, size) in enumerate(_members(file, what)):
            part = io.BufferedReader(_Slice(file, size))
            stem, _, suffix = name.partition(".tar")
            wanted = ("debian-binary", "control", "data")[number] if number < 3 else ""
            if number == 0 and name == wanted:
                if not part.read(16).startswith(b"2."):
                    raise Permanent(f"{what} is not of format 2.0, the only one that is read.")
            elif number in (1, 2) and stem == wanted:
                if stem == "control":
                    control = _control(cast(IO[bytes], part), suffix, what)
                else:
                    nodes = _data(cast(IO[bytes], part), suffix, spool, what)
            elif not name.startswith("_"):  # deb(5): what starts so is to be ignored
                raise Permanent(
                    f"{what} has a member '{printable(name, 40)}' where {wanted or 'nothing'} belongs."
                )
            while part.read(1024 * 1024):
                pass
    if nodes is None or "control" not in control:
        raise Permanent(f"{what} has no data or no control file.")
    fields = dict(_FIELD.findall(control["control"]))
    package = fields.get(b"Package", b"").decode("ascii", "replace")
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]{1,127}", package):
        raise Permanent(f"{what} does not say which package it is.")
    return Deb(package, control["control"], control.get("md5sums", b""), dict(sorted(nodes.items())))


def member(path: Path, wanted: str) -> Content:
    """The file `wanted`, an absolute path, of the archive at `path`; links inside the package are followed."""
    package = read(path, Spool(path.parent))
    at = wanted.lstrip("/")
    for _ in range(_MOST_LINKS):
        node = package.nodes.get(at)
        if not isinstance(node, Link):
            break
        at = posixpath.normpath(posixpath.join("/", posixpath.dirname(at), node.target)).lstrip("/")
    if not isinstance(node, File):
        raise Permanent(f"The package {package.name} has no file {printable(wanted, 200)}; correct its path.")
    return node.content


def _opened(path: Path, what: str) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise Permanent(f"{what} cannot be opened: {error.strerror}.") from error


class _Slice(io.RawIOBase):
    """The next `size` bytes of a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        data = self._file.read(min(len(view), self._left))
        self._left -= len(data)
        view[: len(data)] = data
        return len(data)


def _members(file: IO[bytes], what: str) -> Iterator[tuple[str, int]]:
    """(name, size) of the ar archive's members, the file positioned at each one's content (check 1)."""
    if file.read(8) != b"!<arch>\n":
        raise Permanent(f"{what} is no ar archive.")
    while header := file.read(_HEADER):
        if len(header) != _HEADER or header[58:] != b"`\n" or not _SIZE.fullmatch(header[48:58]):
            raise Permanent(f"{what} is cut off or damaged: a member's header is not sound.")
        size = int(header[48:58])
        start = file.tell()
        yield header[:16].decode("ascii", "replace").rstrip(" ").removesuffix("/"), size
        if file.tell() != start + size:
            raise Permanent(f"{what} is cut off: a member has less than its {size} bytes.")
        if size % 2 and file.read(1) not in (b"\n", b""):
            raise Permanent(f"{what} is damaged: a member's padding is not sound.")


def _tar(part: IO[bytes], suffix: str, limit: int, what: str) -> Iterator[tuple[_Member, IO[bytes] | None]]:
    """Members of a compressed tar and, for files, their bytes, to be read before the next one is asked for."""
    stream = inflated(part, suffix, limit, what)
    # Names are UTF-8 (Debian policy 10.10), whatever this machine's locale takes their bytes for.
    with tarfile.open(
        fileobj=stream, mode="r|", bufsize=256 * 1024, tarinfo=_Member, encoding="utf-8"
    ) as archive:
        for number, member in enumerate(archive):
            _check_number(number, what)
            yield cast(_Member, member), archive.extractfile(member) if member.isreg() else None
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every one
    while stream.read(1024 * 1024):  # to the end: the checksum stands there
        pass


@contextlib.contextmanager
def _sentences(what: str) -> Iterator[None]:
    """Failures of `_tar`, and of the streams that it gives, as one sentence each."""
    try:
        yield
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise Permanent(f"{what} is cut off or holds no sound tar archive: {error}.") from error
    except Permanent as error:
        if str(error).startswith("a member's header"):
            raise Permanent(f"{what} is cut off or damaged: {error}.") from error
        raise


def _check_number(number: int, what: str) -> None:
    if number >= MAX_MEMBERS:  # 4
        raise Permanent(f"{what} has more than {MAX_MEMBERS} members, which is refused.")


def _control(part: IO[bytes], suffix: str, what: str) -> dict[str, bytes]:
    with _sentences(what):
        return {
            member.name.removeprefix("./"): stream.read()
            for member, stream in _tar(part, suffix, _MAX_CONTROL, what)
            if stream is not None and member.name.removeprefix("./") in ("control", "md5sums")
        }


def _data(part: IO[bytes], suffix: str, spool: Spool, what: str) -> dict[str, Node]:
    found: dict[str, Node | _Bytes] = {}
    linked: set[_Bytes] = set()
    with _sentences(what):
        for member, stream in _tar(part, suffix, MAX_SIZE, what):
            path = _path(member.name, what)
            if not path:
                continue
            if path in found and not (member.isdir() and isinstance(found[path], Directory)):
                raise Permanent(f"{what} has the path {printable(path, 200)} twice.")
            found[path] = node = _node(member, stream, path, found, spool, what)
            if member.islnk() and isinstance(node, _Bytes):
                linked.add(node)
    return {
        path: _file(node, node in linked, spool, what) if isinstance(node, _Bytes) else node
        for path, node in found.items()
    }


@dataclass(frozen=True)
class _Bytes:
    """A file, while it is not known yet whether others are linked to it."""

    path: str
    offset: int
    size: int
    mode: int


def _node(
    member: tarfile.TarInfo,
    stream: IO[bytes] | None,
    path: str,
    before: Mapping[str, Node | _Bytes],
    spool: Spool,
    what: str,
) -> Node | _Bytes:
    if member.isdir():
        return Directory(member.mode & 0o7777)
    if member.issym():
        return Link(_target(member.linkname, path, what))
    if member.islnk():
        origin = before.get(_path(member.linkname, what))
        if not isinstance(origin, _Bytes):
            raise Permanent(f"{what}: {printable(path, 200)} is a hard link to what did not come before.")
        return origin
    if stream is not None and not member.issparse():
        return _Bytes(path, *spool.add(stream, member.size, what), _mode(member))
    raise Permanent(f"{what} brings {printable(path, 200)}, which is no file, link or directory.")  # 3


def _file(node: _Bytes, is_linked: bool, spool: Spool, what: str) -> File:
    same = f"{what}:{node.path}" if is_linked else ""
    return File(spool.content(node.offset, node.size, same), node.mode)


def _mode(member: tarfile.TarInfo) -> int:
    """Permission bits. Every file is root's in an image: a set-id bit of somebody else's file would give away root."""
    mode = member.mode & 0o7777
    if member.uid != 0:
        mode &= ~0o4000
    if member.gid != 0:
        mode &= ~0o2000
    return mode


def _path(name: str, what: str) -> str:
    """Relative and plain, empty for the root (check 2)."""
    path = name.removeprefix("./").removesuffix("/")
    if path in ("", "."):
        return ""
    try:
        path.encode()
        check_path(path)
    except (UnicodeEncodeError, Permanent) as error:
        raise Permanent(
            f"{what} has a path that leads elsewhere or is no text: {printable(repr(name), 200)}."
        ) from error
    if re.search(r"[\x00-\x1f\x7f]", path):
        raise Permanent(f"{what} has a path with a control character: {printable(repr(name), 200)}.")
    return path


def _target(target: str, path: str, what: str) -> str:
    try:
        sound = bool(target.encode()) and len(target) < 4096 and not re.search(r"[\x00-\x1f\x7f]", target)
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise Permanent(f"{what}: the link {printable(path, 200)} has no sound target.")
    return target
