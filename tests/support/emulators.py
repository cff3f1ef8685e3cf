"""Google's own Pub/Sub and Firestore emulators, started for a test session from the Cloud SDK's jars.

Through gcloud they take 3 s to start and survive the death of gcloud; from the jars 0.7 s, and the kernel ends them
with the session (prctl(2) PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 60.0
"""Seconds: a JVM on a busy machine takes its time."""


class Missing(Exception):
    """The machine lacks what the tests need; the message says what to install."""


def sdk_root() -> Path:
    """Where the Cloud SDK stands: CLOUDSDK_ROOT, or beside gcloud, or Debian's place."""
    places = [Path(given) for given in (os.environ.get("CLOUDSDK_ROOT"),) if given]
    gcloud = shutil.which("gcloud")
    if gcloud:
        places.append(Path(gcloud).resolve().parent.parent)
    places.append(Path("/usr/lib/google-cloud-sdk"))
    for place in places:
        if (place / "platform").is_dir():
            return place
    raise Missing(
        "The Google Cloud SDK is not there, and these tests run against its emulators: "
        "install google-cloud-cli, or set CLOUDSDK_ROOT."
    )


def _pubsub(port: int) -> tuple[str, ...]:
    jar = _only("pubsub-emulator/lib", "cloud-pubsub-emulator-*-all.jar", "google-cloud-cli-pubsub-emulator")
    return (*_java(), "-jar", str(jar), "--host=127.0.0.1", f"--port={port}")


def _firestore(port: int) -> tuple[str, ...]:
    package = "google-cloud-cli-firestore-emulator"
    jar = _only("cloud-firestore-emulator", "cloud-firestore-emulator.jar", package)
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    return (
        *_java(),
        "-Duser.language=en",
        "-cp",
        str(jar),
        main,
        "start",
        "--host=127.0.0.1",
        f"--port={port}",
    )


_COMMANDS = {"pubsub": _pubsub, "firestore": _firestore}


@contextlib.contextmanager
def emulator(kind: str, logs: Path) -> Iterator[str]:
    """`host:port` of a running emulator, `pubsub` or `firestore`; it is ended on leaving."""
    port = _free_port()
    command = ("setpriv", "--pdeathsig", "KILL", *_COMMANDS[kind](port))
    log = logs / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(process, port, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def _only(folder: str, pattern: str, package: str) -> Path:
    found = sorted((sdk_root() / "platform" / folder).glob(pattern))
    if not found:
        raise Missing(
            f"The Cloud SDK at {sdk_root()} has no {pattern}: install {package} "
            f"(or `gcloud components install {folder.split('/')[0]}`)."
        )
    return found[-1]


def _java() -> tuple[str, ...]:
    if not shutil.which("java"):
        raise Missing("There is no java, which Google's emulators run on: install default-jre-headless.")
    # Two JVMs beside each other on a small machine: the serial collector starts fastest and takes no threads.
    return ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), 0.3).close()
        time.sleep(0.02)
    raise Missing(f"The emulator did not start; its log ends: {log.read_text(errors='replace')[-500:]}")
