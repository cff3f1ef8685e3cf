"""The outer VM: install the workload from the internet, and tell what that brought."""

from __future__ import annotations

import time
from typing import Any

from shared.guest import artifacts, fetch, interpreter, inventory, mirrors, process, report, tools
from shared.guest.config import Config
from shared.guest.console import Console
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata


def run(config: Config, metadata: Metadata, console: Console, seconds: dict[str, float]) -> dict[str, Any]:
    """Install and take inventory; what the report says beyond its common part."""
    workload = config.workload
    deadline = time.monotonic() + workload.install_minutes * 60
    started = time.monotonic()
    if workload.interpreter is not None:
        interpreter.bring(config, metadata, console)
        seconds["interpreter"] = time.monotonic() - started
        started = time.monotonic()
    console.step("inventory of the base image")
    before = inventory.take()
    seconds["inventory"] = time.monotonic() - started
    pip, index = mirrors.python(config.sources)
    mirrors.debian(config.sources)
    mirrors.more(workload.apt_sources, config.sources)
    if workload.wheels:
        console.step(f"fetching {len(workload.wheels)} wheels of the user's own")
        _own_wheels(config, metadata)
        pip["find-links"] = str(tools.WHEELS)
    own = {"UV_FIND_LINKS": str(tools.WHEELS)} if workload.wheels else {}
    environment = tools.environment(
        tools.configure((*workload.constraints, *_own_pins(config)), workload.overrides, pip),
        index,
        own,
        workload.environment,
    )
    fetch.install_tool(config)
    with tools.no_services():
        started = time.monotonic()
        _apt(config, console, environment)
        seconds["apt"] = time.monotonic() - started
        started = time.monotonic()
        install(config, console, environment, deadline)
        seconds["install"] = time.monotonic() - started
    started = time.monotonic()
    console.step("inventory of what was installed")
    claim = inventory.claim(workload.name, before, inventory.take())
    packed = report.pack(claim)
    seconds["inventory"] += time.monotonic() - started
    console.step(summary(claim))
    return {"claim": packed}


def install(config: Config, console: Console, environment: dict[str, str], deadline: float) -> None:
    """Run the workload's install script, the same in both roles."""
    console.step("install script")
    left = max(deadline - time.monotonic(), 1)
    own = interpreter.environment(config, environment)
    result = process.script(config.workload.install, inventory.HOME / "install.sh", own, console.line, left)
    if result.exit_code:
        raise GuestError(f"The install script ended with exit code {result.exit_code}.")


def summary(claim: dict[str, Any]) -> str:
    """One line about an inventory."""
    new = sum(not each["in_base"] for each in claim["debian"])
    python = [one for each in claim["environments"] for one in each["packages"]]
    fresh = sum(not one["in_base"] for one in python)
    return (
        f"{len(claim['debian'])} Debian packages ({new} new), {len(python)} Python packages ({fresh} new) "
        f"in {len(claim['environments'])} environments, {len(claim['generic'])} files"
    )


def _apt(config: Config, console: Console, environment: dict[str, str]) -> None:
    console.step("apt-get update")
    process.check(["apt-get", "update"], environment, console.line)
    if config.workload.apt:
        console.step(f"apt-get install {' '.join(config.workload.apt)}")
        argv = ["apt-get", "install", "--yes", "--no-install-recommends", "--", *config.workload.apt]
        process.check(argv, environment, console.line)


def _own_pins(config: Config) -> list[str]:
    """The user's own wheels by version: an index that has a newer package of that name must not win over them.

    A wheel's file name begins with name and version (PEP 427). Of the same version on the index the bytes differ, and
    sync refuses them.
    """
    return ["{}=={}".format(*wheel.filename.split("-")[:2]) for wheel in config.workload.wheels]


def _own_wheels(config: Config, metadata: Metadata) -> None:
    for wheel in config.workload.wheels:
        to = tools.WHEELS / wheel.filename
        artifacts.fetch(config, metadata, config.staging, wheel.file_id, wheel.sha256, to)
