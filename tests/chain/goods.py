"""The packages of the hermetic chain: made here, real enough for pip, uv, apt and dpkg."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape

from tests.support import built
from tests.support.built import Built
from tests.upstream.conftest import Signer
from tests.upstream.support import Reply, Request, Web

BACKEND = '''\
"""A PEP 517 backend of forty lines: packs module.py and says what it is."""

import base64, hashlib, os, pathlib, zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    lines = dict(line.split(": ", 1) for line in pathlib.Path("PKG-INFO").read_text().splitlines() if ": " in line)
    name, version = lines["Name"], lines["Version"]
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": pathlib.Path("module.py").read_bytes(),
        f"{info}/METADATA": pathlib.Path("PKG-INFO").read_bytes(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    files[f"{info}/RECORD"] = "\\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    filename = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), content)
    return filename
'''


def module(name: str, version: str, code: str) -> Built:
    """A wheel whose package is `code`."""
    return built.wheel(name, version, text=f"\n{code}")


def source(name: str, version: str, *build: str) -> Built:
    """A source distribution that `smallbuild` builds."""
    stem = f"{name}-{version}"
    needs = ", ".join(f'"{line}"' for line in build)
    files = {
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": f'[build-system]\nrequires = [{needs}]\nbuild-backend = "smallbuild"\n',
        "module.py": f'version = "{version}"\n',
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return Built(f"{stem}.tar.gz", gzip.compress(buffer.getvalue(), mtime=0))


class Shelf:
    """A simple index in PEP 503's HTML; the same files answer on loopback and under the mirror's name in the VM."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._lines: dict[str, list[str]] = defaultdict(list)

    def add(
        self,
        name: str,
        file: Built,
        *,
        content: bytes | Callable[[Request], Reply] | None = None,
        uploaded: str = "2026-01-02T03:04:05.678901Z",
        yanked: str | None = None,
    ) -> str:
        """Offer `file`; its path. `content`: what is sent instead of the bytes whose hash the index states.

        `yanked`: the reason, if it is.
        """
        path = f"/files/{file.filename}"
        sent = file.content if content is None else content
        self._web.routes[path] = Reply(sent) if isinstance(sent, bytes) else sent
        digest, beside = file.sha256.removeprefix("sha256:"), ""
        if file.filename.endswith(".whl"):
            metadata = _metadata(file)
            self._web.routes[f"{path}.metadata"] = Reply(metadata)
            beside = f' data-core-metadata="sha256={hashlib.sha256(metadata).hexdigest()}"'
        beside += f' data-upload-time="{uploaded}"' if uploaded else ""
        beside += "" if yanked is None else f' data-yanked="{escape(yanked)}"'
        self._lines[name].append(f'<a href="{path}#sha256={digest}"{beside}>{file.filename}</a>')
        listed = "<br>\n".join(self._lines[name])
        page = f"<!DOCTYPE html><html><head><title>{name}</title></head><body>{listed}</body></html>"
        self._web.routes[f"/simple/{name}/"] = Reply(page.encode(), content_type="text/html")
        return path


def _metadata(wheel: Built) -> bytes:
    """A wheel's METADATA, which indexes serve beside it (PEP 658)."""
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


@dataclass(frozen=True)
class Deb:
    """A Debian package with only control data."""

    name: str
    version: str
    depends: str = ""

    @property
    def built(self) -> Built:
        return built.deb(self.name, self.version, "amd64", self.name, self.version, self.depends)

    @property
    def pool(self) -> str:
        return f"pool/main/{self.name[0]}/{self.name}/{self.built.filename}"

    def stanza(self) -> str:
        fields = {
            "Package": self.name,
            "Architecture": "amd64",
            "Version": self.version,
            "Maintainer": "Nobody <nobody@example.org>",
            "Description": "for a test",
            "Depends": self.depends,
            "Filename": self.pool,
            "Size": str(len(self.built.content)),
            "SHA256": self.built.sha256.removeprefix("sha256:"),
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


def publish_suite(
    web: Web,
    signer: Signer,
    root: str,
    codename: str,
    debs: tuple[Deb, ...] = (),
    now: datetime | None = None,
    valid: timedelta = timedelta(days=7),
) -> None:
    """A suite as apt wants it, current from `now` for as long as it is `valid`."""
    plain = "\n".join(deb.stanza() for deb in debs).encode()
    packages = lzma.compress(plain)
    now = now or datetime.now(UTC)
    path = "main/binary-amd64/Packages.xz"
    release = (
        f"Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: {codename}\nArchitectures: amd64 all\n"
        f"Components: main\nDate: {format_datetime(now, usegmt=True)}\n"
        f"Valid-Until: {format_datetime(now + valid, usegmt=True)}\n"
        # apt looks for the uncompressed file's entry, although nobody serves that file.
        f"SHA256:\n {hashlib.sha256(plain).hexdigest()} {len(plain)} {path.removesuffix('.xz')}\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} {path}\n"
    )
    web.routes[f"{root}/dists/{codename}/{path}"] = Reply(packages)
    web.routes[f"{root}/dists/{codename}/InRelease"] = Reply(signer.clear(release.encode()))
    for deb in debs:
        web.routes[f"{root}/{deb.pool}"] = Reply(deb.built.content)
