"""A Debian archive, a Python index and a Maven repository on loopback."""

from __future__ import annotations

import calendar
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.image.inputs import Cache
from shared.image.lock import Sources
from shared.model.image import LockedInput
from shared.upstream.apt import AptIndexClient
from shared.upstream.mirrors import Mirrors
from shared.upstream.pypi import PythonIndexClient
from shared.upstream.resolver import UvResolver
from tests.image.inputs import debs
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer, signer, web
from tests.upstream.package_index import PackageIndex
from tests.upstream.support import Reply, Web

__all__ = ["signer", "web"]
NOW = float(calendar.timegm((2026, 11, 21, 20, 0, 0)))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)


@dataclass
class World:
    """Everything that a lock is resolved from; `publish` signs what was added."""

    web: Web
    signer: Signer
    folder: Path
    stanzas: dict[str, list[str]] = field(default_factory=lambda: {"bookworm": [], "security": []})

    def package(
        self, name: str, version: str = "1.0-1", *entries: debs.Entry, suite: str = "bookworm", **fields: str
    ) -> bytes:
        data = debs.deb(name, entries, fields=fields)
        place = "debian" if suite == "bookworm" else "debian-security"
        filename = f"pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb"
        self.web.routes[f"/{place}/{filename}"] = Reply(data)
        text = stanza(
            name,
            version,
            Filename=filename,
            Size=str(len(data)),
            SHA256=hashlib.sha256(data).hexdigest(),
            **fields,
        )
        self.stanzas[suite].append(text)
        return data

    def publish(self) -> None:
        for codename, path, stanzas in (
            ("bookworm", "/debian", self.stanzas["bookworm"]),
            ("bookworm-updates", "/debian", ()),
            ("bookworm-security", "/debian-security", self.stanzas["security"]),
        ):
            Suite(self.signer, codename, path, tuple(stanzas)).publish(self.web)

    def sources(self, cache: str = "cache") -> Sources:
        self.publish()
        keyrings = self.folder / "keyrings"
        keyrings.mkdir(exist_ok=True)
        shutil.copy(self.signer.keyring, keyrings / "debian-12.gpg")
        mirrors = Mirrors(f"{self.web.url}/debian", f"{self.web.url}/debian-security")
        index = f"{self.web.url}/simple/"
        return Sources(
            Cache(self.folder / cache, snapshot=f"{self.web.url}/snapshot"),
            AptIndexClient(mirrors, keyrings, clock=lambda: NOW),
            PythonIndexClient(index),
            UvResolver(self.folder / "uv", index),
        )


@pytest.fixture
def world(web: Web, signer: Signer, tmp_path: Path) -> World:
    return World(web, signer, tmp_path)


@pytest.fixture
def index(web: Web) -> PackageIndex:
    return PackageIndex(web)


def of(inputs: Iterable[LockedInput], role: str) -> dict[str, LockedInput]:
    return {each.name: each for each in inputs if each.role == role}
