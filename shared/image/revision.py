"""Which state of the sources a build is about."""

from __future__ import annotations

import hashlib
from pathlib import Path

from shared.image import sources


def revision(source: Path) -> str:
    """`tree:` and a sha256 over names, modes and bytes of the files in `source`: the same for everybody who has them."""
    digest = hashlib.sha256()
    for each in sources.read(source):
        digest.update(f"{each.place}\0{int(each.executable)}\0{each.sha256}\n".encode())
    return f"tree:sha256:{digest.hexdigest()}"
