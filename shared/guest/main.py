"""The guest's entry point: configuration, role, and a report whatever happens."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from shared.guest import egress, fetch, inner, inventory, outer, report, worker
from shared.guest.config import Config, parse
from shared.guest.console import Console
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

DONE = Path("/var/lib/dmz/reported")


class Terminated(Exception):
    """The machine is being stopped."""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["fetch"]:
        return fetch.main(arguments[1:])
    return boot()


def boot() -> int:
    """Do what the metadata say, once in the life of this VM: startup scripts run at every boot."""
    if DONE.exists():
        return 0
    signal.signal(signal.SIGTERM, _terminate)
    inventory.HOME.mkdir(parents=True, exist_ok=True)
    console = Console(inventory.HOME / "console.log")
    metadata = Metadata()
    try:
        config = parse(metadata.attribute("dmz-config"))
    except GuestError as error:
        # Without configuration there is nobody to report to; the watchdog ends the run.
        console.step(f"failed: {error}")
        return 1
    try:
        here = worker.read(metadata, config.workers)
    except GuestError as error:
        # Owed all the same. It goes by the name of worker 0; if that has reported already, the watchdog ends the run.
        console.step(f"failed: {error}")
        payload = failure(config, console)
    else:
        if config.role == "outer" and here.number:
            console.step(
                f"worker {here.number} of {here.count}: nothing to do, worker 0 installs and reports"
            )
            return _done(0)
        config = worker.placed(config, here)
        payload = perform(config, metadata, console, here)
    try:
        report.publish(config, metadata, payload)
    except GuestError as error:
        console.step(f"failed: the report was not delivered: {error}")
        return 1
    console.step(f"reported: {payload['state']}")
    return _done(0 if payload["state"] == "installed" else 1)


def _done(code: int) -> int:
    DONE.parent.mkdir(parents=True, exist_ok=True)
    DONE.touch()
    return code


def failure(config: Config, console: Console) -> dict[str, Any]:
    """The report of a host that did not begin."""
    more = {"claim": None} if config.role == "outer" else inner.nothing(egress.NOT_PROBED)
    return report.body(config, "failed", console, {}) | more


def perform(
    config: Config, metadata: Metadata, console: Console, here: worker.Worker = worker.ALONE
) -> dict[str, Any]:
    """Play the role; the whole report, also of a failure."""
    seconds: dict[str, float] = {}
    is_outer = config.role == "outer"
    more: dict[str, Any] = {"claim": None} if is_outer else inner.nothing(egress.NOT_PROBED)
    state = "failed"
    which = "" if here.is_alone else f" worker {here.number} of {here.count},"
    console.step(f"run {config.run_id}, {config.role} VM,{which} workload {config.workload.name}")
    try:
        more = (outer if is_outer else inner).run(config, metadata, console, seconds)
        state = "installed"
    except Terminated:
        console.step("failed: the VM was stopped before the install had ended")
    except GuestError as error:
        console.step(f"failed: {error}")
    except Exception as error:  # a report is owed for any failure
        console.step(f"failed: {type(error).__name__}: {error}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if state == "failed" and not is_outer:
        more = inner.nothing(egress.probe())
    if not (is_outer or here.is_alone):
        more = more | {"worker": here.number}
    return report.body(config, state, console, seconds) | more


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
