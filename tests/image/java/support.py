"""A root file system of a shell alone, and locked inputs that are files of the test."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from shared.model.image import LockedInput

Role = Literal["base", "jar", "native", "jdk", "compiler"]


def shell_root(where: Path) -> Path:
    """`sh` and the libraries that it needs: enough to look around in a sandbox without a download."""
    shell = Path("/bin/sh").resolve()
    listed = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        place = where / library.lstrip("/").removeprefix("usr/").replace("lib", "usr/lib", 1)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    (where / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(shell, where / "usr/bin/sh")
    for name in ("bin", "lib", "lib64"):
        (where / name).symlink_to(f"usr/{name}")
    return where


class Files:
    """Inputs by hash, and a count of how often each was asked for."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.asked = 0

    def add(self, role: Role, name: str, data: bytes, filename: str, path: str = "") -> LockedInput:
        digest = hashlib.sha256(data).hexdigest()
        self.where.mkdir(exist_ok=True)
        (self.where / digest).write_bytes(data)
        return LockedInput(
            role=role,
            name=name,
            url=f"https://deb.debian.org/pool/{filename}",
            sha256=f"sha256:{digest}",
            size=len(data),
            path=path,
        )

    def path(self, locked: LockedInput) -> Path:
        self.asked += 1
        return self.where / locked.sha256.removeprefix("sha256:")


def without(inputs: Sequence[LockedInput], role: Role) -> tuple[LockedInput, ...]:
    return tuple(each for each in inputs if each.role != role)
