"""An image's layers as one root file system, by whoever may write there: no root is needed, and none is given away.

https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#applying-changesets

Checks:
1. The layout is whole and every blob has its digest (`oci.read_layout`); what a layer inflates to has its diff_id.
2. Nothing is written outside the root: names are relative and plain, and a link on the way to a name leads where it
   would in the running image, never out of the root.
3. Device nodes and pipes are refused; set-id bits are dropped; hard links lead to files of the image alone.
4. There are no more than MAX_MEMBERS members and MAX_SIZE bytes.

Owners are not kept: everything belongs to the caller, who becomes the image's user where it runs.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO, cast

from shared.errors import Permanent, Transient
from shared.image import codec
from shared.image.oci import Layout, StoredLayer, read_layout
from shared.image.tree import check_path
from shared.model.value import printable

MAX_MEMBERS = 2_000_000
MAX_SIZE = 64 * 1024**3
_CHUNK = 1024 * 1024
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_MAX_LINKS = 40  # path_resolution(7)


def unpack(layout: Path, to: Path) -> Layout:
    """Unpack the image of the layout into the empty or missing directory `to`; what image it was.

    Permanent if the image is refused, Transient if there is no room.
    """
    image = read_layout(layout)  # 1
    try:
        to.mkdir(parents=True, exist_ok=True)
        if any(to.iterdir()):
            raise Permanent(f"{to} is not empty; give a directory that is.")
        modes: dict[Path, int] = {}
        for layer in image.layers:
            _Layer(layer, to, modes).apply()
        for path in sorted(modes, reverse=True):
            if path.is_dir() and not path.is_symlink():
                # Whoever unpacked it must be able to look into it and to remove it.
                path.chmod(modes[path] | 0o700)
    except OSError as error:
        raise Transient(
            f"The image cannot be unpacked to {to}: {error.strerror}; free some room and try again."
        ) from error
    return image


class _Layer:
    """One layer on its way over those below it."""

    def __init__(self, layer: StoredLayer, root: Path, modes: dict[Path, int]) -> None:
        self._layer, self._root, self._modes = layer, root, modes
        self._what = f"The layer {layer.name}"
        self._own: set[Path] = set()  # what this layer brings, and the directories above it
        self._parents: dict[str, Path] = {}

    def apply(self) -> None:
        with codec.opened(self._layer.path, self._layer.media_type, self._what) as stream:
            hashed = _Hashed(stream)
            try:
                with tarfile.open(fileobj=cast(IO[bytes], hashed), mode="r|", bufsize=_CHUNK) as archive:
                    self._members(archive)
                while hashed.read(_CHUNK):  # to the end: the digest is of all of it
                    pass
            except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
                raise Permanent(f"{self._what} holds no sound tar archive: {error}.") from error
        if hashed.digest() != self._layer.diff_id:  # 1
            raise Permanent(f"{self._what} inflates to something else than its image says; it is refused.")

    def _members(self, archive: tarfile.TarFile) -> None:
        size = 0
        for number, member in enumerate(archive):
            size += member.size
            if number >= MAX_MEMBERS or size > MAX_SIZE:  # 4
                raise Permanent(f"{self._what} is larger than any image that is run here; it is refused.")
            name = self._name(member.name)
            if name:
                self._member(archive, member, name)
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every one

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        parent, _, last = name.rpartition("/")
        directory = self._directory(parent)
        if last == _OPAQUE:
            for path in [*directory.iterdir()]:
                self._hide(path)
            return
        if last.startswith(_WHITEOUT):
            check_path(hidden := last.removeprefix(_WHITEOUT))
            self._hide(directory / hidden)
            return
        place = directory / last
        if member.isdir():
            if place.is_symlink() or not place.is_dir():
                self._clear(place)
                place.mkdir(0o700)
            self._modes[place] = member.mode & 0o777
        elif member.issym():
            self._clear(place)
            place.symlink_to(member.linkname)
        elif member.islnk():
            self._link(member.linkname, place)
        elif (source := archive.extractfile(member)) is not None and member.isreg():
            self._clear(place)
            with place.open("xb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            place.chmod(member.mode & 0o777)  # 3
        else:
            raise Permanent(
                f"{self._what} brings {printable(name, 200)}, which is no file, link or directory."
            )  # 3
        while place not in self._own:
            self._own.add(place)
            place = place.parent

    def _link(self, target: str, place: Path) -> None:
        parent, _, last = self._name(target).rpartition("/")
        origin = self._directory(parent) / last
        if not last or not stat.S_ISREG(origin.lstat().st_mode if os.path.lexists(origin) else 0):  # 3
            raise Permanent(
                f"{self._what} has a hard link to {printable(target, 200)}, which is no file before it."
            )
        self._clear(place)
        os.link(origin, place, follow_symlinks=False)

    def _hide(self, path: Path) -> None:
        """Take away what lower layers brought; what this one brings stays."""
        if path not in self._own:
            self._clear(path)
        elif path.is_dir() and not path.is_symlink():
            for each in [*path.iterdir()]:
                self._hide(each)

    def _clear(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            self._parents.clear()
        elif os.path.lexists(path):
            path.unlink()
            self._parents.clear()

    def _name(self, name: str) -> str:
        """Relative and plain, empty for the root (check 2)."""
        path = name.removeprefix("./").removesuffix("/")
        if path in ("", "."):
            return ""
        try:
            check_path(path)
        except Permanent as error:
            shown = printable(repr(name), 200)
            raise Permanent(f"{self._what} has a path that leads out of the image: {shown}.") from error
        return path

    def _directory(self, name: str) -> Path:
        """The directory that `name` is inside the image, links followed as they would be there (check 2)."""
        if name in self._parents:
            return self._parents[name]
        done: list[str] = []
        left, links = name.split("/")[::-1] if name else [], 0
        while left:
            part = left.pop()
            if part == "..":
                done = done[:-1]
                continue
            path = self._root.joinpath(*done, part)
            if path.is_symlink():
                links += 1
                if links > _MAX_LINKS:
                    raise Permanent(f"{self._what}: links lead in a circle at {printable(name, 200)}.")
                target = str(path.readlink())
                done = [] if target.startswith("/") else done
                left += [each for each in posixpath.join("/", target).split("/") if each not in ("", ".")][
                    ::-1
                ]
                continue
            if not os.path.lexists(path):
                path.mkdir(0o755)
            elif not path.is_dir():
                raise Permanent(
                    f"{self._what} has a path below {printable(name, 200)}, which is no directory."
                )
            done.append(part)
        self._parents[name] = self._root.joinpath(*done)
        return self._parents[name]


class _Hashed(io.RawIOBase):
    """A stream that keeps the sha256 of what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._digest.update(data)
        return data

    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"
