"""Files in the site directories of a virtual environment that no installed distribution answers for.

Whatever lies there can be imported, and a `.pth` file runs at every start of the interpreter; a comparison of RECORDs
alone would not see it. Not looked at, because interpreters and installers write it and no RECORD need list it:
1. `__pycache__`, in which nothing is imported without the source beside it.
2. The installer's own files of a `.dist-info` (`shared.guest.record`), and the leftovers of an interrupted
   uninstallation (`~` and a name).
3. What virtualenv and uv put into each new environment: `_virtualenv.py`, and a `_virtualenv.pth` that imports it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.guest import record

MOST = 50
"""Strays that are reported; one is enough to refuse a machine."""
_LENGTH = 300


def find(sites: Iterable[Path]) -> list[str]:
    """Paths of strays below `sites`, sorted, as printable ASCII."""
    sites = [site for site in sites if not any(other in site.parents for other in sites)]
    covered = {path for site in sites for path in listed(site)}
    return sorted(
        shown(path)
        for site in sites
        for path in present(site)
        if path not in covered and not _is_expected(Path(path), site)
    )


def shown(path: str) -> str:
    """Printable ASCII, so that no name speaks to a terminal."""
    return "".join(
        c if " " <= c <= "~" else c.encode("unicode_escape", "surrogatepass").decode() for c in path
    )[:_LENGTH]


def listed(site: Path) -> Iterator[str]:
    """What the RECORDs of a site directory list below it, with a hash: only that is part of a canonical digest."""
    for path in rows(site):
        if (place := record.place_of(path)) is not None:
            yield os.path.normpath(f"{site}/{place}")


def rows(site: Path) -> Iterator[str]:
    """Paths that the RECORDs of a site directory list with a hash, as they spell them."""
    for dist_info in site.glob("*.dist-info"):
        try:
            found = record.parse((dist_info / "RECORD").read_bytes().decode())
        except (OSError, ValueError):
            continue  # its distribution has no digest either
        yield from (path for path, hash_, _ in found if hash_)


def present(site: Path) -> Iterator[str]:
    """Every file, and every link to a directory, below `site`."""
    for folder, folders, files in os.walk(site, followlinks=False):
        top = folder == str(site)
        # Text, not Path: a large environment has a hundred thousand files.
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114
        folders[:] = [name for name in folders if name != "__pycache__" and not (top and name[0] == "~")]
        yield from (f"{folder}/{name}" for name in (*links, *files))


def _is_expected(path: Path, site: Path) -> bool:
    if path.parent.suffix == ".dist-info" and path.parent.parent == site:
        return path.name in record.INSTALLER_FILES  # 2
    if path == site / "_virtualenv.py":
        return path.is_file()  # 3
    if path == site / "_virtualenv.pth":
        return path.is_file() and path.read_bytes().strip() == b"import _virtualenv"  # 3
    return False
