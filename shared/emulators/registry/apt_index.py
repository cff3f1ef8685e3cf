"""The signed index of an apt repository: one suite, named after the repository, with the component `main`.

https://cloud.google.com/artifact-registry/docs/os-packages/debian/configure says
`deb …/projects/PROJECT REPOSITORY main`. The format is Debian's: https://wiki.debian.org/DebianRepository/Format.
Pool files are named as Artifact Registry's public repositories show it, NAME_VERSION_ARCHITECTURE_MD5.deb. There is no
by-hash: nothing says that Artifact Registry has it.

An index is made when somebody first reads after a change, whole and in memory, so a hundred uploads sign once and no
reader ever sees half of one.
"""

import gzip
import hashlib
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from shared.emulators.registry.debs import Control
from shared.emulators.registry.openpgp import SigningKey
from shared.emulators.registry.store import Store, StoredFile

# An architecture is announced even before the first package has come, so that an empty repository is a valid one.
_ALWAYS = "amd64"
_OURS = ("filename:", "size:", "md5sum:", "sha1:", "sha256:", "sha512:")


@dataclass(frozen=True)
class AptIndex:
    """The files below `dists/REPOSITORY/`, and the store's generation that they show."""

    generation: int
    files: Mapping[str, bytes]


class AptIndexes:
    """The current index of each repository."""

    def __init__(self, store: Store, key: SigningKey) -> None:
        self._store = store
        self._key = key
        self._current: dict[str, AptIndex] = {}
        self._lock = threading.Lock()

    def current(self, repository: str) -> AptIndex:
        """The index of what the repository holds now."""
        index = self._current.get(repository)
        if index is not None and index.generation == self._store.generation(repository):
            return index
        with self._lock:  # the first reader makes it, the others wait for that one
            index = self._current.get(repository)
            if index is None or index.generation != self._store.generation(repository):
                generation, files = self._store.snapshot(repository)
                index = AptIndex(generation, build(repository, files, self._key, int(time.time())))
                self._current[repository] = index
        return index


def pool_name(control: Control, md5: str) -> str:
    """A pool file's name. Debian leaves the epoch out of file names, a colon being special in too many places."""
    version = control.version.rpartition(":")[2]
    return f"{control.package}_{version}_{control.architecture}_{md5}.deb"


def build(repository: str, files: Iterable[StoredFile], key: SigningKey, now: int) -> dict[str, bytes]:
    """All index files of `repository`, by their path below `dists/REPOSITORY/`, signed at `now` (Unix time)."""
    stanzas: dict[str, list[str]] = {_ALWAYS: []}
    everywhere: list[str] = []
    for file in files:
        architecture = str(file.meta["architecture"])
        target = everywhere if architecture == "all" else stanzas.setdefault(architecture, [])
        target.append(_stanza(repository, file))
    indexes: dict[str, bytes] = {}
    for architecture in sorted(stanzas):
        packages = "".join(stanzas[architecture] + everywhere).encode()
        folder = f"main/binary-{architecture}"
        indexes[f"{folder}/Packages"] = packages
        indexes[f"{folder}/Packages.gz"] = gzip.compress(packages, 6, mtime=0)
    release = _release(repository, sorted(stanzas), indexes, now)
    return {
        **indexes,
        "Release": release.encode(),
        "Release.gpg": key.detached(release.encode(), now),
        "InRelease": key.clear_signed(release, now),
    }


def _stanza(repository: str, file: StoredFile) -> str:
    lines: list[str] = []
    dropping = False
    for line in str(file.meta["control"]).split("\n"):
        # What the index says of the file is ours alone, whatever the package claims of itself.
        dropping = line.lower().startswith(_OURS) or (dropping and line.startswith((" ", "\t")))
        if not dropping:
            lines.append(line)
    name = file.key.removeprefix("pool/")
    lines += [
        f"Filename: pool/{repository}/{name}",
        f"Size: {file.size}",
        f"MD5sum: {file.md5}",
        f"SHA256: {file.sha256}",
    ]
    return "\n".join(lines) + "\n\n"


def _release(repository: str, architectures: list[str], indexes: Mapping[str, bytes], now: int) -> str:
    lines = [
        f"Origin: {repository}",
        f"Label: {repository}",
        f"Suite: {repository}",
        f"Codename: {repository}",
        f"Date: {formatdate(now, usegmt=True)}",
        f"Architectures: {' '.join(architectures)}",
        "Components: main",
        "SHA256:",
    ]
    for path, content in sorted(indexes.items()):
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {path}")
    return "\n".join(lines) + "\n"
