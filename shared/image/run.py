"""Runs a built image on this machine, in a sandbox: `./dmz image run DIR`.

The image is verified and unpacked to a directory of its own, which is removed at the end. What runs sees that root,
/proc, a few devices and /tmp in memory; of the environment only what the image's configuration and the caller say.
It is the image's user in a user namespace, and nobody else outside. Its network is this machine's, so that it can be
asked on its port, or one of its own with nothing but loopback.

This is a look at an image, not Confidential Space: that is `shared.emulators`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from shared.errors import Permanent, Transient
from shared.image.oci import Document
from shared.image.unpack import unpack as unpack
from shared.model.value import printable

Network = Literal["host", "own"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What container engines set where an image sets none."""
GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES = ("etc/resolv.conf", "etc/hosts")


@dataclass(frozen=True)
class Process:
    """What an image's configuration says is to be started."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    workdir: str
    user: tuple[int, int]


def run(
    layout: Path,
    *,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] | None = None,
    network: Network = "host",
    read_only: bool = False,
) -> int:
    """Run the image of the layout until it ends; its exit status, 128 and more for a signal.

    `env` comes on top of the image's, `args` in place of its Cmd. `read_only`: nothing but /tmp can be written to.
    Output goes where ours goes. SIGINT and SIGTERM are passed on as SIGTERM; who does not end within GRACE seconds is
    killed. Permanent if the image cannot be run.
    """
    if not shutil.which("bwrap"):
        raise Permanent(
            "Running an image needs bubblewrap, which is not installed: apt-get install bubblewrap."
        )
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="image-run-", ignore_cleanup_errors=True)
            )
        except OSError as error:
            raise Transient(f"There is no room to unpack the image: {error.strerror}.") from error
        stopping = stack.enter_context(_signals())
        root = Path(scratch, "root")
        image = unpack(layout, root)
        process = described(image.config, env or {}, args)
        if stopping.is_set():
            return 128 + signal.SIGTERM
        return _supervise(root, process, network, read_only, stopping)


def described(config: Document, env: Mapping[str, str], args: Sequence[str] | None) -> Process:
    """The process of an image's configuration (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md)."""
    inner = config.fields.get("config")
    if not isinstance(inner, dict):
        raise Permanent("The image's configuration does not say what to start.")
    argv = [*_texts(inner, "Entrypoint"), *(_texts(inner, "Cmd") if args is None else args)]
    if not argv:
        raise Permanent("The image has no entry point; give the program to start.")
    own = dict(variable.partition("=")[::2] for variable in _texts(inner, "Env"))
    everything = {"PATH": PATH, **own, **env}
    for name, value in everything.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise Permanent(
                f"The variable '{printable(name, 100)}' cannot be set; write NAME=value, in plain text."
            )
    user = re.fullmatch(r"([0-9]{1,9})?(?::([0-9]{1,9}))?", str(inner.get("User") or ""))
    if user is None:
        raise Permanent(
            f"The image's user {printable(str(inner.get('User')), 60)} is no number; give it as UID:GID."
        )
    return Process(
        tuple(argv), everything, str(inner.get("WorkingDir") or "/"), (int(user[1] or 0), int(user[2] or 0))
    )


def sandboxed(root: Path, process: Process) -> list[str]:
    """The command that runs a process of an unpacked image on this machine's network, writing to nothing but /tmp.

    For several processes from one root; whoever ends the command ends the process.
    """
    return ["bwrap", *_options(root, process, "host", read_only=True), "--", *process.argv]


def _texts(config: Mapping[str, Any], name: str) -> list[str]:
    value = config.get(name) or []
    if not isinstance(value, list) or not all(isinstance(text, str) and "\0" not in text for text in value):
        raise Permanent(f"The image's configuration has no sound {name}.")
    return value


def _options(root: Path, process: Process, network: Network, read_only: bool) -> Iterator[str]:
    uid, gid = process.user
    yield from ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--uid", str(uid), "--gid", str(gid), "--hostname", "image")
    yield from ("--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL")
    if network == "own":
        yield from ("--unshare-net", "--cap-add", "CAP_NET_BIND_SERVICE")
    yield from ("--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")  # noqa: S108 - inside
    if network == "host":
        for name in _NAMES:
            place = root / name
            if Path("/", name).exists() and (root / "etc").is_dir() and not place.is_symlink():
                yield from ("--ro-bind", f"/{name}", f"/{name}")
    if read_only:
        yield from ("--remount-ro", "/")
    yield from ("--chdir", process.workdir)
    for name, value in sorted(process.env.items()):
        yield from ("--setenv", name, value)


def _supervise(
    root: Path, process: Process, network: Network, read_only: bool, stopping: threading.Event
) -> int:
    """Start the process, pass signals on, wait for its end."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as options:
        # Not as arguments: every user of the machine can read those, and the environment may hold a secret.
        options.write(
            b"".join(os.fsencode(option) + b"\0" for option in _options(root, process, network, read_only))
        )
        options.seek(0)
        fds = (options.fileno(), writing)
        command = ["bwrap", "--args", str(fds[0]), "--info-fd", str(fds[1]), "--", *process.argv]
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True)
        except OSError as error:
            os.close(reading)
            raise Transient(f"The image cannot be started: {error.strerror}.") from error
        finally:
            os.close(writing)
    with os.fdopen(reading, "rb") as info:
        inside = _first_process(info.read())
    ended = threading.Event()
    threading.Thread(target=_watch, args=(child, ended, stopping), daemon=True).start()
    try:
        stopping.wait()
        if not ended.is_set():
            _signal(inside, signal.SIGTERM)
            ended.wait(GRACE)
    finally:
        if not ended.is_set():
            child.kill()  # with bubblewrap everything inside ends
        child.wait()
    status = child.returncode
    return 128 - status if status < 0 else status


def _watch(child: subprocess.Popen[bytes], ended: threading.Event, stopping: threading.Event) -> None:
    child.wait()
    ended.set()
    stopping.set()


def _first_process(info: bytes) -> int:
    """The first process inside, as this side numbers it; 0 if it did not come to be."""
    try:
        return int(json.loads(info)["child-pid"])
    except (ValueError, KeyError, TypeError):
        return 0


def _signal(process: int, number: int) -> None:
    if process:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            return


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of ending this process; untouched outside the main thread."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
