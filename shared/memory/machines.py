"""VMs and repositories in memory: enough of a world for the stages' tests to see what they did to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from shared.errors import Permanent
from shared.model import accelerators
from shared.model.lock import LockedArchive, LockedPython
from shared.model.value import sha256
from shared.ports import Stored, Vm, VmSpec


class MemoryVms:
    """Twin of `shared.gcp.tpu.TpuVms`. `created` counts every VM that was ever made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._vms: dict[str, Vm] = {}
        self.specs: dict[str, VmSpec] = {}
        self.created: list[str] = []
        self.failures: dict[str, str] = {}

    def create(self, spec: VmSpec) -> str:
        with self._lock:
            if spec.name in self._vms:
                return ""
            workers = accelerators.hosts(spec.accelerator_type)
            self._vms[spec.name] = Vm(spec.name, "READY", dict(spec.labels), workers=workers)
            self.specs[spec.name] = spec
            self.created.append(spec.name)
            return f"operations/{spec.name}"

    def get(self, name: str) -> Vm | None:
        with self._lock:
            return self._vms.get(name)

    def failure(self, operation: str) -> str:
        return self.failures.get(operation, "")

    def all(self) -> Sequence[Vm]:
        with self._lock:
            return list(self._vms.values())

    def delete(self, name: str) -> None:
        with self._lock:
            self._vms.pop(name, None)


class MemoryRegistry:
    """Twin of `shared.gcp.registry.ArtifactRegistry`. `uploads` counts every upload, also of what was there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str], bytes] = {}
        self.uploads: list[str] = []

    def stored(self, repository: str) -> Sequence[Stored]:
        with self._lock:
            return [
                Stored(where, name, sha256(content), len(content))
                for (where, name), content in sorted(self._files.items())
                if where == repository
            ]

    def upload_python(self, repository: str, file: LockedPython, path: Path) -> None:
        self._upload(repository, file.filename, path)

    def upload_apt(self, repository: str, file: LockedArchive, path: Path) -> None:
        self._upload(repository, file.filename, path)

    def upload_generic(self, repository: str, package: str, version: str, filename: str, path: Path) -> None:
        self._upload(repository, f"{package}:{version}:{filename}", path)

    def download_generic(self, repository: str, package: str, version: str, filename: str, to: Path) -> None:
        with self._lock:
            content = self._files.get((repository, f"{package}:{version}:{filename}"))
        if content is None:
            raise Permanent(f"{repository} holds no {filename} of {package} {version}; upload it first.")
        to.write_bytes(content)

    def _upload(self, repository: str, name: str, path: Path) -> None:
        content = path.read_bytes()
        with self._lock:
            self.uploads.append(name)
            held = self._files.setdefault((repository, name), content)
        if held != content:
            raise Permanent(
                f"{repository} already holds {name} with other bytes; delete that version and run again."
            )
