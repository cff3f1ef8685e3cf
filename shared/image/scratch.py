"""A directory for what is made on the way to a layer; it goes when nothing points into it any more."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from shared.errors import Permanent, Transient
from shared.image import sandbox
from shared.image.sources import Source
from shared.image.tree import Content


def content(path: Path) -> Content:
    """A file that nobody changes any more."""
    return Content(path.stat().st_size, lambda: path.open("rb"))


class Scratch:
    """Lives as long as it, or any content of it, is held."""

    def __init__(self) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="image-"))
        except OSError as error:
            raise Transient(
                f"No directory can be made to compile in: {error.strerror}; free some room."
            ) from error
        self._end = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def directory(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(parents=True, mode=0o755)
        return path

    def content(self, path: Path) -> Content:
        """The file at `path`, below this directory, which nobody changes any more."""

        def opened() -> IO[bytes]:
            if not self.path.exists():
                raise Transient(
                    f"The directory {self.path} went away while the image was built; build it again."
                )
            return path.open("rb")

        return Content(path.stat().st_size, opened)

    def contents(self, directory: Path, suffix: str = "") -> dict[str, Content]:
        """Every file below `directory` that ends so, by its path relative to it. Permanent for anything but files."""
        found = {}
        for path in sorted(directory.rglob(f"*{suffix}")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise Permanent(f"A compile step made {path.name}, which is no file.")
            if path.is_file():
                found[path.relative_to(directory).as_posix()] = self.content(path)
        return found

    def save(self, content: Content, name: str) -> Path:
        """Write `content` to the new file `name` (which may name directories)."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with content.open() as stream, place.open("xb") as file:
            shutil.copyfileobj(stream, file, 1024 * 1024)
        place.chmod(0o644)
        os.utime(place, (sandbox.EPOCH, sandbox.EPOCH))  # __TIMESTAMP__ of C and C++ is the source's time
        return place

    def copy(self, sources: Sequence[Source], name: str) -> Path:
        """The sources, as they were when the image was planned, with nothing of their owner and times."""
        to = self.directory(name)
        for source in sources:
            self.save(source.file().content, f"{name}/{source.place}")
        return to
