"""A machine's root of a test's own, and an interpreter in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.guest import fetch, interpreter, inventory, python_tree, untar
from tests.guest.interpreting import MADE


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root directory of a machine's own."""
    home = tmp_path / "opt/dmz"
    home.mkdir(parents=True)
    monkeypatch.setattr(inventory, "FETCHED", home / "fetched.jsonl")
    monkeypatch.setattr(interpreter, "ARCHIVE", home / "python.archive")
    monkeypatch.setattr(fetch, "LOCK", home / "lock.json")
    monkeypatch.setattr(python_tree, "ROOT", home / "python")
    monkeypatch.setattr(python_tree, "INDEX", home / "python.json")
    return tmp_path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("unpacked")
    (home / "archive").write_bytes(MADE.content)
    held = untar.unpack(home / "archive", "python", home / "python")
    (home / "held.json").write_text(json.dumps(held))
    return home


@pytest.fixture
def there(machine: Path, unpacked: Path) -> Iterator[Path]:
    """The interpreter as `bring` leaves it, without the fetch."""
    shutil.copytree(unpacked / "python", python_tree.ROOT, symlinks=True)
    python_tree.save(MADE.version, json.loads((unpacked / "held.json").read_text()))
    yield machine
    shutil.rmtree(python_tree.ROOT)
