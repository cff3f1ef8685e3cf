"""What goes wrong, end to end: one sentence in the run, no VM left, and the next run works."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.local import leftovers
from functions.local.layout import CHECKOUT, layout
from functions.local.ports import choose
from shared.machines import vm_name
from tests.chain import world as goods
from tests.chain.goods import Shelf, module, publish_suite
from tests.chain.system import PATIENCE, System, environment_of, eventually, workload
from tests.chain.test_kills import install
from tests.chain.world import World
from tests.upstream.conftest import make_signer, stop_agent
from tests.upstream.support import Reply, Request, Route, Web


def by_vm(request: Request) -> bool:
    return request.headers.get("user-agent", "").startswith(("pip/", "Debian APT", "Python-urllib"))


def two_faced(world: World, path: str, stages: Route) -> None:
    """From now on the stages see another answer at `path` than the VMs."""
    vms = world.web.routes[path]

    def answer(request: Request) -> Reply:
        route = vms if by_vm(request) else stages
        return route(request) if callable(route) else route

    world.web.routes[path] = answer


def away(world: World) -> None:
    """The index answers the VM and fails the stages."""
    world.shelf.add("faraway", module("faraway", "1.0", ""))
    two_faced(world, "/simple/faraway/", Reply(b"later", 503))


def swapped(world: World) -> None:
    """Index and hash are the same, the bytes are not."""
    path = world.shelf.add("swapped", module("swapped", "1.0", ""))
    two_faced(world, path, Reply(module("swapped", "1.0", "evil = True").content))


def replaced(world: World) -> None:
    """After the VM's install the index has another file of the same version, with a hash of its own."""
    path = world.shelf.add("replaced", module("replaced", "1.0", ""))
    later = Web()
    Shelf(later).add("replaced", module("replaced", "1.0", "evil = True"))
    for each in (path, f"{path}.metadata", "/simple/replaced/"):
        two_faced(world, each, later.routes[each])
    later.close()


Expect = tuple[str, str, dict[str, Any], Callable[[World], None] | None]
CASES: dict[str, Expect] = {
    "silent": (
        "outer",
        r"The outer VM .* was silent too long",
        {"install": "echo here; kill -9 $PPID", "install_minutes": 1},
        None,
    ),
    "away": ("sync", r"http://127\.0\.0\.1:[0-9]+/simple/faraway/ answers with HTTP status 503", {}, away),
    "script": ("outer", "The install on the outer VM failed", {"install": "echo last words; exit 3"}, None),
    "deadly": ("sync", r"pkg:pypi/deadly.*GHSA-deadly", {}, None),
    "smoke": (
        "inner",
        r"The smoke command failed on the inner VM \(4\)",
        {"smoke": "echo unhappy; exit 4"},
        None,
    ),
    "swapped": ("sync", r"/files/swapped-1\.0.* has the content .* and not the expected", {}, swapped),
    "replaced": ("sync", r"replaced.*RECORD", {}, replaced),
}
TAILS = {"script": "last words", "smoke": "unhappy"}
NAMES = {"away": "faraway", "deadly": "deadly", "swapped": "swapped", "replaced": "replaced"}


@pytest.fixture(scope="module")
def requested(system: System, world: World) -> dict[str, str]:
    """The runs that must fail, by case; they go on side by side."""
    runs = {}
    for name, (_, _, changes, prepare) in CASES.items():
        if prepare:
            prepare(world)
        fields = {"install": install(NAMES[name])} if name in NAMES else {}
        runs[name] = system.request(name, **(fields | changes))
    return runs


def fails_well(system: System, run_id: str, name: str) -> None:
    """The run ends with its one reason, and none of its VMs stays."""
    run = system.ended(run_id)
    stage, reason, _, _ = CASES[name]
    assert (run["state"], run["stage"]) == ("failed", stage), run
    assert re.search(reason, run["reason"]), run["reason"]
    assert "Traceback" not in run["reason"]
    assert system.get("endings", run_id)["state"] == "failed"
    inner = vm_name("inner", run_id)
    assert bool(system.get("vms", inner)) == bool(system.creations()[inner]) == (stage == "inner")
    suffix = run_id.removeprefix("run-")
    eventually(lambda: not any(vm.endswith(suffix) for vm in system.vms()), "the VMs' end")
    assert TAILS.get(name, "") in run["tail"]


@pytest.mark.parametrize("name", [name for name in CASES if name != "silent"])
def test_a_run_fails_with_its_reason_and_leaves_no_vm(
    requested: dict[str, str], system: System, name: str
) -> None:
    fails_well(system, requested[name], name)


def test_nothing_refused_is_in_the_repositories(requested: dict[str, str], system: System) -> None:
    held = {file["name"].rsplit("/", 1)[-1] for file in system.files("dmz-python")}
    assert not [name for name in held for refused in NAMES.values() if refused in name]


def test_the_command_line_shows_the_last_lines_and_the_next_run_works(system: System, tmp_path: Path) -> None:
    done, report = system.run(tmp_path, install="echo these are my last words; exit 3")
    assert done.returncode == 1
    assert "these are my last words" in done.stdout
    assert report["state"] == "failed"
    assert report["reason"].startswith("The install on the outer VM failed, in the VM's own words: ")
    assert (report["verdicts"], report["inner"]) == (None, None)
    done, report = system.run(tmp_path)
    assert (done.returncode, report["state"]) == (0, "completed"), done.stdout


@contextmanager
def releases(world: World, inrelease: Reply) -> Iterator[None]:
    path = "/debian/dists/trixie/InRelease"
    before = world.web.routes[path]
    two_faced(world, path, inrelease)
    try:
        yield
    finally:
        world.web.routes[path] = before


def test_a_release_by_a_strangers_key_ends_the_run(system: System, world: World, tmp_path: Path) -> None:
    stranger = make_signer(tmp_path / "stranger")
    scratch = Web()
    publish_suite(scratch, stranger, "/debian", "trixie", (goods.LIBRARY, goods.PROGRAM))
    forged = scratch.routes["/debian/dists/trixie/InRelease"]
    scratch.close()
    stop_agent(stranger)
    assert isinstance(forged, Reply)
    unsigned = Reply(forged.body.split(b"\n\n", 1)[1].split(b"-----BEGIN")[0])
    for number, reply in enumerate((forged, unsigned)):
        with releases(world, reply):
            run = system.ended(system.request(f"forged-{number}"))
        assert (run["state"], run["stage"]) == ("failed", "sync"), run
        assert "/debian/dists/trixie/InRelease" in run["reason"]
        assert "sign" in run["reason"]


def test_a_vm_that_never_reports_is_ended(requested: dict[str, str], system: System) -> None:
    """The last one: its minute and the grace pass while the others are looked at."""
    fails_well(system, requested["silent"], "silent")


# --- before anything starts ---


class Place:
    """A state directory, and `./dmz run` of the chain's workload in it."""

    def __init__(self, directory: Path, world: World) -> None:
        self._directory, self._world = directory, world
        self.environment = environment_of(directory / "state", world)
        (directory / "work.yaml").write_text(yaml.safe_dump(workload()))

    def run(self, **more: str) -> tuple[subprocess.CompletedProcess[str], Any]:
        report = self._directory / "report.json"
        report.unlink(missing_ok=True)
        words = ["run", self._directory / "work.yaml", "--report", report, "--policy", "default"]
        done = subprocess.run(
            [CHECKOUT / "dmz", *words, "--advisories", self._world.advisories],
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert leftovers.processes(layout(self.environment).home) == []
        return done, json.loads(report.read_text()) if report.exists() else None


def test_a_platform_that_cannot_begin_says_so_and_the_next_one_can(world: World, tmp_path: Path) -> None:
    place = Place(tmp_path, world)
    # Below the range of outgoing connections: any of those could take the ports before it.
    with socket.create_server(("127.0.0.1", choose(["registry"], None)["registry"])) as taken:
        port = taken.getsockname()[1]
        threading.Thread(target=taken.accept, daemon=True).start()
        done, report = place.run(DMZ_PORTS=str(port - 2))
        assert (done.returncode, report) == (2, None)
        assert f"The port {port}, which DMZ_PORTS={port - 2} gives to registry, is taken" in done.stderr
        assert done.stderr.count("\n") == 1
        socket.create_connection(("127.0.0.1", port)).close()
    done, report = place.run(DMZ_OUTER_HOSTS="pypi.org=http://127.0.0.1:1")
    assert (done.returncode != 0, report) == (True, None)
    assert "DMZ_OUTER_HOSTS holds 'pypi.org=http://127.0.0.1:1'" in done.stderr
    done, report = place.run(DMZ_NO_CAPACITY_ZONES="us-central1-a")
    assert done.returncode == 1
    assert 'There is no more capacity in the zone "us-central1-a"' in report["reason"]
    assert 'There is no more capacity in the zone "us-central1-a"' in done.stdout
    done, report = place.run()
    assert (done.returncode, report["state"]) == (0, "completed"), done.stdout
    assert list((layout(place.environment).machines / "vms").iterdir()) == []
