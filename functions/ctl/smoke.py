"""`./dmz image smoke DIR`: does the built image of the services start as each stage, and answer?

Each stage runs from the image alone: its user, a root that cannot be written to, nothing of this checkout. A stage
answers to a request that is no event without needing anything of Google's, so this needs no project.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from functions.serve import stages
from shared.errors import Permanent
from shared.image.oci import Document
from shared.image.run import described, sandboxed
from shared.image.unpack import unpack
from shared.model.value import printable

SECONDS = 120.0
"""Within which a stage must answer: a machine may be busy."""
_EXPECTED = {("GET", "/"): 405, ("POST", "/"): 400}
"""Stages take CloudEvents by POST: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md"""
_PAGES = {("GET", "/assets/console.css"): 200, ("GET", "/nowhere"): 404, ("POST", "/"): 405}
"""The console's answers that need no store: a file, a page out of a template, and that it changes nothing."""
_LINES = 3


def smoke(layout: Path, say: Callable[[str], None] = print) -> int:
    """0 if every stage starts and answers as it should; Permanent names the first that does not, and what it said."""
    with tempfile.TemporaryDirectory(prefix="smoke-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch, "root")
        config = unpack(layout, root).config
        for stage in stages():
            say(f"{stage}: answers after {_answers(root, config, stage):.1f} s")
    return 0


def _answers(root: Path, config: Document, stage: str) -> float:
    """Seconds until the stage answered."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    variables = {
        "FUNCTION_SOURCE": f"functions/{stage}/main.py",
        "FUNCTION_TARGET": "handle",
        "GOOGLE_CLOUD_PROJECT": "smoke-test",
        "PORT": str(port),
    }
    command = sandboxed(root, described(config, variables, None))
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while not _listens(port):
                if child.poll() is not None or time.monotonic() - began > SECONDS:
                    raise Permanent(f"The stage {stage} does not start: {_last(log)}")
                time.sleep(0.05)
            took = time.monotonic() - began
            expected = _PAGES if stage == "console" else _EXPECTED
            found = {(method, path): _status(port, method, path) for method, path in expected}
        finally:
            child.kill()
            child.wait()
        if found != expected:
            raise Permanent(f"The stage {stage} answers {found} and should {expected}: {_last(log)}")
    return took


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _status(port: int, method: str, path: str) -> int:
    """What it answers to a request that is no event; 0 for nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(
            method, path, b"{}" if method == "POST" else None, {"Content-Type": "application/json"}
        )
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _last(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(printable(line, 300) for line in lines[-_LINES:]) or "it says nothing."
