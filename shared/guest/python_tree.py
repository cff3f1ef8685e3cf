"""The tree of the interpreter that a workload brings: what its archive put there, and what came later.

An interpreter imports from all of its library, so all of it is compared, not the site directories alone. Not looked at,
beyond what `shared.guest.strays` leaves out:
1. What the RECORD of an installed distribution lists in its site directory with a hash: `shared.guest.intact` holds it
   to that.
2. Scripts and data that a RECORD lists outside its site directory, as far as nothing imports them: below `lib`, and
   the interpreter's own programs, the archive alone counts, as no digest covers those rows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.guest import dpkg_inventory, record, strays
from shared.guest.untar import Held

ROOT = Path("/opt/dmz/python")
INDEX = Path("/opt/dmz/python.json")

Entry = dict[str, Any]


def save(version: str, held: Held) -> None:
    """Keep what the archive held, for the inventories."""
    text = json.dumps({"version": version, "files": held}, sort_keys=True)
    INDEX.write_text(text, encoding="utf-8")


def version() -> str:
    """Full version of the workload's own interpreter, like 3.12.11; empty if it brings none."""
    found = _read()
    return str(found["version"]) if found else ""


def complete(environments: list[Entry]) -> list[Entry]:
    """The environments with the interpreter's own among them, whatever is installed there, and its strays told."""
    found = _read()
    if found is None:
        return environments
    minor = re.sub(r"^(3\.[0-9]+).*", r"\1", found["version"])
    own = {
        "path": str(ROOT / f"lib/python{minor}/site-packages"),
        "python": found["version"],
        "virtual": False,
        "managed_by_dpkg": False,
        "packages": [],
    }
    there = [each for each in environments if each["path"] == own["path"]]
    entry = (there[0] if there else own) | {"strays": _strays(ROOT, found["files"])}
    return [each for each in environments if each["path"] != own["path"]] + [entry]


def _read() -> Entry | None:
    try:
        found: Entry = json.loads(INDEX.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return found


def _strays(root: Path, files: Held) -> list[str]:
    """Paths of what the archive did not hold, or held otherwise."""
    sites = list(_sites(root))
    covered = {path for site in sites for path in strays.listed(site)}  # 1
    covered |= {path for site in sites for path in _beside(root, site)}  # 2
    dist_infos = {str(path) for site in sites for path in site.glob("*.dist-info")}
    return sorted(
        strays.shown(path)
        for path in strays.present(root)
        if path not in covered
        and not _is_the_installers(path, dist_infos)
        and files.get(path[len(str(root)) + 1 :]) != _what(path)
    )


def _is_the_installers(path: str, dist_infos: set[str]) -> bool:
    folder, _, name = path.rpartition("/")
    return folder in dist_infos and name in record.INSTALLER_FILES


def _beside(root: Path, site: Path) -> Iterator[str]:
    """What RECORDs list outside their site directory, but for the library and the interpreter's own programs."""
    kept = tuple(f"{root}/{each}" for each in ("lib/", "lib64/", "bin/python"))
    for row in strays.rows(site):
        path = os.path.normpath(f"{site}/{row}")
        if record.place_of(row) is None and path.startswith(f"{root}/") and not path.startswith(kept):
            yield path


def _sites(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root, followlinks=False):
        if folder.endswith(("/site-packages", "/dist-packages")):
            yield Path(folder)


def _what(path: str) -> str:
    if os.path.islink(path):  # noqa: PTH114 - text, not Path: an interpreter has some thousand files
        return f"-> {os.readlink(path)}"  # noqa: PTH115 - as above
    return dpkg_inventory.file_hash(Path(path)) if os.path.isfile(path) else ""  # noqa: PTH113 - as above
