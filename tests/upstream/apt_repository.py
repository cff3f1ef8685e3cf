"""A small signed apt repository on loopback, sound unless a test spoils it."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.upstream.conftest import Signer
from tests.upstream.support import Reply, Web


def stanza(name: str, version: str, **fields: str) -> str:
    merged = {
        "Package": name,
        "Architecture": "amd64",
        "Version": version,
        "Filename": f"pool/main/{name[0]}/{name}/{name}_{version.split(':')[-1]}_amd64.deb",
        "Size": "100",
        "SHA256": hashlib.sha256(f"{name}{version}".encode()).hexdigest(),
        **{key.replace("_", "-"): value for key, value in fields.items()},
    }
    return "".join(f"{key}: {value}\n" for key, value in merged.items() if value)


@dataclass
class Suite:
    """One suite; `publish` writes it to the server."""

    signer: Signer
    codename: str = "trixie"
    path: str = "/debian"
    stanzas: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    """Release fields that differ from a sound one; an empty value leaves the field out."""
    component: str = "main"
    suffix: str = ".xz"
    by_hash: bool = True
    inline: bool = True
    flat: str | None = None
    """Folder below `path` with Release and Packages in it, with a slash at its end; None: below dists/."""
    listed_as: str = ""
    """How a flat repository's Release begins the paths that it lists."""

    def packages(self) -> bytes:
        text = "\n".join(self.stanzas).encode()
        return {".xz": lzma.compress, ".gz": gzip.compress, "": bytes}[self.suffix](text)

    def release(self) -> bytes:
        content = self.packages()
        merged = {
            "Origin": "Debian",
            "Suite": "stable",
            "Codename": self.codename,
            "Date": "Fri, 20 Nov 2026 00:12:42 UTC",
            "Valid-Until": "Fri, 27 Nov 2026 00:12:42 UTC",
            "Acquire-By-Hash": "yes" if self.by_hash else "",
            **self.fields,
        }
        listed = f" {hashlib.sha256(content).hexdigest()} {len(content)} "
        listed += f"{self.listed_as if self.flat is not None else self.folder}Packages{self.suffix}"
        head = "".join(f"{key}: {value}\n" for key, value in merged.items() if value)
        return f"{head}MD5Sum:\n {'0' * 32} 1 {self.component}/binary-amd64/Packages.xz\nSHA256:\n{listed}\n".encode()

    @property
    def root(self) -> str:
        return f"{self.path}/dists/{self.codename}" if self.flat is None else f"{self.path}/{self.flat}"[:-1]

    @property
    def folder(self) -> str:
        return f"{self.component}/binary-amd64/" if self.flat is None else ""

    def publish(self, web: Web) -> None:
        content = self.packages()
        folder = f"{self.root}/{self.folder}"
        place = (
            f"{folder}by-hash/SHA256/{hashlib.sha256(content).hexdigest()}"
            if self.by_hash
            else f"{folder}Packages{self.suffix}"
        )
        web.routes[place] = Reply(content)
        if self.inline:
            web.routes[f"{self.root}/InRelease"] = Reply(self.signer.clear(self.release()))
        else:
            web.routes[f"{self.root}/Release"] = Reply(self.release())
            web.routes[f"{self.root}/Release.gpg"] = Reply(self.signer.detached(self.release()))
