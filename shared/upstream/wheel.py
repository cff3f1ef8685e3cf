"""What a wheel file is, proved from its bytes before anything is believed of it.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/

Checks:
1. The zip file is plain: members stored or deflated, none encrypted, no more than MAX_MEMBERS, together no larger
   than the limits, nothing before the first member, members neither overlapping nor listed twice.
2. Every member is a regular file or directory with a relative path of ordinary parts: no `..`, no backslash, no
   control character, no symbolic link or device.
3. There is one `.dist-info` directory, named for the wheel's own name and version; no `.data` adds another, or to it.
4. METADATA's Name and Version, and the file name's, are those.
5. RECORD lists every file (but itself and its signatures) with the size and hash that the file has, and nothing else,
   and gives no place in the site directory two contents.
"""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from shared.errors import Permanent
from shared.guest import record
from shared.model.value import printable

MAX_MEMBERS = 200_000
MAX_INFLATED = 32 * 1024**3
MAX_RATIO = 200
"""Inflated bytes per byte of the file, above a first GiB; the best packed wheels of today stay under 60."""
_LISTING = 5
"""Where `zipfile` has the size of that list among what it reads at the end (_ECD_SIZE)."""
_MAX_LISTING = 16 * 1024**2
"""Bytes; the largest wheels of today list their members in 2 MB."""
_FREE = 1024**3
_MAX_TEXT = 64 * 1024**2
_NO_NAMES = frozenset({"", ".", ".."})
_HASHES = frozenset({"sha256", "sha384", "sha512"})
_UNLISTED = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class ProvenWheel:
    """What a wheel is, after every check."""

    name: str
    version: str
    record: str
    """RECORD's canonical digest (`shared.guest.record`)."""


@dataclass(frozen=True)
class Examined:
    """A wheel after every check but the hashes of check 5."""

    name: str
    version: str
    dist_info: str
    files: Sequence[tuple[zipfile.ZipInfo, record.Row]]
    """Each file that RECORD lists, in the zip's order, with its row; RECORD and its signatures are left out."""
    rows: Collection[record.Row]
    """What RECORD says of all, in its order."""


def prove(path: Path, filename: str, *, contents: bool = True) -> ProvenWheel:
    """All checks on the wheel at `path`, which is to be called `filename`. Permanent with the first that fails.

    `contents=False` leaves out the hashes of check 5, which inflate every file: for a wheel whose RECORD is held
    against that of an installation, whose files were (docs/decisions/0004).
    """
    with opened(path, filename) as wheel:
        examined = examine(wheel, path.stat().st_size, filename)
        if contents:
            for info, row in examined.files:
                _hashed(wheel, info, row, filename)
    try:
        digest = record.canonical_digest(record.kept(examined.rows, examined.dist_info))
    except ValueError as error:  # 5
        raise Permanent(f"{filename}: {printable(str(error), 200)}; it is refused.") from error
    return ProvenWheel(examined.name, examined.version, digest)


@contextmanager
def opened(path: Path, filename: str) -> Iterator[zipfile.ZipFile]:
    """The zip file, whose defects inside the `with` are Permanent."""
    try:
        check_listing(path, filename)
        with zipfile.ZipFile(path) as wheel:
            yield wheel
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise Permanent(f"{filename} is a broken zip file: {printable(str(error), 120)}.") from error
    except OSError as error:
        raise Permanent(f"{filename} cannot be read: {error.strerror or error}.") from error


def check_listing(path: Path, filename: str) -> None:
    """The zip's own list of its members, which `zipfile` reads in one piece, has a bearable size (check 1)."""
    with path.open("rb") as file:
        # Where zipfile itself finds the end: another reader could be shown another one.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    size = end[_LISTING] if end else 0
    if size > _MAX_LISTING:
        raise Permanent(
            f"{filename} has a list of members of {size} bytes; {_MAX_LISTING} are accepted at most."
        )


def examine(wheel: zipfile.ZipFile, size: int, filename: str) -> Examined:
    """Every check but the hashes of check 5 on the wheel of `size` bytes that is to be called `filename`.

    Permanent with the first that fails.
    """
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise Permanent(f"'{printable(filename, 120)}' is not the file name of a wheel: {error}.") from error
    members = _plain(wheel, size, filename)
    dist_info = _dist_info(members, name, version, filename)
    check_identity(_text(wheel, f"{dist_info}/METADATA", filename), name, version, filename)
    rows = _rows(_text(wheel, f"{dist_info}/RECORD", filename), filename)
    files = _listed(members, rows, dist_info, filename)
    return Examined(name, str(version), dist_info, files, rows.values())


def check_identity(metadata: bytes, name: str, version: Version, filename: str) -> None:
    """Name and Version of METADATA or PKG-INFO are those given (check 4)."""
    headers = BytesHeaderParser(policy=compat32).parsebytes(metadata)
    names, versions = headers.get_all("Name", []), headers.get_all("Version", [])
    try:
        same = (
            len(names) == len(versions) == 1
            and canonicalize_name(str(names[0]).strip()) == name
            and Version(str(versions[0])) == version
        )
    except InvalidVersion:
        same = False
    if not same:  # 4
        found = printable(f"{', '.join(map(str, names))} {', '.join(map(str, versions))}", 120)
        raise Permanent(f"{filename} says inside that it is '{found}', not {name} {version}; it is refused.")


def check_path(name: str, filename: str) -> None:
    """The path of an archive's member is relative and ordinary (check 2)."""
    parts = name.removesuffix("/").split("/")
    if "\\" in name or not name.isprintable() or not _NO_NAMES.isdisjoint(parts):
        raise Permanent(
            f"{filename} holds a member with the path '{printable(name, 120)}', which is refused."
        )


def _plain(wheel: zipfile.ZipFile, size: int, filename: str) -> list[zipfile.ZipInfo]:
    """The members that are files (checks 1 and 2)."""
    infos = wheel.infolist()
    if not infos or len(infos) > MAX_MEMBERS:
        raise Permanent(f"{filename} holds {len(infos)} members; between 1 and {MAX_MEMBERS} are accepted.")
    if sum(info.file_size for info in infos) > min(MAX_INFLATED, max(_FREE, MAX_RATIO * size)):
        raise Permanent(
            f"{filename} would inflate beyond what a wheel of its size may; it is refused as a zip bomb."
        )
    if len({info.filename for info in infos}) != len(infos):
        raise Permanent(
            f"{filename} lists a member twice, so that tools would disagree about it; it is refused."
        )
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end or (end == 0 and info.header_offset != 0):
            raise Permanent(f"{filename} has overlapping members, or data before the first; it is refused.")
        end = info.header_offset + 30 + len(info.orig_filename.encode()) + info.compress_size
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Permanent(
                f"{filename} holds a member that is encrypted or packed unusually; it is refused."
            )
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.create_system == 3 and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Permanent(
                f"{filename} holds a symbolic link or device ('{printable(info.filename, 120)}')."
            )
        check_path(info.orig_filename, filename)
    return [info for info in infos if not info.is_dir()]


def _dist_info(members: Sequence[zipfile.ZipInfo], name: str, version: Version, filename: str) -> str:
    tops = {info.filename.partition("/")[0] for info in members}
    if any(top.endswith(".data") for top in tops):
        # What lies there is installed beside the rest; what it says of packages would be believed as well.
        tops.update(_moved(members))
    # importlib.metadata, which tells programs what is installed, reads such names in any case.
    found = sorted(top for top in tops if top.lower().endswith(".dist-info"))
    its_name, _, its_version = (
        found[0].removesuffix(".dist-info").partition("-") if len(found) == 1 else ("", "", "")
    )
    try:
        same = canonicalize_name(its_name) == name and Version(its_version) == version
    except InvalidVersion:
        same = False
    if not same:  # 3
        listed = printable(", ".join(found) or "none", 200)
        raise Permanent(
            f"{filename} needs one .dist-info directory, named for {name} {version}; it has {listed}."
        )
    return found[0]


def _moved(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """Directories in a `.data` that come to lie in the site directory itself."""
    for info in members:
        place = record.place_of(info.filename)
        if place not in (None, info.filename):
            yield info.filename.removesuffix(str(place)) + str(place).partition("/")[0]


def _text(wheel: zipfile.ZipFile, member: str, filename: str) -> bytes:
    try:
        info = wheel.getinfo(member)
    except KeyError as error:
        raise Permanent(f"{filename} has no {member}; it is not a wheel.") from error
    if info.file_size > _MAX_TEXT:
        raise Permanent(
            f"{filename} has a {member} of {info.file_size} bytes, which is refused as too large."
        )
    return wheel.read(info)


def _rows(listing: bytes, filename: str) -> dict[str, record.Row]:
    try:
        rows = record.parse(listing.decode())
    except ValueError as error:
        raise Permanent(f"{filename}: {printable(str(error), 200)}.") from error
    by_path = {row[0]: row for row in rows}
    if len(by_path) != len(rows):
        raise Permanent(f"{filename}: RECORD lists a path twice; it is refused.")
    return by_path


def _listed(
    members: Sequence[zipfile.ZipInfo], rows: dict[str, record.Row], dist_info: str, filename: str
) -> list[tuple[zipfile.ZipInfo, record.Row]]:
    """RECORD and the zip name the same files, with sizes and hashes (check 5); each file with its row."""
    unlisted = {f"{dist_info}/{name}" for name in _UNLISTED}
    names = {info.filename for info in members}
    if ghosts := sorted(rows.keys() - names - unlisted):
        raise Permanent(f"{filename}: RECORD lists '{printable(ghosts[0], 120)}', which is not in the wheel.")
    listed = []
    for info in members:
        if info.filename in unlisted:
            continue
        row = rows.get(info.filename)
        if row is None:
            raise Permanent(
                f"{filename} holds '{printable(info.filename, 120)}', which RECORD does not list."
            )
        if row[1].partition("=")[0] not in _HASHES:
            raise Permanent(
                f"{filename}: RECORD gives '{printable(info.filename, 120)}' no sha256 or better."
            )
        if row[2] not in ("", str(info.file_size)):
            raise _differs(info, filename)
        listed.append((info, row))
    return listed


def _hashed(wheel: zipfile.ZipFile, info: zipfile.ZipInfo, row: record.Row, filename: str) -> None:
    """The file has the hash that RECORD gives it (check 5)."""
    algorithm, _, expected = row[1].partition("=")
    digest = hashlib.new(algorithm)
    with wheel.open(info) as member:
        while chunk := member.read(_CHUNK):
            digest.update(chunk)
    if base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != expected.rstrip("="):
        raise _differs(info, filename)


def _differs(info: zipfile.ZipInfo, filename: str) -> Permanent:
    return Permanent(f"{filename}: '{printable(info.filename, 120)}' is not what RECORD says; it is refused.")
