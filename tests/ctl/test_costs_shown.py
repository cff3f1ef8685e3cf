"""Where costs are shown: by the run before and after, by the status, and from the list that the user has set."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from functions.ctl import commands, lifecycle
from functions.ctl.run import Request, _Run
from functions.local.layout import Layout
from shared.errors import Permanent
from shared.machines import vm_name
from shared.memory.store import MemoryStore
from shared.model import costs, prices
from shared.model.workload import find
from shared.ports import Put, Vm
from tests.ctl.samples import RUN_ID, run
from tests.ctl.test_command_line import a_platform

INNER = vm_name("inner", RUN_ID)
WORKLOAD = find("quickstart")


@pytest.fixture
def store() -> MemoryStore:
    """A completed run that keeps its inner VM."""
    terms = costs.terms(WORKLOAD, "us-central1-a", prices.read(""))
    inner = run()["inner"] | {"enter": f"./dmz enter {INNER}", "sealed_by": "sealed"}
    zone = {"run_id": RUN_ID, "zone": "us-central1-a", "tried": []}
    found = MemoryStore()
    found.put(
        [
            Put("runs", RUN_ID, run(cost=costs.begun(terms, 3000, True), after="keep", inner=inner)),
            Put("vms", vm_name("outer", RUN_ID), {"kind": "outer", "asked": 0.0, "ended": 3600.0} | zone),
            Put("vms", INNER, {"kind": "inner", "asked": 3600.0, "state": "reported"} | zone),
        ]
    )
    return found


class Vms:
    """One VM, and who deleted it when."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.deleted: list[tuple[str, bool]] = []

    def all(self) -> list[Vm]:
        return [Vm(INNER, "READY", {}, "us-central1-a")]

    def delete(self, name: str, *_: str) -> None:
        record = self._store.get("vms", name) or {}
        self.deleted.append((name, "ended" in record))


def test_the_status_lists_a_kept_vm_with_its_age_its_cost_and_the_way_in(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path / "state", tmp_path)
    layout.prepare()
    a_platform(tmp_path).write(layout.platform)
    connection = SimpleNamespace(documents=store, vms=Vms(store))
    monkeypatch.setattr(commands, "connect", lambda _: connection)
    monkeypatch.setattr("time.time", lambda: 3600.0 + 26 * 3600)
    assert commands.status(layout) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        f"  VM {INNER} READY, us-central1-a, on-demand, 1 d 2 h old, kept (after: keep): on Google Cloud at most "
        "31.20 USD so far, 1.20 USD an hour from now on; nothing is paid here."
    ) in lines
    assert f"    enter it with ./dmz enter {INNER}" in lines


def a_run(tmp_path: Path, **options: Any) -> _Run:
    request = Request("quickstart", Layout(tmp_path / "state", tmp_path), {}, **options)
    made = _Run(request, Console(file=io.StringIO()), WORKLOAD, ())
    made._run_id = RUN_ID
    made._services = SimpleNamespace(mend=lambda _: None)  # type: ignore[assignment]
    return made


def follower(store: MemoryStore) -> Any:
    from functions.ctl.follow import Follower

    connection: Any = SimpleNamespace(documents=store)
    return Follower(connection, RUN_ID, Path("/nowhere"), run=store.get("runs", RUN_ID) or {})


@pytest.mark.parametrize(("keep", "state"), [(True, "completed"), (False, "completed"), (True, "failed")])
def test_only_a_vm_that_is_kept_goes_on_costing(
    store: MemoryStore, tmp_path: Path, keep: bool, state: str
) -> None:
    up: Any = SimpleNamespace(alive=True)
    made: Any = SimpleNamespace(state=state)
    said = a_run(tmp_path, keep=keep)._cost(up, follower(store), made)
    assert "outer VM 1.20 USD" in said
    assert ("from now on" in said) == (keep and state == "completed")


def test_a_platform_that_is_gone_says_nothing_of_costs(store: MemoryStore, tmp_path: Path) -> None:
    class Gone:
        def get(self, *_: str) -> None:
            raise Permanent("The store is gone.")

    seen = follower(store)
    seen.connection = SimpleNamespace(documents=Gone())
    up: Any = SimpleNamespace(alive=True)
    made: Any = SimpleNamespace(state="completed")
    assert a_run(tmp_path)._cost(up, seen, made) == ""


def test_a_vm_that_the_command_line_deletes_has_ended(store: MemoryStore, tmp_path: Path) -> None:
    vms = Vms(store)
    connection: Any = SimpleNamespace(documents=store, vms=vms)
    connection.settings = SimpleNamespace(zone="us-central1-a")
    up: Any = SimpleNamespace(alive=True)
    made: Any = SimpleNamespace(state="completed")
    a_run(tmp_path)._leave(up, connection, made)
    assert vms.deleted == [(INNER, True)]
    assert (store.get("vms", INNER) or {})["state"] == "reported"


def test_a_list_beside_the_user_is_found_by_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("subprocess.Popen", lambda _command, **options: given.update(options))
    monkeypatch.chdir(tmp_path)
    lifecycle.start(Layout(tmp_path / "state", tmp_path), {"DMZ_PRICES": "ours.yaml"})
    assert given["cwd"] != os.fspath(tmp_path)
    assert given["env"]["DMZ_PRICES"] == os.fspath(tmp_path / "ours.yaml")
    lifecycle.start(Layout(tmp_path / "state", tmp_path), {})
    assert "DMZ_PRICES" not in given["env"]
