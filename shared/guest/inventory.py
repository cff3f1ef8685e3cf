"""The inventory: everything on this machine, marked with what was there before the install began.

The shape is that of `ClaimedManifest` (shared/model/manifest.py); what a VM says of itself is a claim.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.guest import dpkg_inventory, python_inventory, strays

HOME = Path("/opt/dmz")
FETCHED = HOME / "fetched.jsonl"
"""What dmz-fetch brought, a JSON object per line."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """dpkg's packages and Python's environments at one moment."""

    debian: list[Entry]
    environments: list[Entry]


def take() -> Snapshot:
    return Snapshot(dpkg_inventory.packages(), python_inventory.environments(dpkg_inventory.owned()))


def claim(workload: str, before: Snapshot, after: Snapshot, fetched: Path = FETCHED) -> Entry:
    """The inventory as it is reported."""
    base_debian = {_identity(each) for each in before.debian}
    base_python = {
        (each["path"], each["managed_by_dpkg"]): {json.dumps(one, sort_keys=True) for one in each["packages"]}
        for each in before.environments
    }
    base_strays = {each["path"]: set(each["strays"]) for each in before.environments if each["strays"]}
    debian = []
    for each in after.debian:
        in_base = _identity(each) in base_debian
        # An archive in the cache of a package that was there already says nothing about where that came from.
        debian.append(each | {"in_base": in_base, "archive": None if in_base else each["archive"]})
    environments = []
    for each in after.environments:
        base = base_python.get((each["path"], each["managed_by_dpkg"]), set())
        packages = [one | {"in_base": json.dumps(one, sort_keys=True) in base} for one in each["packages"]]
        there = base_strays.get(each["path"], set())
        new = [path for path in each["strays"] if path not in there][: strays.MOST]
        environments.append(each | {"packages": packages, "strays": new})
    return {
        "workload": workload,
        "release": dpkg_inventory.release(),
        "debian": debian,
        "environments": environments,
        "generic": generic(fetched),
    }


def generic(fetched: Path) -> list[Entry]:
    """What was fetched by URL: the last fetch to each place counts."""
    if not fetched.exists():
        return []
    files = {}
    for line in fetched.read_text("utf-8").splitlines():
        entry = json.loads(line)
        files[entry["path"], entry["url"]] = entry
    return [files[key] for key in sorted(files)]


def _identity(entry: Entry) -> tuple[str, str, str]:
    return entry["name"], entry["version"], entry["architecture"]
