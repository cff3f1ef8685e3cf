"""Where costs are shown: by the run before and after, by the status, and from the list that the user has set."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from functions.ctl import cli, commands, lifecycle
from functions.ctl.fleet import Fleet, on_google_cloud
from functions.ctl.run import Request, _Run
from functions.local.layout import Layout
from shared.errors import Permanent
from shared.machines import vm_name
from shared.memory.store import MemoryStore
from shared.model import costs, prices
from shared.model.workload import find
from shared.ports.machines import Unreachable, Vm
from shared.ports.store import Put
from shared.settings import Settings
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


def test_what_a_run_cost_stands_below_it(store: MemoryStore) -> None:
    document = store.get("runs", RUN_ID) or {}
    record = {"kind": "outer", "zone": "us-central1-a", "asked": 0.0, "ended": 3600.0}
    vms = {kind: costs.billed(document, record, 0.0) for kind in ("inner", "outer")}
    store.put([Put("runs", RUN_ID, {"cost": {"vms": vms}}, merge=True)])
    store.put([Put("runs", "run-2", document | {"state": "running", "stage": "sync"})])
    store.put([Put("runs", "run-3", {"state": "failed", "workload": "old", "reason": "No."})])
    lines = list(Fleet(store, (), paid=True).lines(0.0))
    assert lines == [
        "  run-2 quickstart running (sync)",
        f"    cost: {document['cost']['estimate']}",
        f"  {RUN_ID} quickstart completed (inner)",
        "    cost: outer VM at most 1.20 USD, inner VM at most 1.20 USD until it was ready",
        "  run-3 old failed (): No.",
    ]
    lost = {"machines": {"inner": {"lost": "preempted"}}}
    store.put([Put("runs", RUN_ID, lost, merge=True)])
    said = list(Fleet(store, (), paid=False).lines(0.0))
    assert (
        "    cost: on Google Cloud outer VM at most 1.20 USD, inner VM at most 1.20 USD; nothing was paid here"
        in said
    )


def test_a_zone_that_does_not_answer_hides_nothing(store: MemoryStore) -> None:
    class Dark(Vms):
        def all(self) -> list[Vm]:
            raise Unreachable("us-west1 could not be reached: it may cost money.", super().all())

    lines = list(Fleet(store, (Dark(store), Vms(store)), paid=True).lines(7200.0))
    assert [line[:32] for line in lines].count(f"  VM {INNER} READY"[:32]) == 2
    assert "  us-west1 could not be reached: it may cost money." in lines
    assert any("at most 1.20 USD so far, 1.20 USD an hour from now on." in line for line in lines)


@pytest.mark.parametrize(
    ("inner", "projects"), [("", ["outside"]), ("outside", ["outside"]), ("inside", ["outside", "inside"])]
)
def test_a_deployments_vms_are_in_both_projects(
    inner: str, projects: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    class Cloud:
        def __init__(self, settings: Settings) -> None:
            self._project = settings.project

        def all(self) -> list[Vm]:
            asked.append(self._project)
            return [Vm("dmz-inner-1", "READY", {}, "us-central1-a")]

    stores: list[str] = []

    def of(project: str) -> MemoryStore:
        stores.append(project)
        return MemoryStore()

    monkeypatch.setattr("shared.gcp.tpu.TpuVms", Cloud)
    monkeypatch.setattr("shared.gcp.firestore.FirestoreStore", of)
    monkeypatch.delenv("DMZ_TPU_ENDPOINT", raising=False)
    words = ["status", "--project", "outside", *(["--inner-project", inner] if inner else [])]
    assert cli.main(words) == 0
    assert (asked, stores) == (projects, ["outside"])
    assert "On Google Cloud, project outside:" in capsys.readouterr().out


def test_who_pays_is_told_by_where_the_vms_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.gcp.firestore.FirestoreStore", lambda _: MemoryStore())
    assert on_google_cloud("outside", "", {}).paid
    assert not on_google_cloud("outside", "", {"DMZ_TPU_ENDPOINT": "127.0.0.1:1"}).paid


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
