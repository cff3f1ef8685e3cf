"""The interpreter that a workload brings, where the image's Python does not fit: in both VMs the same.

1. It is fetched as dmz-fetch does, so that it stands in the manifest as a file by URL: from the internet, or in the
   inner VM what the lock names for the URL, out of the private repository.
2. Its bytes are those that the workload pins.
3. It unpacks as `untar` says, and holds `python/bin/python3`.
4. It runs here, and is a CPython of the minor version that the workload declares, with the usual ABI: locks and wheels
   are chosen by that version alone.
5. What came with it is there before the first inventory, like what the image brought: judged, and known as no index's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

from shared.guest import fetch, inventory, process, python_tree, untar
from shared.guest.config import Config, InterpreterConfig
from shared.guest.console import Console
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

ARCHIVE = inventory.HOME / "python.archive"
_TOP = "python"
_QUESTION = "import platform, sys; print(sys.implementation.name + sys.abiflags, platform.python_version(), sep='\\n')"
_VERSION = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}[a-z0-9+]*", re.ASCII)


def bring(config: Config, metadata: Metadata, console: Console) -> None:
    """Fetch, check and unpack the workload's interpreter, if it declares one; GuestError with what is wrong with it."""
    wanted = config.workload.interpreter
    if wanted is None:
        return
    console.step(f"fetching Python {wanted.version}")
    if config.role == "outer":  # 1
        entry = fetch.from_internet(wanted.url, ARCHIVE, inventory.FETCHED)
    else:
        entry = fetch.from_lock(config, metadata, wanted.url, ARCHIVE)
    if entry["sha256"] != wanted.sha256:  # 2
        ARCHIVE.unlink()
        raise GuestError(
            f"The interpreter's archive {wanted.url} has {entry['sha256']}, and the workload pins {wanted.sha256}: "
            "not used."
        )
    version = install(wanted)
    fetch.note(entry | {"interpreter": version}, inventory.FETCHED)
    console.step(f"Python {version} is in {python_tree.ROOT}")


def install(wanted: InterpreterConfig) -> str:
    """Unpack the archive and see that it is what was declared; its full version."""
    root = python_tree.ROOT
    try:
        held = untar.unpack(ARCHIVE, _TOP, root)
    except GuestError as error:
        raise GuestError(f"The interpreter's archive {wanted.url} is refused: {error}") from error
    try:
        version = _ask(wanted)
    except GuestError:
        shutil.rmtree(root, ignore_errors=True)
        raise
    named = root / f"bin/python{wanted.version}"
    if not named.exists():
        named.symlink_to("python3")
        held[f"bin/{named.name}"] = "-> python3"
    python_tree.save(version, held)
    return version


def environment(config: Config, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the workload's scripts: its own interpreter comes first."""
    wanted = config.workload.interpreter
    if wanted is None:
        return dict(base)
    # A version and not a path: with a path, `uv pip install` would leave an active virtual environment aside.
    return {"UV_PYTHON": wanted.version} | dict(base) | {"PATH": f"{python_tree.ROOT / 'bin'}:{base['PATH']}"}


def _ask(wanted: InterpreterConfig) -> str:
    """The version that the interpreter says it has."""
    python = python_tree.ROOT / "bin/python3"
    if not python.is_file():  # 3
        raise GuestError(
            f"The interpreter's archive {wanted.url} has no {_TOP}/bin/python3: name one that is made to be unpacked "
            "and used, as python-build-standalone's install_only archives are."
        )
    try:
        done = subprocess.run(
            [str(python), "-I", "-S", "-B", "-c", _QUESTION],
            env=dict(process.BASE),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestError(f"The interpreter from {wanted.url} does not run here: {error}.") from error
    if done.returncode:
        words = " ".join(done.stderr.strip().splitlines()[-1:])[:300]
        raise GuestError(f"The interpreter from {wanted.url} does not run here: {words.rstrip('.')}.")
    kind, _, version = done.stdout.strip().partition("\n")
    if kind != "cpython" or not _VERSION.fullmatch(version):  # 4
        raise GuestError(
            f"The interpreter from {wanted.url} is {kind!a:.80} {version!a:.80}: only CPython with its usual ABI is "
            "known."
        )
    if not re.match(re.escape(wanted.version) + r"\.", version):  # 4
        raise GuestError(
            f"The interpreter from {wanted.url} is Python {version}, and the workload declares {wanted.version}: "
            "correct one of them."
        )
    return version
