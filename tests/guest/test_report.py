"""The report: what it says, how large it may be, and that it is owed whatever happens."""

from __future__ import annotations

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared import events
from shared.guest import egress, main, outer, report
from shared.guest.console import TAIL_BYTES, Console, clean
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata
from tests.guest.parts import Answer, config, server, token_answer


def _published(
    monkeypatch: pytest.MonkeyPatch, payload: dict[str, Any], role: str, refusals: int = 0
) -> list[Any]:
    """The messages that reach a topic which refuses the first `refusals` times."""
    messages, left = [], [refusals]
    monkeypatch.setattr("time.sleep", lambda _: None)

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path.endswith("/token"):
            return token_answer()
        assert (method, path) == ("POST", f"/v1/projects/proj/topics/{role}-install-completed:publish")
        assert headers["Authorization"] == "Bearer ya29.test"
        left[0] -= 1
        if left[0] >= 0:
            return 403, b"not yet"
        messages.extend(json.loads(body)["messages"])
        return 200, b"{}"

    with server(answer) as url:
        monkeypatch.setattr(report, "HOST", url)
        report.publish(config(role, attributes={"replay-id": "r1"}), Metadata(url), payload)
    return messages


@pytest.mark.parametrize("role", ["outer", "inner"])
def test_a_report_is_an_event_of_the_catalogue(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"claim": report.pack({"a": 1})} if role == "outer" else main.inner.nothing(egress.NOT_PROBED)
    console = Console()
    console.step("hello")
    payload = report.body(config(role), "failed", console, {"apt": 1.23456}) | more
    (message,) = _published(monkeypatch, payload, role, refusals=2)
    body = base64.b64decode(message["data"])
    event = events.decode(events.Delivery(body, f"{role}-install-completed", message["attributes"], "1", ""))
    assert event.run_id == "run-0123456789ab"
    assert event.replay_id == "r1"
    assert message["attributes"]["ce-id"] == "e1"
    assert json.loads(body)["seconds"] == {"apt": 1.235}
    assert json.loads(body)["tail"].endswith("dmz: hello")


def test_an_inventory_is_packed_the_same_way_every_time() -> None:
    packed = report.pack({"b": 1, "a": "ü"})
    assert packed == report.pack({"a": "ü", "b": 1})
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == {"a": "ü", "b": 1}


def test_an_inventory_that_no_message_holds_is_refused() -> None:
    with pytest.raises(GuestError, match="a report holds 7000000"):
        report.pack({"noise": os.urandom(7_100_000).hex()})
    largest = len(base64.b64encode(b"x" * report.MAX_CLAIM)) + 2 * TAIL_BYTES
    assert largest < events.MAX_BODY


def test_the_tail_is_forty_clean_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(tmp_path / "log")
    for number in range(60):
        console.line(f"\x1b[31mline\x1b[0m {number}\x00\u202e\n")
    assert console.tail().splitlines() == [f"line {number}" for number in range(20, 60)]
    for _ in range(40):
        console.line("é" * 1000)
    assert len(console.tail().encode()) <= TAIL_BYTES
    assert (tmp_path / "log").read_text() == capsys.readouterr().out
    assert clean("10%\r 50%\r100%\r\n") == "100%"


@pytest.mark.parametrize(
    ("trouble", "last"),
    [
        (GuestError("The script broke."), "dmz: failed: The script broke."),
        (ValueError("odd"), "dmz: failed: ValueError: odd"),
        (main.Terminated(), "dmz: failed: the VM was stopped before the install had ended"),
    ],
)
def test_every_failure_is_reported(
    trouble: Exception, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(outer, "run", fail)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    payload = main.perform(config(), Metadata("http://127.0.0.1:9"), Console())
    assert (payload["state"], payload["claim"]) == ("failed", None)
    assert payload["tail"].endswith(last)
    assert "Traceback" not in capsys.readouterr().out
