"""Google's emulators in Docker, for a machine without the Google Cloud SDK."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from functions.local.layout import Layout
from functions.local.ports import speaks_http
from shared.errors import Permanent
from shared.model.value import printable

IMAGE = "gcr.io/google.com/cloudsdktool/google-cloud-cli:emulators"
_LABEL = "package-dmz.state"
_COMMANDS = {
    "pubsub": "gcloud beta emulators pubsub start --project=dmz-local --host-port={address}",
    "firestore": "gcloud emulators firestore start --host-port={address}",
}
_USED = "docker.used"
"""In the state directory: there may be containers of ours. Asking Docker takes a while, and it may not be there."""
_SECONDS = 120.0
_BETWEEN_CHECKS = 1.0


@dataclass
class Containers:
    """Both emulators, started."""

    ports: Mapping[str, int]
    containers: dict[str, Any] = field(default_factory=dict)
    _checked: float = 0.0

    def wait(self, stop: threading.Event) -> None:
        """Until both answer or `stop`; Permanent, with the last words, if one does not."""
        deadline = time.monotonic() + _SECONDS
        while not all(speaks_http(self.ports[kind]) for kind in self.containers) and not stop.is_set():
            self.check()
            if time.monotonic() > deadline:
                raise Permanent(
                    f"The emulators in Docker did not answer within {_SECONDS:.0f} s. {self._quote()}"
                )
            time.sleep(0.1)

    def check(self) -> None:
        """Permanent if one has ended: what it held in memory is lost. Asks at most once a second."""
        if time.monotonic() < self._checked + _BETWEEN_CHECKS:
            return
        self._checked = time.monotonic()
        for kind, container in self.containers.items():
            wrapped = container.get_wrapped_container()
            wrapped.reload()
            if wrapped.status != "running":
                raise Permanent(
                    f"The {kind} emulator's container has ended, so the platform ends. {self._quote()}"
                )

    def close(self) -> None:
        for container in self.containers.values():
            with contextlib.suppress(Exception):  # it may have gone by itself
                container.stop()

    def _quote(self) -> str:
        lines = [
            line
            for container in self.containers.values()
            for line in container.get_logs()[1].decode(errors="replace").splitlines()[-2:]
        ]
        return f"Their logs end: {' | '.join(printable(line, 300) for line in lines) or '(nothing)'}"


def usable() -> bool:
    """True if a Docker daemon answers."""
    if not shutil.which("docker"):
        return False
    try:
        answer = subprocess.run(
            ("docker", "version", "--format", "{{.Server.Version}}"), capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def start(environment: Mapping[str, str], layout: Layout, ports: Mapping[str, int]) -> Containers:
    """Both containers from the image (DMZ_EMULATOR_IMAGE names another), after removing what a kill left.

    They share the host's network: Pub/Sub pushes to functions on the host's loopback, and listens there alone.
    """
    # Its own clean-up container would be one more image to fetch; the label does the same at the next start.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    # A quarter of a second, which only this branch pays.
    from testcontainers.core.container import DockerContainer

    image = environment.get("DMZ_EMULATOR_IMAGE") or IMAGE
    (layout.home / _USED).touch()
    started = Containers(ports)
    try:
        for kind, command in _COMMANDS.items():
            container = DockerContainer(image).with_command(
                command.format(address=f"127.0.0.1:{ports[kind]}")
            )
            labels = {_LABEL: os.fspath(layout.home)}
            started.containers[kind] = container.with_kwargs(network_mode="host", labels=labels)
            container.start()
    except Exception as error:
        started.close()
        words = printable(" ".join(str(error).split()), 300)
        raise Permanent(f"Docker could not start the emulators from {image}: {words}.") from error
    return started


def remove(layout: Layout) -> None:
    """Containers that a killed supervisor of this state directory has left."""
    if not (layout.home / _USED).exists() or not usable():
        return
    label = f"label={_LABEL}={layout.home}"
    found = subprocess.run(
        ("docker", "ps", "-aq", "--filter", label), capture_output=True, text=True, check=False
    )
    if ids := found.stdout.split():
        subprocess.run(("docker", "rm", "-f", *ids), capture_output=True, check=False)
    (layout.home / _USED).unlink()
