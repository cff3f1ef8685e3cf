"""Which host of a slice this is, and what follows: one outer host works, every inner one reports under its number."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import events
from shared.guest import egress, inner, inventory, main, outer, process, report, tools, worker
from shared.guest.config import Config
from shared.guest.console import Console
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata
from tests.guest.parts import Answer, config, server, token_answer

FOUR = ",".join(f"unknown:unknown:10.130.0.{n}" for n in range(2, 6))


@contextmanager
def metadata(attributes: Mapping[str, str], published: list[Any] | None = None) -> Iterator[str]:
    """A metadata server with these attributes, and a topic."""

    def answer(method: str, path: str, body: bytes, _headers: dict[str, str]) -> Answer:
        if path.endswith("/token"):
            return token_answer()
        if method == "POST" and published is not None:
            published.extend(json.loads(body)["messages"])
            return 200, b"{}"
        name = path.removeprefix("/attributes/")
        if not name:
            return 200, "".join(f"{each}\n" for each in attributes).encode()
        return (200, attributes[name].encode()) if name in attributes else (404, b"")

    with server(answer) as url:
        yield url


def read(expected: int = 1, **attributes: str) -> worker.Worker:
    with metadata({name.replace("_", "-"): value for name, value in attributes.items()}) as url:
        return worker.read(Metadata(url), expected)


@pytest.mark.parametrize("number", range(4))
def test_number_and_count_as_the_platform_gives_them(number: int) -> None:
    found = read(4, agent_worker_number=str(number), worker_network_endpoints=FOUR)
    assert (found, found.is_alone) == (worker.Worker(number, 4), False)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"agent_worker_number": "0"},
        {"agent_worker_number": "0", "worker_network_endpoints": "unknown:unknown:10.0.0.2"},
    ],
)
def test_a_host_without_others_is_alone(attributes: dict[str, str]) -> None:
    assert read(**attributes).is_alone


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"agent_worker_number": "4", "worker_network_endpoints": FOUR}, "call it number '4' of 4"),
        ({"agent_worker_number": "-1", "worker_network_endpoints": FOUR}, "call it number '-1' of 4"),
        ({"agent_worker_number": "", "worker_network_endpoints": FOUR}, "call it number '' of 4"),
        ({"agent_worker_number": "1"}, "call it number '1' of 1"),
        ({"agent_worker_number": "\u0661", "worker_network_endpoints": FOUR}, "of 4"),
    ],
)
def test_numbers_that_make_no_sense(attributes: dict[str, str], words: str) -> None:
    with pytest.raises(GuestError, match=words):
        read(**attributes)


@pytest.mark.parametrize(
    ("attributes", "lacks"),
    [
        ({}, "have no agent-worker-number, and its slice has 4 hosts"),
        ({"worker_network_endpoints": FOUR}, "have no agent-worker-number"),
        ({"agent_worker_number": "0"}, "have no worker-network-endpoints"),
    ],
)
def test_a_host_of_a_slice_does_not_take_itself_for_the_first(
    attributes: dict[str, str], lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_PATIENCE", -1.0)
    with pytest.raises(GuestError, match=lacks):
        read(4, **attributes)


def test_attributes_that_come_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    attributes: dict[str, str] = {}
    late = {"agent-worker-number": "2", "worker-network-endpoints": FOUR}
    monkeypatch.setattr("time.sleep", lambda _: attributes.update(late))
    with metadata(attributes) as url:
        assert worker.read(Metadata(url), 4) == worker.Worker(2, 4)


def test_scripts_see_which_host_they_run_on() -> None:
    given = config("inner")
    given = replace(given, workload=replace(given.workload, environment={"A": "b", "DMZ_WORKER": "7"}))
    placed = worker.placed(given, worker.Worker(2, 4))
    assert placed.workload.environment == {"A": "b", "DMZ_WORKER": "2", "DMZ_WORKERS": "4"}
    alone = worker.placed(given, worker.ALONE)
    assert alone.workload.environment == {"A": "b", "DMZ_WORKER": "0", "DMZ_WORKERS": "1"}
    assert alone.event_id == given.event_id


def test_the_smoke_script_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "HOME", tmp_path)
    monkeypatch.setattr(process, "run", _here(process.run, tmp_path))
    given = config("inner")
    given = replace(given, workload=replace(given.workload, smoke='echo "$DMZ_WORKER of $DMZ_WORKERS"'))
    placed = worker.placed(given, worker.Worker(3, 4))
    result = inner.smoke(placed, Console(), tools.environment(placed.workload.environment))
    assert (result["exit_code"], result["tail"]) == (0, "3 of 4")


def _here(run: Any, cwd: Path) -> Any:
    """Scripts run in /root, which is not everybody's."""
    return lambda argv, environment, on_line, timeout=60, _cwd=None: run(
        argv, environment, on_line, timeout, cwd
    )


# --- the whole boot ---


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Boots a host with these attributes: (exit code, messages, configurations that a role was played with)."""
    monkeypatch.setattr(inventory, "HOME", tmp_path / "home")
    monkeypatch.setattr(main, "DONE", tmp_path / "done" / "reported")
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker, "_PATIENCE", -1.0)
    played: list[Config] = []

    def play(more: dict[str, Any]) -> Any:
        def run(config: Config, *_: Any) -> dict[str, Any]:
            played.append(config)
            return more

        return run

    monkeypatch.setattr(outer, "run", play({"claim": report.pack({})}))
    monkeypatch.setattr(inner, "run", play(inner.nothing(egress.NOT_PROBED)))

    def boot(given: Config, **attributes: str) -> tuple[int, list[Any], list[Config]]:
        messages: list[Any] = []
        served = {name.replace("_", "-"): value for name, value in attributes.items()}
        with metadata(served | {"dmz-config": given.to_json()}, messages) as url:
            monkeypatch.setattr(main, "Metadata", lambda: Metadata(url))
            monkeypatch.setattr(report, "HOST", url)
            return main.boot(), messages, played

    return boot


def body(message: Any) -> dict[str, Any]:
    return dict(json.loads(base64.b64decode(message["data"])))


def test_every_inner_host_reports_with_its_number_and_an_id_of_its_own(host: Any) -> None:
    given = config("inner", workers=4, attributes={"replay-id": "r1"})
    code, (message,), (played,) = host(given, agent_worker_number="2", worker_network_endpoints=FOUR)
    assert (code, body(message)["worker"]) == (0, 2)
    assert played.workload.environment["DMZ_WORKER"] == "2"
    topic = "inner-install-completed"
    delivery = events.Delivery(base64.b64decode(message["data"]), topic, message["attributes"], "1", "")
    assert events.decode(delivery).id == message["attributes"]["ce-id"] != given.event_id


def test_a_single_host_reports_as_it_always_did(host: Any) -> None:
    code, (message,), _ = host(config("inner"), agent_worker_number="0")
    assert (code, "worker" in body(message), message["attributes"]["ce-id"]) == (0, False, "e1")


def test_of_an_outer_slice_the_first_host_installs_and_the_others_end_well(
    host: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given = config("outer", workers=4)
    code, messages, played = host(given, agent_worker_number="3", worker_network_endpoints=FOUR)
    assert (code, messages, played) == (0, [], [])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("dmz: worker 3 of 4: nothing to do, worker 0 installs and reports")
    assert main.DONE.exists()
    main.DONE.unlink()
    code, (message,), (played_first,) = host(given, agent_worker_number="0", worker_network_endpoints=FOUR)
    assert (code, "worker" in body(message)) == (0, False)
    assert played_first.workload.environment["DMZ_WORKERS"] == "4"


def test_a_host_that_cannot_tell_which_it_is_reports_that(host: Any) -> None:
    code, (message,), played = host(config("inner", workers=4))
    assert (code, played) == (1, [])
    said = body(message)
    assert (said["state"], said["installed"], said["egress"]) == ("failed", None, "open")
    assert "it cannot tell which of them it is" in said["tail"]
    events.decode(
        events.Delivery(
            base64.b64decode(message["data"]), "inner-install-completed", message["attributes"], "1", ""
        )
    )


def test_a_host_reports_once_in_its_life(host: Any) -> None:
    given = config("inner", workers=4)
    for expected in (1, 0):
        _, messages, _ = host(given, agent_worker_number="1", worker_network_endpoints=FOUR)
        assert len(messages) == expected
