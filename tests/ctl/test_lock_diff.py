"""`./dmz lock diff`: from a run, from a file, between two; and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from functions.ctl import cli
from functions.ctl.inputs import BadInput
from functions.ctl.lock import diff, shown
from functions.ctl.stored import Records
from shared.errors import Permanent
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.ports.store import Put
from tests.ctl import samples

LOCK = samples.lock(samples.change("jinja2", "3.1.4", "3.1.5", "GHSA-1"))
OTHER = samples.lock()


@pytest.fixture
def stored() -> Records:
    store, blobs = MemoryStore(), MemoryBlobs()
    blobs.put(LOCK.canonical())
    blobs.put(OTHER.canonical())
    runs = {
        "run-1": samples.run(lock=LOCK.digest),
        "run-2": samples.run(lock=OTHER.digest),
        "run-3": {"state": "failed", "reason": "The scanner is \x1b away."},
        "run-4": {"state": "running"},
        "run-5": samples.run(lock="sha256:" + "0" * 64),
    }
    store.put([Put("runs", run_id, fields) for run_id, fields in runs.items()])
    return Records(store, blobs)


def nowhere() -> Records:
    raise AssertionError("a file needs no store")


def test_a_runs_lock_against_what_the_vm_had(stored: Records) -> None:
    assert shown(diff("run-1", "", lambda: stored), "run-1", "") == [
        "The lock of run-1: 1 refused and replaced.",
        "refused and replaced: 1",
        "  jinja2 3.1.4 → 3.1.5 (GHSA-1)",
    ]


def test_a_lock_that_changes_nothing_says_so(stored: Records) -> None:
    assert shown(diff("run-2", "", lambda: stored), "run-2", "") == ["The lock of run-2 changes nothing."]
    assert shown(diff("run-2", "run-1", lambda: stored), "run-2", "run-1") == [
        "The lock of run-1 against that of run-2 changes nothing."
    ]


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("run-3", r"The run run-3 has no lock: The scanner is \\u001b away\."),
        ("run-4", "has no lock; it has not come that far"),
    ],
)
def test_a_run_without_a_lock(stored: Records, run: str, words: str) -> None:
    with pytest.raises(Permanent, match=words):
        diff(run, "", lambda: stored)


def test_a_run_that_nobody_knows_is_bad_input(stored: Records) -> None:
    with pytest.raises(BadInput, match="There is no run 'run-9'"):
        diff("run-9", "", lambda: stored)


def test_a_stored_lock_that_was_changed_is_found_out(stored: Records) -> None:
    class Changed(MemoryBlobs):
        def get(self, digest: str) -> bytes:
            return OTHER.canonical()

    with pytest.raises(Permanent, match="has been changed: its content has sha256:"):
        diff("run-1", "", lambda: Records(stored.documents, Changed()))


def test_the_command_reads_files_without_a_platform(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(LOCK.canonical())
    assert cli.main(["lock", "diff", str(path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["names"], row["from"], row["to"], row["advisories"]) == (
        ["jinja2"],
        "3.1.4",
        "3.1.5",
        ["GHSA-1"],
    )
    assert cli.main(["lock", "diff", str(path), str(path)]) == 0
    assert "changes nothing" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"{}", b"\xff"])
def test_what_is_no_lock_is_bad_input(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock.json"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["lock", "diff", str(path)]) == 2
    words = capsys.readouterr().err
    assert words.startswith("dmz: The lock ")
    assert "Traceback" not in words


def test_without_a_platform_there_are_no_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DMZ_HOME", str(tmp_path))
    assert cli.main(["lock", "diff", "run-0123456789ab"]) == 3
    assert "The platform is not up" in capsys.readouterr().err
