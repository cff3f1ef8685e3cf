"""Google's emulators in Docker, for a machine without the Google Cloud SDK."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.local.layout import Layout
from functions.local.ports import answers
from shared.errors import Permanent

IMAGE = "gcr.io/google.com/cloudsdktool/google-cloud-cli:emulators"
_LABEL = "package-dmz.state"
_PORT = 8085
_COMMANDS = {
    "pubsub": f"gcloud beta emulators pubsub start --project=dmz-local --host-port=0.0.0.0:{_PORT}",
    "firestore": f"gcloud emulators firestore start --host-port=0.0.0.0:{_PORT}",
}
_SECONDS = 120.0


@dataclass(frozen=True)
class Containers:
    """Both emulators, running."""

    pubsub: str
    firestore: str
    containers: Mapping[str, Any]

    def check(self) -> None:
        """Permanent if one has ended: what it held in memory is lost."""
        for kind, container in self.containers.items():
            if not answers(int(getattr(self, kind).rsplit(":", 1)[1])):
                logs = " | ".join(container.get_logs()[0].decode(errors="replace").splitlines()[-3:])
                raise Permanent(
                    f"The {kind} emulator's container has ended, so the platform ends. Its log ends: {logs}"
                )

    def close(self) -> None:
        for container in self.containers.values():
            with contextlib.suppress(Exception):
                container.stop()


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


def start(environment: Mapping[str, str], layout: Layout) -> Containers:
    """Both containers from the image (DMZ_EMULATOR_IMAGE names another), after removing what a kill left."""
    # Its own clean-up container would be one more image to fetch; the label does the same at the next start.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    try:
        from testcontainers.core.container import DockerContainer
    except ImportError as error:
        raise Permanent(
            "The Docker branch needs testcontainers: run ./dmz test once, which installs it."
        ) from error
    image = environment.get("DMZ_EMULATOR_IMAGE") or IMAGE
    remove(layout)
    containers: dict[str, Any] = {}
    addresses: dict[str, str] = {}
    try:
        for kind, command in _COMMANDS.items():
            container = DockerContainer(image).with_command(command).with_bind_ports(_PORT, None)
            container = container.with_kwargs(labels={_LABEL: os.fspath(layout.home)})
            containers[kind] = container.start()
        for kind, container in containers.items():
            addresses[kind] = f"127.0.0.1:{container.get_exposed_port(_PORT)}"
            _wait(kind, int(addresses[kind].rsplit(":", 1)[1]))
    except Exception as error:
        Containers("", "", containers).close()
        if isinstance(error, Permanent):
            raise
        words = " ".join(str(error).split())[:300]
        raise Permanent(f"Docker could not start the emulators from {image}: {words}.") from error
    return Containers(addresses["pubsub"], addresses["firestore"], containers)


def remove(layout: Layout) -> None:
    """Containers that a killed supervisor of this state directory has left."""
    label = f"label={_LABEL}={layout.home}"
    found = subprocess.run(
        ("docker", "ps", "-aq", "--filter", label), capture_output=True, text=True, check=False
    )
    if ids := found.stdout.split():
        subprocess.run(("docker", "rm", "-f", *ids), capture_output=True, check=False)


def _wait(kind: str, port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while not answers(port):
        if time.monotonic() > deadline:
            raise Permanent(f"The {kind} emulator in Docker did not answer within {_SECONDS:.0f} s.")
        time.sleep(0.1)
