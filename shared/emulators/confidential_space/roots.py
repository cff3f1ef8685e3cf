"""Unpacked images, each once: containers of one image share it, for none of them writes to it."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.emulators.confidential_space.pull import Image
from shared.emulators.confidential_space.unpack import remove, unpack


class Roots:
    """Below `directory`, which belongs to one process; what an earlier one left is removed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self.clear()

    @contextmanager
    def of(self, image: Image) -> Iterator[Path]:
        """The root of `image`. Permanent if it cannot be unpacked."""
        # The layers' uncompressed digests decide the content; two images may share a configuration's digest only.
        key = hashlib.sha256("\n".join(layer.diff_id for layer in image.layers).encode()).hexdigest()
        root = self._directory / key
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if not root.exists():
                partial = root.with_suffix(".unpacking")
                remove(partial)
                partial.mkdir()
                partial.chmod(0o755)
                try:
                    unpack(image.layers, partial)
                except BaseException:
                    remove(partial)
                    raise
                partial.rename(root)
        yield root

    def clear(self) -> None:
        for root in self._directory.iterdir():
            remove(root)
