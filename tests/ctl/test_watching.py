"""What is seen of a run under way, and how long it is watched."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from functions.ctl.display import Display
from functions.ctl.follow import Follower, unless
from functions.ctl.progress import Line, Seen, lines, size
from shared.errors import Permanent, Transient
from tests.ctl.samples import RUN_ID, run, verdict, verdicts

STARTED = {"outer": {"started": 100.0}}


def seen(document: Mapping[str, Any], **given: Any) -> Seen:
    empty: dict[str, Any] = {"progress": {}, "console": {}, "verdicts": {}, "now": 150.0}
    return Seen(run=document, **(empty | given))


def test_nothing_has_begun() -> None:
    assert [line.state for line in lines(seen({}))] == ["waiting"] * 4


def test_a_completed_run_tells_each_result() -> None:
    texts = {
        line.stage: (line.state, line.seconds, line.text)
        for line in lines(seen(run(), verdicts={"allow": 133, "hold": 0, "block": 1}))
    }
    assert texts == {
        "outer": ("done", 10.0, "4 pypi, 129 debian, 1 generic"),
        "scanner": ("done", 1.5, "133 allow, 1 block"),
        "sync": ("done", 8.5, "9 files, 2.2 MB"),
        "inner": ("done", 20.0, "134 packages, egress denied"),
    }


def test_a_vm_under_way_shows_its_console_without_control_characters() -> None:
    document = {"state": "running", "stages": STARTED}
    first = lines(seen(document, console={"outer": "Get:9 \x1b]0;title\x07 tree"}))[0]
    assert (first.state, first.seconds) == ("running", 50.0)
    assert first.text == "Get:9 \\u001b]0;title\\u0007 tree"
    assert lines(seen(document))[0].text == "creating the VM"


def test_sync_counts_files_and_bytes() -> None:
    document = {"state": "running", "stages": {"sync": {"started": 149.0}}}
    progress = {"sync": {"done": 3, "total": 9, "bytes": 1_500_000, "text": "files"}}
    assert lines(seen(document, progress=progress))[2].text == "3 of 9 files, 1.5 MB"
    assert lines(seen(document))[2].text == "resolving and planning"


def test_the_stage_that_failed_stops_its_clock() -> None:
    document = run(
        state="failed",
        ended=112.0,
        stages={"outer": {"started": 100.0, "ended": 110.0}, "scanner": {"started": 110.0}},
    )
    states = [(line.state, line.seconds) for line in lines(seen(document))]
    assert states == [("done", 10.0), ("failed", 2.0), ("waiting", None), ("waiting", None)]


@pytest.mark.parametrize(("count", "text"), [(0, "0.0 kB"), (2500, "2.5 kB"), (649_000_000, "649.0 MB")])
def test_bytes_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_a_log_gets_one_line_for_each_change() -> None:
    output = io.StringIO()
    with Display(Console(file=output, width=200)) as display:
        for state, text in (
            ("waiting", ""),
            ("running", "a"),
            ("running", "b"),
            ("done", "4 pypi"),
            ("done", "4 pypi"),
        ):
            display.show([Line("outer", state, 2.5, text)])  # type: ignore[arg-type]
    found = [line.split("] ", 1)[1] for line in output.getvalue().splitlines()]
    assert found == ["outer running", "outer done in 2.5 s: 4 pypi"]


def test_a_terminal_shows_all_stages_to_the_end() -> None:
    output = io.StringIO()
    with Display(Console(file=output, width=100, force_terminal=True)) as display:
        display.show(lines(seen(run())))
    for text in ("outer", "9 files, 2.2 MB", "egress denied", "✓"):
        assert text in output.getvalue()


class Documents:
    """Gives the next document at each reading; an exception is raised."""

    def __init__(self, *found: dict[str, Any] | Exception | None) -> None:
        self._found = list(found)

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        if collection != "runs":
            return None
        assert id == RUN_ID
        now = self._found.pop(0) if len(self._found) > 1 else self._found[0]
        if isinstance(now, Exception):
            raise now
        return now

    def find(self, *_: object) -> Sequence[Any]:
        return ()


def follower(documents: Documents, tmp_path: Path) -> Follower:
    content = verdicts(verdict("jinja2", "3.1.4", "block", "GHSA-1")).canonical()
    blobs = SimpleNamespace(get=lambda _: content)
    return Follower(SimpleNamespace(documents=documents, blobs=blobs), RUN_ID, tmp_path)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.ctl.follow._PAUSE", 0.0)


def test_a_run_is_followed_to_its_end_over_a_store_that_stutters(tmp_path: Path) -> None:
    under_way = {"state": "running", "stages": STARTED}
    documents = Documents(None, under_way, Transient("not now"), under_way, run())
    shown: list[Seen] = []
    follower(documents, tmp_path).follow(shown.append, lambda: "")
    assert [one.run.get("state") for one in shown] == [None, "running", "running", "completed"]
    assert shown[-1].verdicts == {"allow": 0, "hold": 0, "block": 1}


def test_a_platform_that_has_ended_ends_the_watching(tmp_path: Path) -> None:
    documents = Documents(Transient("the store does not answer"))
    with pytest.raises(Permanent, match="The Firestore emulator was ended by signal 9"):
        follower(documents, tmp_path).follow(
            lambda _: None, lambda: "The Firestore emulator was ended by signal 9."
        )


def test_the_console_of_a_running_vm_is_its_last_line(tmp_path: Path) -> None:
    directory = tmp_path / "vms" / "dmz-outer-0123456789ab"
    directory.mkdir(parents=True)
    (directory / "serial.log").write_bytes(b"x" * 10_000 + b"\nUnpacking tree\xff ...\n\n")
    found = follower(Documents({"state": "running", "stages": STARTED}), tmp_path).look()
    assert found.console["outer"] == "Unpacking tree\ufffd ..."


def test_the_step_that_the_guest_is_at_is_shown_however_much_it_says(tmp_path: Path) -> None:
    log = tmp_path / "vms" / "dmz-outer-0123456789ab" / "serial.log"
    log.parent.mkdir(parents=True)
    watched = follower(Documents({"state": "running", "stages": STARTED}), tmp_path)
    log.write_text("Booting.\n2026-11-21T19:00:00Z dmz: install script\n")
    assert watched.look().console["outer"] == "install script"
    with log.open("a") as file:
        file.write("Collecting jinja2\n")
    assert watched.look().console["outer"] == "install script: Collecting jinja2"
    with log.open("a") as file:
        file.write("a line of a talkative build\n" * 10_000 + "Successfully installed\n")
    assert watched.look().console["outer"] == "install script: Successfully installed"
    with log.open("a") as file:
        file.write("2026-11-21T19:01:00Z dmz: inventory of what was installed\n\n")
    assert watched.look().console["outer"] == "inventory of what was installed"


def test_a_call_to_a_platform_that_ends_is_given_up(tmp_path: Path) -> None:
    """Firestore's client would try for a minute."""
    never = threading.Event()
    why = iter(("", "", "The platform was ended."))
    began = time.monotonic()
    with pytest.raises(Permanent, match="The platform was ended"):
        unless(lambda: next(why), never.wait)
    assert time.monotonic() - began < 30
    never.set()
    assert unless(lambda: "", lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        unless(lambda: "", lambda: 1 / 0)
