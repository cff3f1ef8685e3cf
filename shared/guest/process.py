"""Commands: their output to the console as it comes, their failure as one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.guest.failure import GuestError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"

BASE: Mapping[str, str] = {
    "PATH": PATH,
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
    # One trust store for every tool: pip, requests and uv each bring their own otherwise.
    "SSL_CERT_FILE": SYSTEM_TRUST,
    "REQUESTS_CA_BUNDLE": SYSTEM_TRUST,
    "PIP_CERT": SYSTEM_TRUST,
    "UV_NATIVE_TLS": "true",
    "UV_SYSTEM_CERTS": "true",
}
"""A startup script's environment differs from image to image; commands get exactly this and what the role adds."""


@dataclass(frozen=True)
class Result:
    exit_code: int
    seconds: float


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    timeout: float = 3600,
    cwd: Path | None = None,
) -> Result:
    """Run `argv` to its end, its output to `on_line`; after `timeout` seconds its whole process group is killed.

    A process that the command leaves behind may hold the pipe open: it is not waited for.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        argv,
        env=dict(environment),
        cwd=cwd or Path("/"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    reader = threading.Thread(target=_copy, args=(process, on_line), daemon=True)
    try:
        # The command may have written, and the VM be stopped, before `start` has returned.
        reader.start()
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise GuestError(f"{_name(argv)} did not end within {timeout:.0f} seconds and was killed.") from None
    except BaseException:
        _kill(process)
        raise
    reader.join(5)
    return Result(code, time.monotonic() - started)


def check(
    argv: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    timeout: float = 3600,
    cwd: Path | None = None,
) -> Result:
    """As `run`; GuestError unless the command exits with 0."""
    result = run(argv, environment, on_line, timeout, cwd)
    if result.exit_code:
        raise GuestError(f"{_name(argv)} ended with {_ending(result.exit_code)}.")
    return result


def output(argv: Sequence[str], environment: Mapping[str, str] = BASE) -> str:
    """Standard output of a command that answers at once; GuestError if it fails."""
    done = subprocess.run(argv, env=dict(environment), capture_output=True, check=False, timeout=300)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise GuestError(f"{_name(argv)} ended with {_ending(done.returncode)}: {' '.join(last)}.")
    return done.stdout.decode("utf-8", "surrogateescape")


def script(
    text: str,
    at: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    timeout: float,
) -> Result:
    """Run a bash script with `set -euo pipefail`, kept at `at` for whoever enters the VM."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(text, encoding="utf-8")
    at.chmod(0o700)
    return run(["/bin/bash", "-euo", "pipefail", str(at)], environment, on_line, timeout, Path("/root"))


def _copy(process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    for line in process.stdout:
        on_line(line.decode("utf-8", "replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(10)


def _name(argv: Sequence[str]) -> str:
    return " ".join(argv[:3])[:120]


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
