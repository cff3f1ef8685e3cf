"""The disk is full at any write: the stage tries again, or the run ends with that one sentence. Nothing stays."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.stages.test_run import outcome
from tests.stages.world import World


class Disk:
    """Refuses the writes of the numbers in `full`, of those below `place`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.places: dict[str, tuple[range, list[str]]] = {}
        self._guard = threading.Lock()
        for where, name in ((Path, "write_bytes"), (tempfile, "mkdtemp")):
            patch.setattr(where, name, self._limited(getattr(where, name), name))

    def _limited(self, work: Callable[..., Any], name: str) -> Callable[..., Any]:
        def write(*given: Any, **named: Any) -> Any:
            target = os.fspath(
                named.get("dir") or (given[2] if name == "mkdtemp" and len(given) > 2 else given[0]) or ""
            )
            with self._guard:
                for place, (full, written) in self.places.items():
                    if Path(target).is_relative_to(place):
                        written.append(name)
                        if len(written) in full:
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
            return work(*given, **named)

        return write


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def played(disk: Disk, folder: Path, full: range) -> tuple[World, str, list[str]]:
    """A run whose disk is full at the writes of these numbers; the names of all that were tried."""
    folder.mkdir()
    world = World(folder)
    before = sorted(folder.iterdir())
    written: list[str] = []
    disk.places[os.fspath(folder)] = (full, written)
    run_id = world.request()
    world.bus.close()
    assert sorted(folder.iterdir()) == before, "temporary files are left"
    return world, run_id, written


def test_a_disk_that_is_full_at_any_one_write(disk: Disk, tmp_path: Path) -> None:
    plain, run_id, written = played(disk, tmp_path / "plain", range(0))
    expected = outcome(plain, run_id)
    assert expected["state"] == "completed"
    assert {"write_bytes", "mkdtemp"} <= set(written)

    def with_none_at(number: int) -> str:
        world, run_id, tried = played(disk, tmp_path / str(number), range(number, number + 1))
        found = outcome(world, run_id)
        again = len(tried) > number
        return "" if found == expected and again else f"{number}: {world.run(run_id)} {world.bus.dead}"

    with ThreadPoolExecutor(4) as pool:
        assert [wrong for wrong in pool.map(with_none_at, range(1, len(written) + 1)) if wrong] == []


def test_a_disk_that_stays_full_ends_the_run_with_that_sentence(disk: Disk, tmp_path: Path) -> None:
    world, run_id, written = played(disk, tmp_path / "full", range(1, 1000))
    run = world.run(run_id)
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert (
        run["reason"]
        == "There is no space left on the disk for the temporary files of the sync stage, 6 times."
    )
    assert len(written) == 6
    assert world.repositories() == {"dmz-python": [], "dmz-generic": [], "trixie": []}
    assert [reason for _, _, reason in world.bus.dead] == [run["reason"]]


def test_every_other_refusal_of_the_system_is_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: Any, **_named: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    world = World(tmp_path)
    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    run = world.run(world.request())
    world.bus.close()
    assert run["reason"].startswith("The sync stage has a defect: OSError: ")
