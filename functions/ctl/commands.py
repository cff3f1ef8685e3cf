"""The small commands: up, down, status of everything, enter."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.console import Console

from functions.ctl import lifecycle
from functions.ctl.display import Display
from functions.ctl.documents import connect
from functions.ctl.fleet import Fleet, on_google_cloud
from functions.ctl.progress import Line
from functions.ctl.run import kept
from functions.ctl.summary import wrap
from functions.local import advisories, platform
from functions.local.layout import CHECKOUT, Layout
from functions.local.platform import Platform
from functions.local.services import Services
from shared.emulators.vm import record
from shared.errors import DmzError, Permanent
from shared.model.value import printable
from shared.model.workload import built_in, find


def up(
    layout: Layout, environment: Mapping[str, str], console: Console, *, policy: str, source: str, broker: str
) -> int:
    """Bring the platform up and leave it up."""
    found = platform.read(layout.platform)
    if found:
        raise Permanent(f"The platform is already up (process {found.pid}); see ./dmz status.")
    with Display(console) as display:

        def show(text: str) -> None:
            display.show((Line("platform", "running", None, text),))

        chosen = advisories.choose(layout.cache, policy, source, show)
        started = lifecycle.start(layout, {**environment, **chosen.environment()}, broker)
        try:
            found = lifecycle.wait_until_up(layout, started, show)
        except BaseException:
            started.stop()
            raise
        lacking = list(_bring_up(Services(layout, found), show))
        display.show((Line("platform", "done", found.seconds, found.name),))
    started.let_go()
    print("\n".join(filter(None, (chosen.note, *lacking))))
    print(kept(found, ""))
    return 0


def _bring_up(services: Services, show: Callable[[str], None]) -> Iterator[str]:
    """Launch what the project's workloads name: a run that is requested by an event has nobody else to do it.

    A sentence for each that cannot be had: the platform is of use without it.
    """
    for name in sorted({name for each in built_in() for name in find(each).data_services}):
        try:
            services.bring_up(name, False, show)
        except DmzError as error:
            yield f"Runs that name the data service {name} will fail: {error}"


def down(layout: Layout) -> int:
    print("The platform was ended." if lifecycle.down(layout) else "The platform is not up.")
    return 0


def status(layout: Layout, *, as_json: bool = False) -> int:
    """Exit code 0 if the platform is up, 3 if it is not (as systemctl has it)."""
    found = _platform(layout)
    if not found:
        if as_json:
            print(json.dumps({"platform": None, "vms": [], "unreachable": [], "runs": []}))
        else:
            if why := platform.ended(layout):
                print(f"The last platform ended by itself: {why}")
            print("The platform is not up; start it with ./dmz up, or run a workload with ./dmz run.")
        return 3
    judged = found.advisories_name or found.advisories
    if not as_json:
        print(
            f"The platform is up: {found.name}, process {found.pid}, policy {found.policy}, advisories {judged}."
        )
        for name, pid in found.pids.items():
            print(f"  {name:<10} {found.addresses.get(name, ''):<22} process {pid}")
        for notice in found.notices:
            print(notice)
    connection = connect(found)
    said = {"name": found.name, "pid": found.pid, "policy": found.policy, "advisories": judged}
    return _print(Fleet(connection.documents, (connection.vms,), paid=False), as_json, {"platform": said})


def status_of(
    project: str, inner_project: str, environment: Mapping[str, str], *, as_json: bool = False
) -> int:
    """The VMs and runs of a deployment on Google Cloud, and what they cost."""
    if not as_json:
        print(f"On Google Cloud, project {printable(project, 100)}:")
    return _print(on_google_cloud(project, inner_project, environment), as_json, {"project": project})


def _print(fleet: Fleet, as_json: bool, head: Mapping[str, object]) -> int:
    if as_json:
        print(json.dumps({**head, **fleet.found(time.time())}))
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in fleet.lines(time.time()):
        print("\n".join(wrap(line, width)))
    return 0


def enter(layout: Layout, vm: str, command: list[str]) -> int:
    """Hand over to a shell, or to `command`, inside a VM."""
    if not _platform(layout):
        raise Permanent("The platform is not up, so no VM runs; start one with ./dmz run --keep.")
    running = record.guests(layout.machines)
    if not vm and len(running) == 1:
        (vm,) = running
    if not running and not vm:
        raise Permanent("No VM runs; start one with ./dmz run --keep.")
    if not vm:
        raise Permanent(f"Several VMs run; name one of them: {', '.join(sorted(running))}.")
    if vm not in running:
        raise Permanent(
            f"There is no VM '{printable(vm, 60)}'; running are: {', '.join(sorted(running)) or 'none'}."
        )
    os.environ["PYTHONPATH"] = os.fspath(CHECKOUT)
    module = ("-m", "shared.emulators.vm.enter", str(running[vm]))
    os.execv(sys.executable, (sys.executable, "-P", *module, *command))  # noqa: S606 - the shell takes our place


def _platform(layout: Layout) -> Platform | None:
    return platform.read(layout.platform) if Path(layout.home).is_dir() else None
