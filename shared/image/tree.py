"""A file tree that becomes one layer: what stands where, independent of any disk.

Only what an image may differ in is kept: paths, bytes, permission bits, symlink targets. Owner, times and extended
attributes are the same for every file of every image, so a tree does not know them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from shared.errors import Permanent
from shared.model.value import printable


@dataclass(frozen=True)
class Content:
    """A file's bytes, opened when they are needed: a tree of gigabytes stays small."""

    size: int
    open: Callable[[], IO[bytes]]
    """A new stream from the first byte; must give exactly `size` bytes, the same ones each time."""
    same: str = ""
    """Hardlink identity: files of one tree with the same non-empty value are one file with several names."""


@dataclass(frozen=True)
class File:
    content: Content
    mode: int
    """0o644 or 0o755, or with set-user-id, set-group-id and sticky bits as the package has them."""


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Directory:
    mode: int = 0o755


Node = File | Link | Directory


class Tree:
    """Paths (relative, `/`-separated, without `.` and `..`) to nodes. Parents that nobody names are 0755."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._inner: set[str] = set()  # paths that others lie below

    def add(self, path: str, node: Node) -> None:
        """Place `node` at `path`. The same directory may be added twice with the same mode, nothing else may.

        Permanent for a path that is not plain, and for two different things in one place.
        """
        check_path(path)
        before = self._nodes.get(path)
        if before is not None and not (isinstance(before, Directory) and before == node):
            raise Permanent(f"Two inputs of one layer bring the path {printable(path, 200)}; leave one out.")
        for parent in _parents(path):
            if isinstance(self._nodes.get(parent), File | Link):
                raise Permanent(
                    f"{printable(path, 200)} lies below {printable(parent, 200)}, which is no directory; "
                    "leave one of the two inputs out."
                )
        if isinstance(node, File | Link) and path in self._inner:
            raise Permanent(f"{printable(path, 200)} is a directory for one input and a file for another.")
        self._nodes[path] = node
        self._inner.update(_parents(path))

    def get(self, path: str) -> Node | None:
        return self._nodes.get(path)

    def merge(self, other: Tree) -> None:
        for path, node in other.entries():
            self.add(path, node)

    def entries(self) -> Iterator[tuple[str, Node]]:
        """As they were added; whoever writes them sorts them by the path's bytes and adds missing parents."""
        return iter(self._nodes.items())

    def __len__(self) -> int:
        return len(self._nodes)


def check_path(path: str) -> None:
    """Permanent unless `path` is relative and plain: it must stay where it was put, whoever unpacks it."""
    parts = path.split("/")
    if not path or "\x00" in path or any(part in ("", ".", "..") for part in parts):
        raise Permanent(
            f"An image cannot hold the path {printable(repr(path), 200)}; only plain relative paths."
        )


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)
