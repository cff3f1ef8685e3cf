"""From upstream into the sealed network: fetch, prove, upload one file at a time, and nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DmzError, Permanent
from shared import attested
from shared.model.lock import LockedGeneric, LockedPython
from shared.model.plan import Transfer
from shared.model.value import Digest, sha256
from shared.ports import Increment, Put, Registry, Store, Upstream
from shared.settings import Settings


@dataclass
class Carrier:
    """Carries single files from upstream into a repository, and counts for whoever watches."""

    store: Store
    registry: Registry
    upstream: Upstream
    settings: Settings
    clock: Callable[[], float]
    run_id: str
    _reported: float = 0.0
    _done: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def carry(self, transfer: Transfer, folder: Path) -> int:
        """Bytes fetched, proved and uploaded, and counted."""
        size = self.bring(transfer, folder)
        self._count(size)
        return size

    def bring(self, transfer: Transfer, folder: Path) -> int:
        """Bytes fetched, proved and uploaded."""
        path, size = self._proved(transfer, folder)
        if transfer.python:
            self.registry.upload_python(transfer.repository, transfer.python, path)
        elif transfer.archive:
            self.registry.upload_apt(transfer.repository, transfer.archive, path)
        else:
        # Before the upload: a worker that dies between the two must not leave a file whose publishers nobody knows.
        if publishers := self._publishers(transfer):
            self.store.put([*publishers])
            package, version, filename = generic_name(transfer.sha256)
            self.registry.upload_generic(transfer.repository, package, version, filename, path)
            self.store.put([proof(transfer)])
        path.unlink()
        return size

    def prove(self, transfer: Transfer, folder: Path) -> None:
        """Fetch and prove alone: see that it could be brought."""
        self._proved(transfer, folder)[0].unlink()

    def _proved(self, transfer: Transfer, folder: Path) -> tuple[Path, int]:
        """Where the bytes are, and how many."""
        path = folder / f"{transfer.sha256[7:]}-{transfer.repository}-{transfer.proof[:16]}"
        size = self._fetch(transfer, path)
        self._publishers(transfer)
        if transfer.python:
            self.upstream.proof.wheel(transfer.python, path)
        elif transfer.archive:
            self.upstream.proof.archive(transfer.archive, path)
        return path, size

    def _fetch(self, transfer: Transfer, path: Path) -> int:
        file = transfer.file
        if isinstance(file, LockedPython) and file.url.startswith("own:"):
            staging, name = self.settings.staging_repository, file.sha256[7:]
            self.registry.download_generic(staging, "wheels", name, file.filename, path)
    def _publishers(self, transfer: Transfer) -> list[Put]:
        """What is to be noted of them, if the index says that it has attestations; Permanent if they do not verify."""
        file = transfer.python
        if file is None or not file.provenance:
            return []
        served = self.upstream.index.provenance(file.filename, file.provenance)
        found = self.upstream.proof.publishers(file, served)
        return [*attested.noted(self.store, transfer, found, served)]

            check_hash(file, path.read_bytes())
            return path.stat().st_size
        downloads = self.upstream.downloads
        if isinstance(file, LockedPython):
            return downloads.fetch(file.url, file.sha256, path)
        return downloads.fetch(
            file.url, file.sha256, path, size=file.size, by_workload=isinstance(file, LockedGeneric)
        )

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += 1
            self._bytes += size
            if self.clock() - self._reported < 0.5:
                return
        self.tell()

    def tell(self) -> None:
        """Progress for people: at most twice a second and at the end, and never a reason to fail."""
        with self._lock:
            done, total, self._done, self._bytes = self._done, self._bytes, 0, 0
            self._reported = self.clock()
        if not done:
            return
        name = f"{self.run_id}-sync"
        counts = [Increment("progress", name, "done", done), Increment("progress", name, "bytes", total)]
        with contextlib.suppress(DmzError):
            self.store.put(counts)


def generic_name(digest: Digest) -> tuple[str, str, str]:
    """(package, version, file name) of a file that was fetched by URL; the guest looks for it there."""
    return "generic", digest.removeprefix("sha256:"), "file"


def proof(transfer: Transfer) -> Put:
    """What stays of a file that its URL really gave. Under a name made of both: written twice, it is the same."""
    return Put("proved", transfer.proof, {"url": transfer.file.url, "sha256": transfer.sha256})


def check_hash(file: LockedPython, content: bytes) -> None:
    """The user's own wheel, by the hash that her workload names."""
    if sha256(content) != file.sha256:
        raise Permanent(
            f"The staged wheel {file.filename} has {sha256(content)}, not {file.sha256} as the workload says."
        )
