"""Root file systems of compile sandboxes: unpacked once per set of packages, and checked whenever one is used.

A root lies in the cache under the digest of its packages, and beside it the record of what it held when it was
unpacked. A file that changed since then would change what a compiler makes, so every use compares all of them; a
root that differs is unpacked again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Permanent, Transient
from shared.image import debian, rootfs
from shared.image.plan import Inputs
from shared.model.image import LockedInput
from shared.model.value import canonical, sha256

_FORMAT = 1


def root(packages: Sequence[LockedInput], inputs: Inputs, cache: Path | None = None) -> Path:
    """The root that these packages make; read it, write nothing to it.

    `cache`: where roots are kept; else below XDG_CACHE_HOME. Permanent if there is no package.
    """
    if not packages:
        raise Permanent("The lock names no package for the compile sandbox; lock the image again.")
    where = cache / "roots" if cache else place()
    record = where / f"{_key(packages)}.json"
    made = record.with_suffix("")
    with _alone(record.with_suffix(".lock")):
        if not _sound(made, record):
            _make(packages, inputs, made, record)
    return made


def identity(packages: Sequence[LockedInput]) -> str:
    """What a layer's key says of the root that it was compiled in."""
    return sha256(
        canonical([_FORMAT, debian.RECIPE, rootfs.RECIPE, sorted({each.sha256 for each in packages})])
    )


def _key(packages: Sequence[LockedInput]) -> str:
    return identity(packages).removeprefix("sha256:")


def place() -> Path:
    """Where roots are kept."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache").absolute() / "package-dmz" / "roots"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One thread of one process at a time: nobody replaces a root that another has just found sound."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as error:
        raise Permanent(
            f"The cache {lock.parent} cannot be written to ({error.strerror}); name another in XDG_CACHE_HOME."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(packages: Sequence[LockedInput], inputs: Inputs, made: Path, record: Path) -> None:
    """Unpack beside the place and move there: who is interrupted leaves nothing half done under the name."""
    archives = [
        inputs(each) for each in sorted({each.sha256: each for each in packages}.values(), key=_order)
    ]
    scratch = made.with_name(f".{made.name}")
    shutil.rmtree(scratch, ignore_errors=True)  # of who was killed
    try:
        scratch.mkdir()
        debian.unpack(archives, scratch / "root")
        (scratch / "record").write_bytes(canonical(_inventory(scratch / "root")))
        _discard(made, scratch / "old")
        (scratch / "root").rename(made)
        (scratch / "record").replace(record)
    except OSError as error:
        raise Transient(
            f"The compile sandbox cannot be unpacked to {made.parent}: {error.strerror}; free some room and run again."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _order(package: LockedInput) -> tuple[str, str]:
    return package.name, package.sha256


def _discard(made: Path, to: Path) -> None:
    try:
        made.rename(to)
    except FileNotFoundError:
        return


def _sound(made: Path, record: Path) -> bool:
    try:
        return bool(json.loads(record.read_bytes()) == _inventory(made))
    except (OSError, ValueError):
        return False


def _inventory(made: Path) -> dict[str, list[str]]:
    """Path to type and mode and, for a file, its digest, for a link its target."""
    entries = list(_walk(made))
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="root") as pool:
        return dict(pool.map(lambda entry: _described(entry, made), entries, chunksize=64))


def _walk(directory: Path) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory, onerror=_fail):
        yield from (Path(parent) / name for name in (*directories, *files))


def _fail(error: OSError) -> None:
    raise error


def _described(path: Path, made: Path) -> tuple[str, list[str]]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        content = _name(path.readlink())
    elif stat.S_ISREG(mode):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        content = ""
    return _name(path.relative_to(made)), [f"{mode:o}", content]


def _name(path: Path) -> str:
    """The same in every locale."""
    return os.fsencode(path).decode(errors="backslashreplace")
