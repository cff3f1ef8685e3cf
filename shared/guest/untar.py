"""Unpacks a tar whose bytes are pinned and whose makers are not known, into a directory of its own.

1. It is a tar as this Python's library reads it: gzip, xz, bzip2 or none; zstd from Python 3.14 on.
2. It holds plain files, directories, symbolic and hard links: no devices, pipes or sparse files.
3. Every name is relative, printable, never climbs, and lies below the one top directory.
4. A name stands once, directories aside, and nothing lies below a file or link: nothing is written through a link.
5. A symbolic link stays inside, step by step and in the end; a hard link leads to a file that came before it.
6. It has at most MOST members and MAX_BYTES of content.
7. Owners are dropped, modes become 755 or 644: nothing is set-uid, nothing is for others to write.
8. The tree appears under its name when it is whole and right; else nothing of it stays.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import platform
import shutil
import tarfile
import zlib
from pathlib import Path

from shared.guest.failure import GuestError

MOST = 100_000
MAX_BYTES = 4 << 30
_CHUNK = 1 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"
"""https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1"""
_LATEST = (1 << 32) - 1
"""Seconds since 1970 that every file system can keep."""

Held = dict[str, str]
"""Path below the top directory to `sha256:<hex>` of a file, or `-> target` of a symbolic link."""


def unpack(archive: Path, top: str, to: Path) -> Held:
    """Make `to` of what lies below `top` in the archive; GuestError with the first thing that is wrong."""
    partial = to.with_name(to.name + ".partial")
    for old in (partial, to):
        shutil.rmtree(old, ignore_errors=True)
    try:
        with _open(archive) as tar:
            writer = _Writer(top, partial)
            for count, member in enumerate(tar, 1):
                writer.add(tar, member, count)
        writer.check_links()
        partial.rename(to)  # 8
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise GuestError(f"{archive.name} cannot be unpacked: {_one_line(error)}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return writer.held


def _open(archive: Path) -> tarfile.TarFile:
    with archive.open("rb") as file:
        is_zstd = file.read(len(_ZSTD)) == _ZSTD
    if is_zstd and "zst" not in tarfile.TarFile.OPEN_METH:  # 1
        raise GuestError(
            f"{archive.name} is compressed with zstd, which this image's Python {platform.python_version()} cannot "
            "read: name the .tar.gz of the same build."
        )
    try:
        return tarfile.open(archive, "r:*")
    except tarfile.ReadError as error:  # 1
        raise GuestError(
            f"{archive.name} is no tar archive that Python {platform.python_version()} can read."
        ) from error


class _Writer:
    """Writes members below `root`, which stands for the archive's directory `top`."""

    def __init__(self, top: str, root: Path) -> None:
        self._top, self._root = top, root
        self._directories: set[str] = set()
        self._bytes = 0
        self.held: Held = {}
        self._make("")

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo, count: int) -> None:
        self._bytes += member.size
        if count > MOST or self._bytes > MAX_BYTES:  # 6
            raise GuestError(
                f"The archive holds more than {MOST} members or {MAX_BYTES >> 30} GiB: it is not unpacked."
            )
        path = self._place(member.name)
        if path is None:
            return
        if member.isdir():
            self._make(path)
            return
        self._free(path, member)
        if member.issym():
            self._link(path, member)
        elif member.islnk():
            self._hard_link(path, member)
        elif member.isreg() and not member.issparse():
            self._file(path, tar, member)
        else:  # 2
            raise GuestError(
                f"The archive holds {member.name!a:.200}, which is no file, directory or link: it is not unpacked."
            )

    def _place(self, name: str) -> str | None:
        """Where below the top directory a name lies; empty for that itself, None for what stands above it."""
        while name.startswith("./"):
            name = name[2:]
        if name in ("", "."):
            return None
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:  # 3
            raise GuestError(f"The archive holds {name!a:.200}, which leads out of it: it is not unpacked.")
        if not name.isprintable() or "" in parts or "." in parts:  # 3
            raise GuestError(f"The archive holds {name!a:.200}, which is no plain name: it is not unpacked.")
        if parts[0] != self._top:  # 3
            raise GuestError(
                f"The archive holds {name!a:.200} outside its directory {self._top}/: it is not unpacked."
            )
        return "/".join(parts[1:])

    def _make(self, path: str) -> None:
        """The directory `path` and those above it."""
        parts = path.split("/") if path else []
        for depth in range(len(parts) + 1):
            each = "/".join(parts[:depth])
            if each in self.held:  # 4
                raise GuestError(
                    f"The archive holds {path!a:.200} below {each!a:.200}, which is no directory: it is not unpacked."
                )
            if each not in self._directories:
                (self._root / each).mkdir(mode=0o755)
                (self._root / each).chmod(0o755)  # 7
                self._directories.add(each)

    def _free(self, path: str, member: tarfile.TarInfo) -> None:
        """See that nothing has the name yet and that its directory is there."""
        if path in self.held or path in self._directories or not path:  # 4
            raise GuestError(f"The archive holds {member.name!a:.200} twice: it is not unpacked.")
        self._make(path.rpartition("/")[0])

    def _file(self, path: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        content = tar.extractfile(member)
        if content is None:
            raise GuestError(f"The archive holds {member.name!a:.200} without content: it is not unpacked.")
        digest, to = hashlib.sha256(), self._root / path
        with to.open("xb") as file:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        to.chmod(0o755 if member.mode & 0o111 else 0o644)  # 7
        time = min(max(int(member.mtime), 0), _LATEST)
        os.utime(to, (time, time))  # byte code beside a source is held to its time
        self.held[path] = "sha256:" + digest.hexdigest()

    def _link(self, path: str, member: tarfile.TarInfo) -> None:
        depth = path.count("/")
        for part in member.linkname.split("/"):
            depth += (part not in ("", ".")) - 2 * (part == "..")
            if depth < 0 or member.linkname.startswith("/"):  # 5
                raise _out(path, member.linkname)
        (self._root / path).symlink_to(member.linkname)
        self.held[path] = f"-> {member.linkname}"

    def _hard_link(self, path: str, member: tarfile.TarInfo) -> None:
        target = self._place(member.linkname) or ""
        if not self.held.get(target, "->").startswith("sha256:"):  # 5
            raise GuestError(
                f"The archive holds {member.name!a:.200} as a link to {member.linkname!a:.200}, which is no file that "
                "came before it: it is not unpacked."
            )
        (self._root / path).hardlink_to(self._root / target)
        self.held[path] = self.held[target]

    def check_links(self) -> None:
        """Where the symbolic links lead, now that all of them are there."""
        root = os.path.realpath(self._root)
        for path, what in self.held.items():
            end = os.path.realpath(self._root / path)
            if end != root and not end.startswith(f"{root}/"):  # 5
                raise _out(path, what.removeprefix("-> "))


def _out(path: str, target: str) -> GuestError:
    return GuestError(
        f"The archive holds the link {path!a:.200} to {target!a:.200}, which leads out of it: it is not unpacked."
    )


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
