"""The root file system of every VM: Debian 13 by mmdebstrap, cached as a tar and unpacked once.

Built once a UTC day per recipe, so that VMs start from today's security updates. When a build fails (no network), the
newest image of the same recipe serves, and `Image.stale` says why. `python -m shared.emulators.vm.image --cache DIR`
builds it ahead.
"""

import argparse
import datetime
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.emulators.vm import idmap
from shared.errors import DmzError, Permanent, Transient

SUITE = "trixie"
PACKAGES = ("ca-certificates", "curl", "python3", "python3-pip", "python3-venv", "sudo")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCES = f"""\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {SUITE} {SUITE}-updates
Components: main
Signed-By: {_KEYRING}

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: {SUITE}-security
Components: main
Signed-By: {_KEYRING}
"""
_OPTIONS = (
    "--mode=unshare",
    "--variant=minbase",
    f"--include={','.join(PACKAGES)}",
    # Signed indexes are what protects apt; lists and archives would be stale and large.
    '--customize-hook=mv "$1"/etc/apt/sources.list.d/*.sources "$1"/etc/apt/sources.list.d/debian.sources',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--skip=output/dev",  # a user namespace may not make device nodes
    "--format=tar",
)
RECIPE = hashlib.sha256("\0".join((SUITE, SOURCES, *_OPTIONS)).encode()).hexdigest()[:12]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """An unpacked root, read-only by agreement. `stale`: why it is not today's, or None."""

    root: Path
    built: str
    stale: str | None


def silent(_line: str) -> None: ...


def prepare(cache: Path, today: datetime.date | None = None, progress: Progress = silent) -> Image:
    """Today's image, unpacked below `cache`. Transient if there is neither network nor an older image; Permanent if
    this machine cannot build one."""
    day = (today or datetime.datetime.now(datetime.UTC).date()).strftime("%Y%m%d")
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / ".lock"):
        stale = None
        archive = _archive(cache, day)
        if not archive.exists():
            try:
                _build(archive, progress)
            except DmzError as error:
                older = sorted(cache.glob(_archive(cache, "*").name))
                if not older:
                    raise
                archive = older[-1]
                stale = f"today's image could not be built, so one from {_day(archive)} serves: {error}"
                progress(stale)
        root = _unpack(archive, progress)
        _prune(cache, keep=archive)
        return Image(root, _day(archive), stale)


def hold(image: Image) -> int:
    """A descriptor that keeps the unpacked root from being pruned while it is open."""
    descriptor = os.open(_lock_of(image.root), os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _archive(cache: Path, day: str) -> Path:
    return cache / f"{SUITE}-{RECIPE}-{day}.tar"


def _day(archive: Path) -> str:
    return archive.stem.rsplit("-", 1)[1]


def _lock_of(root: Path) -> Path:
    return root.with_suffix(".lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(archive: Path, progress: Progress) -> None:
    if not shutil.which("mmdebstrap"):
        raise Permanent("mmdebstrap is missing: install Debian's or Ubuntu's `mmdebstrap` and `uidmap`.")
    began = time.monotonic()
    progress(f"building the Debian {SUITE} image with mmdebstrap")
    partial = archive.with_suffix(".partial")
    command = ["mmdebstrap", *_OPTIONS, SUITE, "-", "-"]
    lines: list[str] = []
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    with (
        partial.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.PIPE, env=environment
        ) as process,
    ):
        assert process.stdin is not None  # noqa: S101 - pipes were asked for; for the type checker
        assert process.stderr is not None  # noqa: S101 - likewise
        process.stdin.write(SOURCES.encode())
        process.stdin.close()
        for raw in process.stderr:
            line = raw.decode(errors="replace").strip()
            lines.append(line)
            if line.startswith(("I: ", "E: ", "W: ")):
                progress(line)
    if process.returncode != 0:
        partial.unlink()
        errors = [line for line in lines if line.startswith(("E:", "Err:"))] or lines[-3:]
        raise Transient(f"mmdebstrap failed: {' '.join(errors)[-500:]}")
    partial.rename(archive)
    progress(f"image built in {time.monotonic() - began:.0f} s, {archive.stat().st_size // 2**20} MB")


def _unpack(archive: Path, progress: Progress) -> Path:
    owner = "root" if idmap.as_root() else str(os.getuid())
    root = archive.with_name(f"{archive.stem}-{owner}.root")
    if root.is_dir():
        return root
    progress("unpacking the image")
    partial = root.with_suffix(".unpacking")
    if partial.exists():
        _remove(partial)
    partial.mkdir(mode=0o755)
    idmap.own(partial)
    with archive.open("rb") as content:
        idmap.run_mapped(["tar", "-x", "--numeric-owner", "--xattrs", "-f", "-"], partial, stdin=content)
    partial.rename(root)
    return root


def _prune(cache: Path, keep: Path) -> None:
    """Remove other days' and other recipes' images, except roots that a running platform holds."""
    for archive in cache.glob(f"{SUITE}-*.tar"):
        if archive != keep:
            archive.unlink()
    for root in cache.glob(f"{SUITE}-*.root"):
        if root.name.startswith(keep.stem):
            continue
        with suppress(BlockingIOError), _lock_of(root).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(root)
            _lock_of(root).unlink()


def _remove(root: Path) -> None:
    idmap.run_mapped(["find", ".", "-mindepth", "1", "-delete"], root)
    root.rmdir()


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the root image of local VMs ahead.")
    parser.add_argument("--cache", type=Path, required=True, help="directory that keeps images")
    arguments = parser.parse_args()
    try:
        image = prepare(arguments.cache, progress=_report)
    except DmzError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{image.root}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
