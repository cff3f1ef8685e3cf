"""Holds an installed distribution to its own RECORD: a modified install must not pass as the wheel's."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.guest import record

_ALGORITHMS = ("sha256", "sha384", "sha512")
_CHUNK = 1 << 20


def record_digest(dist_info: Path) -> str | None:
    """The canonical digest of RECORD; None without one, or if a file that it lists is missing or differs."""
    try:
        text = (dist_info / "RECORD").read_bytes().decode()
        rows = record.parse(text)
        digest = record.from_installed(text, dist_info.name)
    except (OSError, ValueError):
        return None
    if not any(record.kept(rows, dist_info.name)):
        return None
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        same = pool.map(lambda row: is_same(dist_info.parent / row[0], row[1], row[2]), rows)
        return digest if all(same) else None


def is_same(path: Path, hash_: str, size: str) -> bool:
    """True if the file has the hash and the size of its row; a row without a hash says nothing."""
    if not hash_:
        return True
    algorithm, _, expected = hash_.partition("=")
    if algorithm not in _ALGORITHMS:
        return False
    state = hashlib.new(algorithm)
    try:
        if size and path.stat().st_size != int(size):
            return False
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError:
        return False
    return base64.urlsafe_b64encode(state.digest()).rstrip(b"=").decode() == expected
