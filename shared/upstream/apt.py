"""Apt repositories, the distributions' own and others: from a pinned key to the stanza of every package.

The chain, each link checked before the next is read:
1. InRelease (or Release with Release.gpg) is signed by a pinned key; only the signed text is used (`openpgp`).
2. It is the Release of the suite that was asked for, and it is current (`release_file`).
   It is not older than one that was seen before (`release_dates`).
3. The Packages file has the size and the sha256 that the Release states.
4. A stanza states the archive's sha256 (`packages_file`); whoever downloads the archive compares it.

Of a repository that is not the distribution's also:
5. Each has its own key, which the workload gives: no other repository's key counts for it, nor its key for another.
6. Only the packages that the workload names are taken from it, and none that the distribution has itself.
7. It is on the public internet, as a workload names it (`public`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import httpx

from shared.errors import Permanent, Transient
from shared.model import apt_source
from shared.model.apt_source import AptPin, AptSource
from shared.model.package import CODENAMES, Release
from shared.model.value import printable
from shared.upstream import http, openpgp, release_file
from shared.upstream.mirrors import Mirrors
from shared.upstream.packages_file import Archives, PackagesFile
from shared.upstream.release_dates import ReleaseDates
from shared.upstream.snapshot import Snapshots

KEYRINGS = Path(__file__).parent.parent / "data" / "keyrings"
_MAX_RELEASE = 8 * 1024**2
_MAX_PACKAGES = 512 * 1024**2


@dataclass(frozen=True)
class Source:
    """One suite of one archive."""

    url: str
    suite: str
    components: tuple[str, ...]
    """None: a flat repository, with Release and Packages in one folder, whose path `suite` is."""
    origin: str = ""
    """What the Release must call itself; empty: the key alone says whose it is."""
    field: str = ""
    """The Release field that names the suite: Debian serves suites by code name, Ubuntu by suite. Empty: either."""
    keyring: str = ""
    """File name of a pinned keyring; empty: `key`."""
    key: bytes = b""
    pin: AptPin | None = None
    """Whose it is, if not the distribution's."""
    only: frozenset[str] | None = None
    """Packages that are taken from it; None: all."""


class AptIndexClient:
    """`AptIndex` over the distributions' own archives; every release is read once per instance."""

    def __init__(
        self,
        mirrors: Mirrors | None = None,
        keyrings: Path = KEYRINGS,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.time,
        more: Sequence[AptSource] = (),
        public: httpx.Client | None = None,
        snapshots: Snapshots | None = None,
        dates: ReleaseDates | None = None,
    ) -> None:
        """`keyrings`: directory with the pinned keys; `clock` gives seconds since the epoch.

        `more`: the workload's own repositories, which are asked by `public`. `dates`: how far each repository has come;
        without, nobody remembers.
        """
        self._mirrors = mirrors or Mirrors()
        self._more = [third_party(each) for each in more]
        self._public = public or client
        self._snapshots = snapshots or Snapshots()
        self._dates = dates
        self._earlier: dict[float, AptIndexClient] = {}
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
                wanted = [*sources(release, self._mirrors), *self._more]
                with ThreadPoolExecutor(len(wanted), thread_name_prefix="apt") as pool:
                    files = [*pool.map(lambda source: self._suite(source, release.architecture), wanted)]
                read = Archives([file for suite in files for file in suite])
                for source in self._more:
                    _check_names(source, read)  # 6
                self._read[release] = read
            return self._read[release]

    def as_of(self, release: Release, moment: float) -> Archives:
        """The same of the distribution's suites as its snapshot service has them; `moment` in whole seconds.

        Date and Valid-Until are held to that moment (`snapshot`), and to nothing that was seen later: an old state is
        what is asked for. Permanent and Transient as of `archives`.
        """
        with self._lock:
            if moment not in self._earlier:
                then = self._snapshots.mirrors(moment)
                self._earlier[moment] = AptIndexClient(then, self._keyrings, self._client, lambda: moment)
            earlier = self._earlier[moment]
        return earlier.archives(release)

    def known(self) -> tuple[Archives, ...]:
        """What `archives` and `as_of` have read so far."""
        with self._lock:
            earlier = [found for each in self._earlier.values() for found in each.known()]
            return (*self._read.values(), *earlier)

    def _suite(self, source: Source, architecture: str) -> list[PackagesFile]:
        base = f"{source.url.rstrip('/')}/"
        root = (
            f"{base}dists/{source.suite}/"
            if source.components
            else f"{base}{source.suite.removeprefix('./')}"
        )
        text, what = self._vouched(root, source)
        now = datetime.fromtimestamp(self._clock(), UTC)
        named = source.suite if source.components else ""
        release = release_file.read(text, source.origin, source.field, named, now, what)  # 2
        if self._dates:
            whose = source.keyring or (source.pin.key if source.pin else "")
            self._dates.check(root, whose, release.date, what)  # 2
        files = []
        for component in source.components or ("",):
            listed = release_file.packages(release, component, architecture, what)
            content = self._listed(self._way(source), root, listed, release.by_hash)
            files.append(PackagesFile(source.suite, base, content, source.pin, source.only))
        return files

    def _way(self, source: Source) -> httpx.Client:
        return self._public or self._client if source.pin else self._client  # 7

    def _vouched(self, root: str, source: Source) -> tuple[bytes, str]:
        """The signed text of the suite's Release by the source's own keyring, and its address."""
        if source.keyring:
            return self._signed(self._client, root, self._keyrings / source.keyring)
        with tempfile.TemporaryDirectory(prefix="keyring-") as folder:
            keyring = Path(folder, "key.gpg")
            keyring.write_bytes(source.key)  # 5
            return self._signed(self._way(source), root, keyring)

    def _signed(self, client: httpx.Client, root: str, keyring: Path) -> tuple[bytes, str]:
        """The signed text of the suite's Release, and its address (check 1)."""
        inline = http.get(client, f"{root}InRelease", _MAX_RELEASE)
        if inline:
            return openpgp.verify_clear(inline.body, keyring, f"{root}InRelease"), f"{root}InRelease"
        plain = http.get(client, f"{root}Release", _MAX_RELEASE)
        signature = http.get(client, f"{root}Release.gpg", _MAX_RELEASE)
        if plain is None or signature is None:
            raise Permanent(
                f"{root} has no signed Release; check the mirror's address and the release's code name."
            )
        return openpgp.verify_detached(
            plain.body, signature.body, keyring, f"{root}Release"
        ), f"{root}Release"

    def _listed(self, client: httpx.Client, root: str, listed: release_file.Listed, by_hash: bool) -> bytes:
        """The content of a listed index file, decompressed (check 3)."""
        directory, slash, _ = listed.path.rpartition("/")
        path = f"{directory}{slash}by-hash/SHA256/{listed.sha256}" if by_hash else listed.path
        if listed.size > _MAX_PACKAGES:
            raise Permanent(
                f"{root}{listed.path} is said to have {listed.size} bytes, which is refused as too large."
            )
        answer = http.get(client, root + path, listed.size)
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


def third_party(source: AptSource) -> Source:
    """A workload's own repository: its key vouches for nothing else, and for the packages that are named."""
    return Source(
        source.url,
        source.suite,
        source.components,
        key=apt_source.packets(source.key),
        pin=source.pin,
        only=frozenset(source.packages),
    )


def _check_names(source: Source, read: Archives) -> None:
    """Permanent if the distribution has a package of that name, whose advisories would be taken for its own."""
    for name in sorted(source.only or ()):
        if any(archive.source is None for archive in read.named(name)):
            raise Permanent(
                f"The distribution has {printable(name, 100)} itself, so it is not taken from {source.url} "
                f"{source.suite}: remove it from that source's packages."
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
