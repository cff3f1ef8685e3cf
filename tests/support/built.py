"""Makes real packages: wheels with a correct RECORD, source distributions, .debs."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from shared.guest import record
from shared.model.value import sha256


@dataclass(frozen=True)
class Built:
    """A package file."""

    filename: str
    content: bytes
    record: str | None = None
    """Canonical digest of a wheel's RECORD."""

    @property
    def sha256(self) -> str:
        return sha256(self.content)


def wheel(
    name: str, version: str, requires: tuple[str, ...] = (), *, tag: str = "py3-none-any", text: str = ""
) -> Built:
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {line}" for line in requires]
    files = {
        f"{name.replace('-', '_')}/__init__.py": f"# {name} {version} {text}\n".encode(),
        f"{info}/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    rows = [f"{path},sha256={_hash(content)},{len(content)}" for path, content in files.items()]
    listing = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    files[f"{info}/RECORD"] = listing.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), content)
    return Built(f"{stem}-{tag}.whl", buffer.getvalue(), record.from_wheel(listing, info))


def sdist(name: str, version: str, build: tuple[str, ...]) -> Built:
    """A source distribution whose build requires `build`."""
    stem = f"{name.replace('-', '_')}-{version}"
    needs = ", ".join(f'"{line}"' for line in build)
    files = {
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": f'[build-system]\nrequires = [{needs}]\nbuild-backend = "builder"\n',
    }
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path, text in files.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return Built(f"{stem}.tar.gz", buffer.getvalue())


@functools.cache
def deb(name: str, version: str, architecture: str, source: str, source_version: str, depends: str) -> Built:
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "tree" / "DEBIAN" / "control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
            f"Source: {source} ({source_version})\n"
            + (f"Depends: {depends}\n" if depends else "")
            + "Maintainer: Nobody <nobody@example.org>\nDescription: for a test\n"
        )
        path = Path(folder) / "made.deb"
        made = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(control.parent.parent), str(path)]
        subprocess.run(made, check=True, capture_output=True)
        filename = f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
        return Built(filename, path.read_bytes())


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
