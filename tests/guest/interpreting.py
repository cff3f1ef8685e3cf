"""A workload's own interpreter on a machine of a test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.guest import (
    interpreter,
    inventory,
    python_inventory,
    python_tree,
)
from shared.guest.config import Config, InterpreterConfig, WorkloadConfig
from shared.guest.console import Console
from shared.guest.dpkg_inventory import Owned
from shared.guest.metadata import Metadata
from shared.model.value import sha256
from tests.guest.parts import config, server
from tests.support import interpreters

Entry = dict[str, Any]
MADE = interpreters.made()
SITE = f"lib/python{MADE.minor}/site-packages"


def wanting(url: str, role: str = "outer", **changes: str) -> Config:
    pinned = {"version": MADE.minor, "url": url, "sha256": MADE.sha256} | changes
    workload = WorkloadConfig("small", "true", "true", interpreter=InterpreterConfig(**pinned))
    return config(role, workload=workload)


def bring(machine: Path, content: bytes, **changes: str) -> Entry:
    """Play the outer VM; what stands in its manifest."""
    with server(lambda *_: (200, content)) as url:
        asked = wanting(f"{url}/python.tar.gz", **{"sha256": sha256(content)} | changes)
        interpreter.bring(asked, Metadata(url), Console(machine / "console.log"))
    (entry,) = inventory.generic(inventory.FETCHED)
    return entry


def taken(machine: Path) -> list[Entry]:
    return python_inventory.environments(Owned(), machine)


def own(machine: Path) -> Entry:
    (entry,) = [each for each in taken(machine) if each["path"] == str(python_tree.ROOT / SITE)]
    return entry
