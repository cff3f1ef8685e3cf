"""The inner VM: install exactly the lock from the private repositories, see that it works and that nothing gets out."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from shared.guest import (
    artifacts,
    egress,
    fetch,
    interpreter,
    inventory,
    locked_apt,
    locked_python,
    outer,
    private,
    process,
    report,
    tools,
)
from shared.guest.config import Config
from shared.guest.console import TAIL_BYTES, TAIL_LINES, Console, clean
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

_SMOKE_SECONDS = 1800.0
_OTHER_INDEXES = {
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "PIP_NO_INDEX",
    "UV_NO_INDEX",
}
"""Variables of the workload that lead elsewhere; the other ones of that kind are set anew."""


def nothing(probes: Sequence[egress.Outcome]) -> dict[str, Any]:
    """What a failed inner VM reports beyond the common part."""
    return {"installed": None, "smoke": None} | egress.summary(probes)


def run(config: Config, metadata: Metadata, console: Console, seconds: dict[str, float]) -> dict[str, Any]:
    """Install, inventory, smoke, probes; what the report says beyond its common part."""
    deadline = time.monotonic() + config.workload.install_minutes * 60
    clock = _Clock(seconds)
    lock = read_lock(config, metadata)
    console.step(_contents(lock))
    if config.workload.interpreter is not None:
        interpreter.bring(config, metadata, console)
        clock.add("interpreter")
    console.step("inventory of the base image")
    before = inventory.take()
    clock.add("inventory")
    access = private.Access(config, metadata)
    environment = _configure(config, access, lock)
    access.replace_sources()
    with access, tools.no_services():
        console.step(f"apt: {len(lock['debian'])} locked archives")
        native = lock["release"]["architecture"]
        locked_apt.install(lock["debian"], native, environment, console.line)
        clock.add("apt")
        _install_python(lock, before, access, console)
        clock.add("python")
        outer.install(config, console, environment, deadline)
        clock.add("install")
    console.step("inventory of what was installed")
    installed = inventory.claim(config.workload.name, before, inventory.take())
    packed = report.pack(installed)
    console.step(outer.summary(installed))
    clock.add("inventory")
    result = smoke(config, console, environment)
    clock.add("smoke")
    console.step("trying to get out")
    ways = egress.summary(egress.probe())
    for each in ways["egress_probes"]:
        console.line(f"  {each['probe']} {each['target']}: {each['outcome']}")
    return {"installed": packed, "smoke": result} | ways


def read_lock(config: Config, metadata: Metadata) -> dict[str, Any]:
    """The lock, held to its hash; it stays on the VM for dmz-fetch."""
    if config.lock is None:
        raise GuestError("dmz-config of an inner VM must name its lock.")
    artifacts.fetch(
        config, metadata, config.lock.repository, config.lock.file_id, config.lock.sha256, fetch.LOCK
    )
    lock = json.loads(fetch.LOCK.read_text("utf-8"))
    if not isinstance(lock, dict) or lock.get("format") != "package-dmz/lock/v1":
        raise GuestError("The lock is of a format that this guest does not know.")
    return lock


def smoke(config: Config, console: Console, environment: dict[str, str]) -> dict[str, Any]:
    """Run the smoke script: its exit code, seconds and last lines. Killed after half an hour with exit code 124."""
    console.step("smoke script")
    lines: deque[str] = deque(maxlen=TAIL_LINES)

    def on_line(line: str) -> None:
        console.line(line)
        lines.append(clean(line))

    started = time.monotonic()
    at = inventory.HOME / "smoke.sh"
    try:
        own = interpreter.environment(config, environment)
        code = process.script(config.workload.smoke, at, own, on_line, _SMOKE_SECONDS).exit_code
    except GuestError as error:
        on_line(str(error))
        code = 124
    taken = round(time.monotonic() - started, 3)
    console.step(f"smoke script ended with {code} after {taken:.1f} s")
    tail = "\n".join(lines).encode()[-TAIL_BYTES:].decode("utf-8", "ignore")
    return {"exit_code": code, "seconds": taken, "tail": tail}


def _configure(config: Config, access: private.Access, lock: dict[str, Any]) -> dict[str, str]:
    """Index, constraints and overrides for every command: the only difference from the outer VM."""
    pinned = locked_python.pins(lock["environments"])
    settings = tools.configure(
        pinned,
        locked_python.overrides(config.workload.overrides, pinned),
        {"index-url": access.index_url, "extra-index-url": "", "find-links": "", "no-input": "true"},
        keep=False,
    )
    index = {
        "UV_DEFAULT_INDEX": access.index_url,
        "UV_PYTHON_DOWNLOADS": "never",
        "NETRC": str(private.NETRC),
    }
    fetch.install_tool(config)
    own = {key: value for key, value in config.workload.environment.items() if key not in _OTHER_INDEXES}
    return tools.environment(own, settings, index)


def _install_python(
    lock: dict[str, Any], before: inventory.Snapshot, access: private.Access, console: Console
) -> None:
    url = access.index_url
    index = {"PIP_INDEX_URL": url, "UV_DEFAULT_INDEX": url, "NETRC": str(private.NETRC)}
    installer = locked_python.Installer(tools.environment(index), console.line)
    present = {each["path"]: each["packages"] for each in before.environments if not each["managed_by_dpkg"]}
    installer.use_uv(lock["environments"])
    for each in lock["environments"]:
        console.step(f"Python: {len(each['packages'])} locked packages into {each['path']}")
        count = installer.install(each, present.get(each["path"], []))
        console.step(f"Python: {count} of them installed into {each['path']}")
    installer.clean()


def _contents(lock: dict[str, Any]) -> str:
    python = sum(len(each["packages"]) for each in lock["environments"])
    return (
        f"lock: {len(lock['debian'])} Debian archives, {python} Python packages "
        f"in {len(lock['environments'])} environments, {len(lock['generic'])} files"
    )


class _Clock:
    """Adds up the seconds of each phase."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def add(self, name: str) -> None:
        now = time.monotonic()
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._last
        self._last = now
