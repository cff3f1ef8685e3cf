"""A folder in the place of the repositories keeps what it is given, once, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.model.lock import LockedPython
from shared.model.value import sha256
from tests.benchmarks.folder_registry import FolderRegistry


def locked(content: bytes) -> LockedPython:
    return LockedPython(
        name="small",
        version="1.0",
        filename="small-1.0-py3-none-any.whl",
        sha256=sha256(content),
        url="https://files.test/small",
        record=None,
    )


def test_a_file_stays_when_its_source_goes_and_is_found(tmp_path: Path) -> None:
    place, path = tmp_path / "kept", tmp_path / "fetched"
    place.mkdir()
    registry = FolderRegistry(place)
    for _ in range(2):
        path.write_bytes(b"wheel")
        registry.upload_python("dmz-python", locked(b"wheel"), path)
        path.unlink()
    (stored,) = registry.stored("dmz-python")
    assert (stored.name, stored.sha256, stored.size) == (locked(b"").filename, sha256(b"wheel"), 5)
    assert registry.find("dmz-python", [("small", "1.0")]) == [stored]
    assert registry.find("dmz-python", [("small", "2.0")]) == []
    assert (place / "dmz-python" / stored.name).read_bytes() == b"wheel"


def test_other_bytes_of_a_name_are_refused(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    path = tmp_path / "fetched"
    path.write_bytes(b"wheel")
    registry.upload_python("dmz-python", locked(b"wheel"), path)
    with pytest.raises(Permanent, match="other bytes"):
        registry.upload_python("dmz-python", locked(b"other"), path)
