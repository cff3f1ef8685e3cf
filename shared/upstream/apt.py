"""The archives of Debian and Ubuntu: from a pinned key to the stanza of every package.

The chain, each link checked before the next is read:
1. InRelease (or Release with Release.gpg) is signed by a pinned key; only the signed text is used (`openpgp`).
2. It is the Release of the suite that was asked for, and it is current (`release_file`).
3. The Packages file has the size and the sha256 that the Release states.
4. A stanza states the archive's sha256 (`packages_file`); whoever downloads the archive compares it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import httpx

from shared.errors import Permanent, Transient
from shared.model.package import CODENAMES, Release
from shared.upstream import http, openpgp, release_file
from shared.upstream.packages_file import Archives, PackagesFile

KEYRINGS = Path(__file__).parent.parent / "data" / "keyrings"
_MAX_RELEASE = 8 * 1024**2
_MAX_PACKAGES = 512 * 1024**2


@dataclass(frozen=True)
class Mirrors:
    """Base URLs of the archives."""

    debian: str = "https://deb.debian.org/debian"
    debian_security: str = "https://deb.debian.org/debian-security"
    ubuntu: str = "http://archive.ubuntu.com/ubuntu"
    """Ubuntu's archive has no TLS of its own; the signature vouches for it, as for apt itself."""
    ubuntu_security: str = "http://security.ubuntu.com/ubuntu"


@dataclass(frozen=True)
class Source:
    """One suite of one archive."""

    url: str
    suite: str
    components: tuple[str, ...]
    origin: str
    field: str
    """The Release field that names the suite: Debian serves suites by code name, Ubuntu by suite."""
    keyring: str


class AptIndexClient:
    """`AptIndex` over the distributions' own archives; every release is read once per instance."""

    def __init__(
        self,
        mirrors: Mirrors | None = None,
        keyrings: Path = KEYRINGS,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keyrings`: directory with the pinned keys; `clock` gives seconds since the epoch."""
        self._mirrors = mirrors or Mirrors()
        self._keyrings = keyrings
        self._client = client or http.client()
        self._clock = clock
        self._read: dict[Release, Archives] = {}
        self._lock = Lock()

    def archives(self, release: Release) -> Archives:
        """(name, architecture) to its versions over the release's suites, newest first; signatures verified.

        Permanent if a check fails or the release is not supported; Transient if the archive cannot be reached.
        """
        with self._lock:
            if release not in self._read:
                wanted = sources(release, self._mirrors)
                with ThreadPoolExecutor(len(wanted), thread_name_prefix="apt") as pool:
                    files = [*pool.map(lambda source: self._suite(source, release.architecture), wanted)]
                self._read[release] = Archives([file for suite in files for file in suite])
            return self._read[release]

    def known(self) -> tuple[Archives, ...]:
        """What `archives` has read so far."""
        with self._lock:
            return tuple(self._read.values())

    def _suite(self, source: Source, architecture: str) -> list[PackagesFile]:
        base = f"{source.url.rstrip('/')}/"
        root = f"{base}dists/{source.suite}/"
        text, what = self._signed(root, self._keyrings / source.keyring)
        now = datetime.fromtimestamp(self._clock(), UTC)
        release = release_file.read(text, source.origin, source.field, source.suite, now, what)  # 2
        files = []
        for component in source.components:
            listed = release_file.packages(release, component, architecture, what)
            content = self._listed(root, listed, release.by_hash)
            files.append(PackagesFile(source.suite, base, content))
        return files

    def _signed(self, root: str, keyring: Path) -> tuple[bytes, str]:
        """The signed text of the suite's Release, and its address (check 1)."""
        inline = http.get(self._client, f"{root}InRelease", _MAX_RELEASE)
        if inline:
            return openpgp.verify_clear(inline.body, keyring, f"{root}InRelease"), f"{root}InRelease"
        plain = http.get(self._client, f"{root}Release", _MAX_RELEASE)
        signature = http.get(self._client, f"{root}Release.gpg", _MAX_RELEASE)
        if plain is None or signature is None:
            raise Permanent(
                f"{root} has no signed Release; check the mirror's address and the release's code name."
            )
        return openpgp.verify_detached(
            plain.body, signature.body, keyring, f"{root}Release"
        ), f"{root}Release"

    def _listed(self, root: str, listed: release_file.Listed, by_hash: bool) -> bytes:
        """The content of a listed index file, decompressed (check 3)."""
        directory, _, _ = listed.path.rpartition("/")
        path = f"{directory}/by-hash/SHA256/{listed.sha256}" if by_hash else listed.path
        if listed.size > _MAX_PACKAGES:
            raise Permanent(
                f"{root}{listed.path} is said to have {listed.size} bytes, which is refused as too large."
            )
        answer = http.get(self._client, root + path, listed.size)
        if answer is None:
            # Between two reads a mirror may have moved on to the next state.
            raise Transient(
                f"{root}{path} is not there although the Release lists it; the mirror is being updated."
            )
        if len(answer.body) != listed.size or hashlib.sha256(answer.body).hexdigest() != listed.sha256:
            raise Permanent(f"{root}{path} does not have the size and sha256 that the signed Release states.")
        return _inflated(answer.body, listed.path, root)


def sources(release: Release, mirrors: Mirrors) -> tuple[Source, ...]:
    """The suites that a machine of this release installs from. Permanent if the release is not supported."""
    code = CODENAMES.get(release.version_id)
    if code != release.codename or (release.id == "debian") != ("." not in release.version_id):
        raise Permanent(
            f"{release.id} {release.version_id} ({release.codename}) is not supported: the keys of Debian 12 and 13 "
            "and of Ubuntu 22.04 and 24.04 are pinned."
        )
    if release.id == "debian":
        keyring, main = f"debian-{release.version_id}.gpg", ("main",)
        debian, security = mirrors.debian, mirrors.debian_security
        return (
            Source(debian, code, main, "Debian", "Codename", keyring),
            Source(debian, f"{code}-updates", main, "Debian", "Codename", keyring),
            Source(security, f"{code}-security", main, "Debian", "Codename", keyring),
        )
    both = ("main", "universe")
    return (
        Source(mirrors.ubuntu, code, both, "Ubuntu", "Suite", "ubuntu.gpg"),
        Source(mirrors.ubuntu, f"{code}-updates", both, "Ubuntu", "Suite", "ubuntu.gpg"),
        Source(mirrors.ubuntu_security, f"{code}-security", both, "Ubuntu", "Suite", "ubuntu.gpg"),
    )


def _inflated(body: bytes, path: str, root: str) -> bytes:
    """Decompressed by the file name's suffix, to at most the limit."""
    try:
        if path.endswith(".xz"):
            with lzma.LZMAFile(io.BytesIO(body), format=lzma.FORMAT_XZ) as stream:
                content = stream.read(_MAX_PACKAGES + 1)
        elif path.endswith(".gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as zipped:
                content = zipped.read(_MAX_PACKAGES + 1)
        else:
            content = body
    except (lzma.LZMAError, OSError, EOFError) as error:
        raise Permanent(f"{root}{path} cannot be decompressed: {error}.") from error
    if len(content) > _MAX_PACKAGES:
        raise Permanent(f"{root}{path} inflates to more than {_MAX_PACKAGES} bytes, which is refused.")
    return content
