"""Compile steps: a program of a root file system of pinned packages, run where nothing of the host can be seen.

What a step can tell one host from another by, and what stands there instead (https://reproducible-builds.org/docs/):
1. Tools and libraries: the root's alone, read-only; of the host only the sources and the directory for results.
2. Network: none. 3. Environment: nothing is inherited; PATH, HOME, TZ, LC_ALL and SOURCE_DATE_EPOCH are fixed.
4. Host name, user (uid and gid 0 of a user namespace, always, also for root), process ids, working directory and
   paths (`/src`, `/out`): fixed. 5. umask 022, no terminal, no input. 6. No capability.

A step is ended at its time-out and its output is kept within bounds. Needs bubblewrap and user namespaces, no root.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shared.errors import Permanent, Transient
from shared.model.value import printable

EPOCH = 315532800
"""SOURCE_DATE_EPOCH, 1980-01-01T00:00:00Z: the first moment that a zip archive can say."""
ENVIRONMENT: Mapping[str, str] = {
    "HOME": "/tmp",  # noqa: S108 - of the sandbox: a file system of its own in memory
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    "TZ": "UTC",
}
TIMEOUT = 1800.0
"""Seconds."""
_KEPT = 128 * 1024
"""Bytes of output, at its beginning and at its end each."""
_OWN = frozenset({"dev", "proc", "tmp", "sys", "run"})
_FORBIDDEN = re.compile(r"namespace|[ug]id map|not permitted|denied|loopback", re.IGNORECASE)
_ERROR = re.compile(r"(?:^|[\s:])(?:fatal )?error: ")


def run(
    root: Path,
    argv: Sequence[str],
    *,
    out: Path,
    sources: Path | None = None,
    binds: Mapping[str, Path] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    what: str = "The compile step",
) -> str:
    """Run `argv` in `root`; what it printed.

    It sees `sources` at /src and each of `binds` at its key, read-only, and writes to `out` at /out. `env` comes
    on top of ENVIRONMENT. `timeout` in seconds. Permanent, with what the program said last, if it fails.
    """
    command = [_bubblewrap(), *_options(root, out, sources, binds or {}, env or {}), "--", *argv]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            umask=0o022,  # 5
        )
    except OSError as error:
        raise Transient(f"{what} cannot be started: {error.strerror}.") from error
    try:
        output = _output(process, timeout, what)
    finally:
        if process.poll() is None:
            process.kill()  # process 1 of the sandbox, and with it all others, ends with bubblewrap
        process.wait()
        if process.stdout:
            process.stdout.close()
    if process.returncode:
        raise Permanent(_failure(what, argv[0], output, process.returncode))
    return output


def _bubblewrap() -> str:
    found = shutil.which("bwrap")
    if not found:
        raise Permanent("Compile steps need bubblewrap, which is not installed: apt-get install bubblewrap.")
    return found


def _options(
    root: Path, out: Path, sources: Path | None, binds: Mapping[str, Path], env: Mapping[str, str]
) -> Iterator[str]:
    yield from ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")  # 2, 4
    yield from ("--unshare-cgroup-try", "--uid", "0", "--gid", "0", "--hostname", "sandbox")  # 4
    yield from ("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL")  # 3, 5, 6
    for entry in sorted(root.iterdir()):  # 1
        if entry.is_symlink():
            yield from ("--symlink", str(entry.readlink()), f"/{entry.name}")
        elif entry.name not in _OWN:
            yield from ("--ro-bind", str(entry), f"/{entry.name}")
    yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")  # noqa: S108 - of the sandbox
    if sources is not None:
        yield from ("--ro-bind", str(sources), "/src")
    for place in sorted(binds):
        yield from ("--ro-bind", str(binds[place]), place)
    yield from ("--bind", str(out), "/out", "--chdir", "/out" if sources is None else "/src")  # 4
    yield from ("--remount-ro", "/")
    for name, value in sorted({**ENVIRONMENT, **env}.items()):
        yield from ("--setenv", name, value)


def _output(process: subprocess.Popen[bytes], timeout: float, what: str) -> str:
    """Everything that the process prints until it ends, the middle left out where it is too much."""
    if process.stdout is None:
        return ""
    first, last = bytearray(), bytearray()
    deadline = time.monotonic() + timeout
    file = process.stdout.fileno()
    ready = select.poll()
    ready.register(file, select.POLLIN)
    while True:
        if not ready.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise Permanent(
                f"{what} took longer than {timeout:g} seconds and was ended; look into why it hangs."
            )
        data = os.read(file, 65536)
        if not data:
            break
        room = _KEPT - len(first)
        first += data[:room]
        last = (last + data[room:] if room < len(data) else last)[-_KEPT:]
    try:
        process.wait(max(0.0, deadline - time.monotonic()) + 1)
    except subprocess.TimeoutExpired as error:
        raise Permanent(f"{what} took longer than {timeout:g} seconds and was ended.") from error
    return (bytes(first) + bytes(last)).decode(errors="replace")


def _failure(what: str, program: str, output: str, status: int) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    own = next((line for line in lines if line.startswith("bwrap: ")), "")
    if own.startswith(f"bwrap: execvp {program}"):
        return (
            f"{what} needs {program}, which none of the locked packages brings; name the package that does in the "
            "spec and lock the image again."
        )
    if own and _FORBIDDEN.search(own):
        return (
            f"{what} needs user namespaces, and this machine does not let bubblewrap make a sandbox "
            f"({printable(own.removeprefix('bwrap: '), 200)}); allow them: sysctl kernel.unprivileged_userns_clone=1, "
            "on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0, in a container --privileged."
        )
    if own:
        return f"{what} failed: bubblewrap made no sandbox: {printable(own.removeprefix('bwrap: '), 300)}."
    errors = [line for line in lines if _ERROR.search(line)]
    said = (
        errors[0].removeprefix("/src/")
        if errors
        else "; ".join(lines[-3:]) or f"nothing, with exit status {status}"
    )
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{what} failed: {printable(said, 600)}{more}."
