"""A folder in the place of the private repositories, for comparisons with tools that end with files in one."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from shared.errors import Permanent
from shared.model.lock import LockedArchive, LockedPython
from shared.model.value import sha256
from shared.ports.registry import Stored


class FolderRegistry:
    """Port `Registry` for Python files and locks. A file gets a second name here, so its bytes are written once."""

    def __init__(self, place: Path) -> None:
        """`place` is on the file system of the stage's scratch folder, and empty."""
        self._place = place
        self._held: dict[tuple[str, str], Stored] = {}
        self._lock = threading.Lock()

    def stored(self, repository: str) -> Sequence[Stored]:
        with self._lock:
            return [stored for (where, _), stored in sorted(self._held.items()) if where == repository]

    def find(self, repository: str, versions: Collection[tuple[str, str]]) -> Sequence[Stored]:
        wanted = {_owner(*version) for version in versions}
        return [stored for stored in self.stored(repository) if stored.owner in wanted]

    def upload_python(self, repository: str, file: LockedPython, path: Path) -> None:
        self._keep(repository, file.filename, file.sha256, path, _owner(file.name, file.version))

    def upload_generic(self, repository: str, package: str, version: str, filename: str, path: Path) -> None:
        name = f"{package}:{version}:{filename}"
        self._keep(repository, name, sha256(path.read_bytes()), path, _owner(package, version))

    def upload_apt(self, repository: str, file: LockedArchive, path: Path) -> None:
        raise Permanent(f"{repository}: {file.name} is no Python file; this folder takes no other.")

    def delete_version(self, owner: str) -> None:
        raise Permanent(f"{owner} stays: nothing is deleted in this folder.")

    def download_generic(
        self, repository: str, package: str, version: str, filename: str, to: Path, limit: int
    ) -> None:
        raise Permanent(
            f"{repository} gives nothing back, {filename} of {package} {version} neither, nor {limit} bytes to {to}."
        )

    def _keep(self, repository: str, name: str, digest: str, path: Path, owner: str) -> None:
        place = self._place / repository / name
        place.parent.mkdir(exist_ok=True)
        size = path.stat().st_size
        with self._lock:
            held = self._held.setdefault((repository, name), Stored(repository, name, digest, size, owner))
        if held.sha256 != digest:
            raise Permanent(f"{repository} already holds {name} with other bytes; take an empty folder.")
        if not place.exists():
            place.hardlink_to(path)


def _owner(package: str, version: str) -> str:
    return f"packages/{package}/versions/{version}"
