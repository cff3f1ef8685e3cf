"""Google's own Pub/Sub and Firestore emulators for a test session, as `functions.local` starts them.

The kernel ends them with the session (prctl(2) PR_SET_PDEATHSIG): a killed test run leaves no Java process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from functions.local import sdk
from shared.errors import Permanent

_PATIENCE = 60.0
"""Seconds: a JVM on a busy machine takes its time."""


@contextlib.contextmanager
def emulator(kind: str, logs: Path) -> Iterator[str]:
    """`host:port` of a running emulator, `pubsub` or `firestore`; Permanent says what is missing."""
    found = sdk.find(os.environ)
    if found is None:
        raise Permanent(
            "These tests run against Google's Pub/Sub and Firestore emulators, and there is no SDK that has them: "
            "install google-cloud-cli-pubsub-emulator and google-cloud-cli-firestore-emulator, or set CLOUDSDK_ROOT."
        )
    port = free_port()
    command = found.pubsub(port) if kind == "pubsub" else found.firestore(port)
    log = logs / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(process, port, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), 0.3).close()
        time.sleep(0.02)
    raise Permanent(f"The emulator did not start; its log ends: {log.read_text(errors='replace')[-500:]}")
