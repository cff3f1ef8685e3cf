"""`./dmz sbom`, and the papers of a whole run: valid, lasting, beside the lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import sbom as command
from functions.ctl.cli import main
from functions.ctl.stored import Records
from shared.bom.names import SBOM, VEX, is_document, place
from shared.model.value import sha256
from tests.bom.world import check
from tests.stages.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: Any) -> Iterator[World]:
    made = World(tmp_path)
    monkeypatch.setattr(command, "records", lambda *_: Records(made.store, made.blobs))
    yield made
    made.bus.close()


def test_the_papers_of_a_run_are_valid_and_say_what_it_installs(
    world: World, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run_id = world.request()
    capfdbinary.readouterr()
    assert main(["sbom", run_id]) == 0
    bill = check(capfdbinary.readouterr().out)
    assert main(["sbom", run_id, "--vex"]) == 0
    meaning = check(capfdbinary.readouterr().out)
    parts = {each["bom-ref"]: each for each in bill["components"]}
    lock = world.lock(run_id)
    locked = {file.sha256[7:] for environment in lock.environments for file in environment.packages}
    locked |= {file.sha256[7:] for file in (*lock.debian, *lock.generic)}
    hashes = {each["hashes"][0]["content"] for each in parts.values() if "hashes" in each}
    assert locked <= hashes
    (flaw,) = (each for each in meaning["vulnerabilities"] if each["id"] == "GHSA-lib-1.0")
    assert flaw["analysis"]["state"] == "resolved"
    assert flaw["affects"][0]["versions"] == [
        {"version": "1.0", "status": "affected"},
        {"version": "1.1", "status": "unaffected"},
    ]
    serial = bill["serialNumber"].removeprefix("urn:uuid:")
    assert flaw["affects"][0]["ref"] == f"urn:cdx:{serial}/1#pkg%3Apypi%2Flib%401.1"


def test_they_lie_beside_the_lock_and_stay(world: World, tmp_path: Path) -> None:
    run = world.run(world.request())
    held = {each.name: each.sha256 for each in world.registry.stored("dmz-generic")}
    for field, filename in (("sbom", SBOM), ("vex", VEX)):
        assert held[":".join(place(run["lock"], run[field], filename))] == run[field]
        assert world.blobs.end(run[field]) is None
        assert is_document(":".join(place(run["lock"], run[field], filename)), run[field])
        assert not is_document(":".join(place(run["lock"], run[field], filename)), sha256(b"other"))


def test_to_a_file(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    assert main(["sbom", run_id, "--out", str(tmp_path / "x.json")]) == 0
    assert sha256((tmp_path / "x.json").read_bytes()) == world.run(run_id)["sbom"]
    capsys.readouterr()
    assert main(["sbom", run_id, "--out", str(tmp_path / "no" / "x.json")]) == 2
    assert main(["sbom", run_id, "--out", str(tmp_path)]) == 2
    assert "name a file in a directory" in capsys.readouterr().err


def test_what_is_not_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.market.projects.clear()
    failed = world.request()
    capsys.readouterr()
    assert main(["sbom", failed]) == 1
    assert f"The run {failed} has no SBOM" in capsys.readouterr().err
    assert main(["sbom", "run-\x1b"]) == 2
    said = capsys.readouterr().err
    assert "There is no run" in said
    assert said.rstrip("\n").isprintable()


def test_what_was_changed_is_not_printed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    world.blobs._content[world.run(run_id)["sbom"]] = json.dumps({"other": 1}).encode()
    capsys.readouterr()
    assert main(["sbom", run_id]) == 1
    shown = capsys.readouterr()
    assert "has been changed" in shown.err
    assert shown.out == ""
