"""The private repositories: what they hold, uploads, deletions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.errors import Permanent, Transient
from shared.model.lock import LockedArchive, LockedPython
from shared.model.value import Digest, printable


@dataclass(frozen=True)
class Stored:
    """One file in a private repository."""

    repository: str
    name: str
    """Python and apt: the file's name; generic: `package:version:filename`."""
    sha256: Digest
    size: int
    owner: str = ""
    """Resource name of the version that it belongs to: what is deleted as one."""


class Unlisted(Transient):
    """What was uploaded is not in the listing, which lags; or it was lost."""


class NotPermitted(Permanent):
    """The stage's account lacks the right: whoever deploys has decided so."""


def too_large(repository: str, filename: str, limit: int) -> Permanent:
    """What to raise of a file with more bytes than `limit`."""
    return Permanent(
        f"{printable(filename, 120)} in {repository} has more than {limit} bytes, which is refused as too large; if "
        "it is to come in, set DMZ_FILE_BYTES."
    )


class Registry(Protocol):
    """The private repositories of Artifact Registry."""

    def stored(self, repository: str) -> Sequence[Stored]:
        """All files."""
        ...

    def find(self, repository: str, versions: Collection[tuple[str, str]]) -> Sequence[Stored]:
        """The files of these versions, each a package's name and version; asks for nothing else."""
        ...

    def delete_version(self, owner: str) -> None:
        """Deletes every file of a version (`Stored.owner`) and waits; what is not there is gone. NotPermitted."""
        ...

    def upload_python(self, repository: str, file: LockedPython, path: Path) -> None: ...
    def upload_apt(self, repository: str, file: LockedArchive, path: Path) -> None: ...
    def upload_generic(self, repository: str, package: str, version: str, filename: str, path: Path) -> None:
        """An upload of what is already there with the same bytes succeeds; with other bytes it is Permanent."""
        ...

    def download_generic(
        self, repository: str, package: str, version: str, filename: str, to: Path, limit: int
    ) -> None:
        """`limit`: bytes; what has more is Permanent, and no byte more of it is written."""
        ...
