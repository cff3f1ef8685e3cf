"""The tree of the interpreter that a workload brings: what its archive put there, and what came later.

An interpreter imports from all of its tree, so all of it is compared, the standard library as well as what pip put
beside it. Not looked at: `__pycache__`, in which nothing is imported without the source beside it; what the RECORD of
an installed distribution lists with a hash (`shared.guest.intact` holds it to that); and the installer's own files of
a `.dist-info`.
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
    covered = {path for site in sites for path in strays.listed(site)}
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


def _sites(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root, followlinks=False):
        if folder.endswith(("/site-packages", "/dist-packages")):
            yield Path(folder)


def _what(path: str) -> str:
    if os.path.islink(path):  # noqa: PTH114 - text, not Path: an interpreter has some thousand files
        return f"-> {os.readlink(path)}"  # noqa: PTH115 - as above
    return dpkg_inventory.file_hash(Path(path)) if os.path.isfile(path) else ""  # noqa: PTH113 - as above
