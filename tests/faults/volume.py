"""A small file system in memory for one directory: its room is taken and given back while it is in use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PAGE = 4096
_TRIES = 5


class Volume:
    """Mounted at `place` from the first `mount` until `close`; only root can (tmpfs(5))."""

    def __init__(self, place: Path) -> None:
        self.place, self._size = place, 0

    def mount(self, megabytes: int) -> bool:
        """An empty file system of this size. False where that is not permitted."""
        self._size = megabytes << 20
        self.place.mkdir(parents=True, exist_ok=True)
        return self._called("-t", "tmpfs", "-o", f"size={self._size}", "tmpfs")

    def resize(self, megabytes: int) -> bool:
        self._size = megabytes << 20
        return self._called("-o", f"remount,size={self._size}")

    def fill(self, left: int) -> bool:
        """Of what is free now, `left` bytes stay so. Whoever writes meanwhile may be quicker: then once more."""
        for _ in range(_TRIES):
            state = os.statvfs(self.place)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            # A size of 0 would be no limit.
            if self._called("-o", f"remount,size={max(_PAGE, used + left)}"):
                return True
        return False

    def empty(self) -> None:
        """All the room again."""
        if self.place.is_mount():
            self._called("-o", f"remount,size={self._size}")

    def close(self) -> None:
        if self.place.is_mount():
            subprocess.run(("umount", "--lazy", os.fspath(self.place)), check=False, capture_output=True)

    def _called(self, *options: str) -> bool:
        command = ("mount", *options, os.fspath(self.place))
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
