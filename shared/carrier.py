"""From upstream into the sealed network: fetch, prove, upload one file at a time, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared import attested
from shared.diskspace import DiskSpace
from shared.errors import DmzError, Permanent
from shared.held_files import RECORDS, record_id
from shared.model.lock import LockedArchive, LockedGeneric, LockedPython
from shared.model.plan import Planned, Transfer
from shared.model.value import Digest, is_digest, sha256
from shared.ports.registry import Registry
from shared.ports.store import Increment, Put, Store
from shared.ports.upstream import Gone, Larger, Upstream
from shared.settings import Settings

_EARLIER = (0.0, 86_400.0)
"""Seconds before an archive came in for which a snapshot is asked: one may be taken just after it left the pool."""


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

    def carry_all(self, todo: Sequence[Planned], scratch: Path, at_once: int) -> list[int]:
        """Bytes of each; several at once, as long as they fit on a shard's disk together."""
        space = DiskSpace(int(self.settings.shard_bytes))
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="sync-") as folder,
            ThreadPoolExecutor(at_once, thread_name_prefix="transfer") as pool,
        ):
            futures = [pool.submit(self.carry, each, Path(folder), space) for each in todo]
            try:
                sizes = [future.result() for future in futures]
            except BaseException:
                # One refused file ends the shard: what has not begun need not be fetched.
                pool.shutdown(cancel_futures=True)
                raise
        self.tell()
        return sizes

    def carry(self, planned: Planned, folder: Path, space: DiskSpace) -> int:
        """Bytes fetched, proved and uploaded, and counted; no more of them in `folder` at once than `space` has."""
        size = self._fitted(planned, folder, space)
        self._count(size)
        return size

    def _fitted(self, planned: Planned, folder: Path, space: DiskSpace) -> int:
        """A size that nobody vouches for is room and no more: who needs more begins anew, and waits for it."""
        transfer, wanted = planned.transfer, planned.size.count
        if planned.size.promised:
            with space.room(wanted):
                return self.bring(transfer, folder, promised=wanted)
        while True:
            try:
                with space.room(wanted):
                    return self.bring(transfer, folder, room=wanted)
            except Larger as more:
                wanted = max(more.size, 2 * wanted)

    def bring(
        self, transfer: Transfer, folder: Path, promised: int | None = None, room: int | None = None
    ) -> int:
        """Bytes fetched, proved and uploaded."""
        path, size = self._proved(transfer, folder, promised, room)
        # Before the upload: a worker that dies between the two must not leave a file whose publishers nobody knows.
        if publishers := self._publishers(transfer):
            self.store.put([*publishers])
        if transfer.python:
            self.registry.upload_python(transfer.repository, transfer.python, path)
        elif transfer.archive:
            self.registry.upload_apt(transfer.repository, transfer.archive, path)
        else:
            package, version, filename = generic_name(transfer.sha256)
            self.registry.upload_generic(transfer.repository, package, version, filename, path)
            self.store.put([proof(transfer)])
        path.unlink()
        return size

    def prove(self, transfer: Transfer, folder: Path) -> None:
        """Fetch and prove alone: see that it could be brought."""
        self._proved(transfer, folder)[0].unlink()
        self._publishers(transfer)

    def _proved(
        self, transfer: Transfer, folder: Path, promised: int | None = None, room: int | None = None
    ) -> tuple[Path, int]:
        """Where the bytes are, and how many."""
        path = folder / f"{transfer.sha256[7:]}-{transfer.repository}-{transfer.proof[:16]}"
        size = self._fetch(transfer, path, promised, room)
        if transfer.python:
            self.upstream.proof.wheel(transfer.python, path)
        elif transfer.archive:
            self.upstream.proof.archive(transfer.archive, path)
        return path, size

    def _publishers(self, transfer: Transfer) -> list[Put]:
        """What is to be noted of them, if the index says that it has attestations; Permanent if they do not verify."""
        file = transfer.python
        if file is None or not file.provenance:
            return []
        served = self.upstream.index.provenance(file.filename, file.provenance)
        found = self.upstream.proof.publishers(file, served)
        return [*attested.noted(self.store, transfer, found, served)]

    def _fetch(self, transfer: Transfer, path: Path, promised: int | None, room: int | None) -> int:
        file = transfer.file
        if isinstance(file, LockedPython) and file.url.startswith("own:"):
            staging, name = self.settings.staging_repository, file.sha256[7:]
            limit = int(self.settings.file_bytes)  # whoever fills the staging repository is not believed
            self.registry.download_generic(staging, "wheels", name, file.filename, path, limit)
            check_hash(file, path)
            return path.stat().st_size
        downloads = self.upstream.downloads
        if isinstance(file, LockedPython):
            return downloads.fetch(file.url, file.sha256, path, size=promised, room=room)
        if isinstance(file, LockedGeneric):
            return downloads.fetch(file.url, file.sha256, path, size=file.size, by_workload=True)
        try:
            # A workload's own repository is an address that the workload names, like a file by URL.
            return downloads.fetch(
                file.url, file.sha256, path, size=file.size, by_workload=file.source is not None
            )
        except Gone as gone:
            return self._from_snapshot(transfer.repository, file, path, gone)

    def _from_snapshot(self, repository: str, file: LockedArchive, path: Path, gone: Gone) -> int:
        """What has left the pool, by the hash that a signed index gave for it; Permanent if nobody has it."""
        record = self.store.get(RECORDS, record_id(repository, file.sha256)) or {}
        came = int(record.get("came") or self.clock())
        for seconds in _EARLIER if file.source is None else ():
            url = self.upstream.snapshot(file.url, came - seconds)
            with contextlib.suppress(Gone):
                if url:
                    return self.upstream.downloads.fetch(url, file.sha256, path, size=file.size)
        raise Permanent(
            f"{file.name} {file.version} has left its repository ({gone}), and no snapshot has it: run the workload "
            "again, with what the repository has now."
        ) from gone

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


def remembered(record: Callable[[LockedPython], Digest], store: Store) -> Callable[[LockedPython], Digest]:
    """`record`, asked once for a content: what was proved of bytes in full stays true of them.

    Kept under the file's hash alone, and only of what was proved here: no VM and no index has a say in it.
    """

    def known(file: LockedPython) -> Digest:
        name = sha256(f"record {file.sha256}".encode())[7:]
        found = store.get("proved", name) or {}
        if found.get("sha256") == file.sha256 and is_digest(found.get("record")):
            return str(found["record"])
        proved = record(file)
        store.put([Put("proved", name, {"sha256": file.sha256, "record": proved})])
        return proved

    return known


def check_hash(file: LockedPython, path: Path) -> None:
    """The user's own wheel, by the hash that her workload names."""
    with path.open("rb") as content:
        found = "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.sha256:
        raise Permanent(
            f"The staged wheel {file.filename} has {found}, not {file.sha256} as the workload says."
        )
