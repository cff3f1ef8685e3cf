"""An API for advisories that answers nonsense or nothing: whom it concerns is held, or nobody enters."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.advisories.api import OsvApi
from shared.advisories.calls import Waiting
from shared.errors import DmzError
from tests.advisories.build import HIGH, affected, events, record
from tests.advisories.server import Answer, serving
from tests.stages.broken_advisories import Make, held, judged, under
from tests.stages.world import World

AT_ONCE = Waiting(sleep=lambda _seconds: None)
"""It is asked as often as otherwise; only the pauses are left out."""
LIB = {"id": "GHSA-lib", "modified": "2026-11-20T00:00:00Z"}
TOOL = {"id": "GHSA-tool", "modified": "2026-11-20T00:00:00Z"}
RECORDS = {
    name: record(
        f"GHSA-{name}", affected(events(("introduced", "0"), ("fixed", "1.1")), name=name), severity=[HIGH]
    )
    for name in ("lib", "tool")
}


def answering(path: str, body: bytes) -> Answer:
    """A server that does as it should: it knows a flaw of lib and one of tool."""
    if path == "/v1/querybatch":
        known = {"lib": [LIB], "tool": [TOOL]}
        asked = [(each["package"]["name"], each.get("version")) for each in json.loads(body)["queries"]]
        results = [{"vulns": known.get(name, []) if version == "1.0" else []} for name, version in asked]
        return 200, json.dumps({"results": results}).encode()
    found = RECORDS.get(path.removeprefix("/v1/vulns/GHSA-"))
    return (200, json.dumps(found).encode()) if found else (404, b"{}")


WRONG: dict[str, Answer] = {
    "429": (429, b"too many"),
    "500": (500, b"oh"),
    "503 of a proxy": (503, b"<html>" + b"x" * 100_000),
    "garbage": (200, b"\x00\xff garbage"),
    "an empty body": (200, b""),
    "a number": (200, b"1"),
    "an empty object": (200, b"{}"),
    "nested without end": (200, b"[" * 100_000),
    "another record": (200, json.dumps(RECORDS["lib"] | {"id": "GHSA-other"}).encode()),
    "a record that breaks the schema": (200, b'{"id": "GHSA-tool", "affected": "all"}'),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_a_record_that_the_api_does_not_give_holds_whom_it_is_listed_for(make: Make, answer: Answer) -> None:
    def handle(_method: str, path: str, body: bytes) -> Answer:
        return answer if path == "/v1/vulns/GHSA-tool" else answering(path, body)

    with serving(handle) as url:
        world = under(make, OsvApi(url, waiting=AT_ONCE))
        verdicts = judged(world, world.request())
    said = held(verdicts)
    assert said.keys() == {"tool"}
    assert said["tool"].isprintable()
    assert verdicts["tool"].decision in ("hold", "block")
    assert {name for name, each in verdicts.items() if each.decision != "allow"} == {"lib", "tool"}
    assert "GHSA-lib" in {finding.id for finding in verdicts["lib"].findings}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_an_api_that_answers_nothing_useful_lets_nothing_in(make: Make, answer: Answer) -> None:
    with serving(lambda *_: answer) as url:
        world = under(make, OsvApi(url, waiting=AT_ONCE))
        run_id = world.request()
    nobody_entered(world, run_id)


@pytest.mark.parametrize("silent", [False, True], ids=["closed", "hangs up"])
def test_no_answer_at_all_lets_nothing_in(make: Make, silent: bool) -> None:
    with nobody(silent) as url:
        world = under(make, OsvApi(url, waiting=AT_ONCE))
        run_id = world.request()
    nobody_entered(world, run_id)


def nobody_entered(world: World, run_id: str) -> None:
    """The run has ended and says in a sentence why; what no advisory is about was judged or not reached."""
    assert [error for error in world.raised if not isinstance(error, DmzError)] == []
    run = world.run(run_id)
    assert run["state"] == "failed"
    assert "OSV.dev at http://127.0.0.1" in run["reason"]
    assert "defect" not in run["reason"]
    assert run["reason"].isprintable()
    assert len(run["reason"]) < 2500
    assert world.registry.uploads == []


@contextmanager
def nobody(silent: bool) -> Iterator[str]:
    """The URL of a port where nobody listens, or where whoever does hangs up without a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not silent:
            server.close()
            yield url
            return
        done = threading.Event()

        def hang_up() -> None:
            server.settimeout(0.1)
            while not done.is_set():
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        try:
            yield url
        finally:
            done.set()
            thread.join()
