"""Proves that downloaded bytes are what the lock names and what the outer VM installed.

1. The file has the sha256 that the lock gives.
2. A wheel passes every check of `wheel`, a source distribution every check of `sdist`.
3. Its name and version are the lock's.
4. A wheel's canonical RECORD digest is the one that the outer VM had, where it had one.
5. A .deb's control fields Package, Version, Architecture and Source are the lock's.
6. Attestations that the index serves for a wheel or source distribution pass every check of `publishers`.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from shared.errors import Permanent
from shared.model.lock import LockedArchive, LockedPython
from shared.model.publisher import Publisher
from shared.model.value import Digest, printable
from shared.upstream import publishers, sdist, wheel

_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")
_DPKG_TIMEOUT = 120


class Prover:
    """`Proof` over files on this machine."""

    def wheel(self, file: LockedPython, path: Path) -> None:
        """Checks 1 to 4 on a wheel or source distribution. Permanent with the first that fails."""
        _check_hash(path, file.filename, file.sha256)
        if file.is_wheel:
            proven: wheel.ProvenWheel | sdist.ProvenSdist = wheel.prove(
                path, file.filename, contents=file.record is None
            )  # 2
        else:
            proven = sdist.prove(path, file.filename)  # 2
        _check_name(file, proven)
        if isinstance(proven, wheel.ProvenWheel) and file.record not in (None, proven.record):  # 4
            raise Permanent(
                f"{file.filename} is not what the outer VM installed: its RECORD has the digest {proven.record}, the "
                f"VM's has {file.record}. The VM changed the package or installed another build of it."
            )

    def publishers(self, file: LockedPython, served: bytes) -> tuple[Publisher, ...]:
        """Check 6. Permanent with the first that fails."""
        return publishers.prove(served, file.filename, file.sha256)

    def archive(self, file: LockedArchive, path: Path) -> None:
        """Checks 1 and 5 on a .deb. Permanent with the first that fails."""
        _check_hash(path, file.filename, file.sha256)
        fields = control(path, file.filename)
        source = _SOURCE.fullmatch(fields.get("Source", fields.get("Package", "")))
        found = (
            fields.get("Package"),
            fields.get("Version"),
            fields.get("Architecture"),
            source[1] if source else None,
            source[2] or fields.get("Version") if source else None,
        )
        wanted = (file.name, file.version, file.architecture, file.source_name, file.source_version)
        for field, is_, should in zip(
            ("Package", "Version", "Architecture", "Source", "Source version"), found, wanted, strict=True
        ):
            if is_ != should:  # 5
                raise Permanent(
                    f"{file.filename} says inside that its {field} is '{printable(str(is_), 80)}', the lock says "
                    f"'{should}'; it is refused."
                )


def control(path: Path, filename: str) -> dict[str, str]:
    """The fields of a .deb's control file, read by dpkg-deb. Permanent if it is no .deb."""
    wanted = ("Package", "Version", "Architecture", "Source")
    try:
        done = subprocess.run(
            ["dpkg-deb", "--field", str(path.resolve()), *wanted],
            capture_output=True,
            timeout=_DPKG_TIMEOUT,
            check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise Permanent(
            "dpkg-deb is not installed, so no .deb can be proved; install Debian's dpkg."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Permanent(f"dpkg-deb did not read {filename} within {_DPKG_TIMEOUT} seconds.") from error
    if done.returncode != 0:
        reason = printable(" ".join(done.stderr.decode("utf-8", "replace").split()), 160)
        raise Permanent(f"{filename} is not a Debian archive (dpkg-deb: {reason}).")
    pairs = (line.partition(":") for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _check_hash(path: Path, filename: str, expected: Digest) -> None:
    try:
        with path.open("rb") as file:
            found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Permanent(f"{path} cannot be read: {error.strerror or error}.") from error
    if found != expected:  # 1
        raise Permanent(f"{filename} has the content {found}, the lock says {expected}; it is refused.")


def _check_name(file: LockedPython, proven: wheel.ProvenWheel | sdist.ProvenSdist) -> None:
    try:
        same = canonicalize_name(file.name) == proven.name and Version(file.version) == Version(
            proven.version
        )
    except InvalidVersion:
        same = False
    if not same:  # 3
        raise Permanent(
            f"{file.filename} is {proven.name} {proven.version}, the lock says {file.name} {file.version}: refused."
        )
