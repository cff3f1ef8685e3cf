"""VMs and repositories in memory: enough of a world for the stages' tests to see what they did to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from shared.errors import Permanent, Transient
from shared.model import accelerators
from shared.model.lock import LockedArchive, LockedPython
from shared.model.value import sha256
from shared.ports.machines import NoCapacity, Progress, Unreachable, Vm, VmSpec
from shared.ports.registry import NotPermitted, Stored, too_large
from shared.settings import Settings

HOME = Settings(project="").zone


class MemoryVms:
    """Twin of `shared.gcp.tpu.TpuVms`. `created` counts every VM that was ever made, `asked` every call for one.

    `full` are zones that refuse at the call, `short` those whose creations fail later, `crowded` those where a request
    with a queue waits until `grant`; `dark` are zones that do not answer.
    """

    def __init__(self, booted: Callable[[VmSpec], None] = lambda _: None) -> None:
        self._lock = threading.Lock()
        self._booted = booted
        self._vms: dict[tuple[str, str], Vm] = {}
        self._waiting: dict[tuple[str, str], VmSpec] = {}
        self.specs: dict[str, VmSpec] = {}
        self.created: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.requests: dict[str, Progress] = {}
        self.full: set[str] = set()
        self.short: set[str] = set()
        self.crowded: set[str] = set()
        self.dark: set[str] = set()

    def hosts(self, accelerator_type: str) -> int:
        return accelerators.hosts(accelerator_type)

    def create(self, spec: VmSpec) -> str:
        place = (spec.zone, spec.name)
        request = f"operations/{spec.zone}/{spec.name}"
        with self._lock:
            self.asked.append(place)
            self._answers(spec.zone)
            if place in self._vms or place in self._waiting:
                return ""
            if spec.zone in self.full:
                raise NoCapacity(_no_capacity(spec.zone))
            self.requests[request] = Progress("made")
            if spec.zone in self.short:
                self.requests[request] = Progress("failed", _no_capacity(spec.zone), elsewhere=True)
                return request
            if spec.queue_minutes and spec.zone in self.crowded:
                self.requests[request] = Progress("waiting")
                self._waiting[place] = spec
                return request
            self._make(spec)
        self._booted(spec)
        return request

    def grant(self, name: str, zone: str = HOME) -> None:
        """The request's turn has come."""
        with self._lock:
            spec = self._waiting.pop((zone, name))
            self.requests[f"operations/{zone}/{name}"] = Progress("made")
            self._make(spec)
        self._booted(spec)

    def expire(self, name: str, zone: str = HOME) -> None:
        """The request has waited for as long as it may."""
        self.requests[f"operations/{zone}/{name}"] = Progress(
            "failed", "The request expired.", elsewhere=True
        )

    def progress(self, request: str) -> Progress:
        return self.requests.get(request, Progress("unknown"))

    def get(self, name: str, zone: str = HOME) -> Vm | None:
        with self._lock:
            self._answers(zone)
            return self._vms.get((zone, name))

    def all(self) -> Sequence[Vm]:
        with self._lock:
            waiting = [
                Vm(spec.name, "WAITING_FOR_RESOURCES", dict(spec.labels), spec.zone)
                for spec in self._waiting.values()
            ]
            found = [vm for vm in (*self._vms.values(), *waiting) if vm.zone not in self.dark]
            if self.dark:
                raise Unreachable(f"{', '.join(sorted(self.dark))} did not answer.", found)
            return found

    def delete(self, name: str, zone: str = HOME) -> None:
        with self._lock:
            self._answers(zone)
            self._vms.pop((zone, name), None)
            self._waiting.pop((zone, name), None)

    def become(self, name: str, state: str, zone: str = HOME) -> None:
        """The service says so of a VM."""
        with self._lock:
            self._vms[zone, name] = replace(self._vms[zone, name], state=state)

    def have(self, name: str, workers: int, zone: str = HOME) -> None:
        """The API names so many endpoints."""
        with self._lock:
            self._vms[zone, name] = replace(self._vms[zone, name], workers=workers)

    def add(self, vm: Vm) -> None:
        """A VM that nobody here asked for."""
        with self._lock:
            self._vms[vm.zone or HOME, vm.name] = replace(vm, zone=vm.zone or HOME)

    def _make(self, spec: VmSpec) -> None:
        try:
            workers = self.hosts(spec.accelerator_type)
        except Permanent:  # the service may well have a type that our table lacks
            workers = 1
        made = Vm(spec.name, "READY", dict(spec.labels), spec.zone, workers)
        self._vms[spec.zone, spec.name] = made
        self.specs[spec.name] = spec
        self.created.append(spec.name)

    def _answers(self, zone: str) -> None:
        if zone in self.dark:
            raise Transient(f"{zone} does not answer.")


def _no_capacity(zone: str) -> str:
    return f'There is no more capacity in the zone "{zone}".'


class MemoryRegistry:
    """Twin of `shared.gcp.registry.ArtifactRegistry`. `uploads` counts every upload, also of what was there.

    `deleted` are the versions that were deleted; with `sealed` nobody may.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str], bytes] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self.uploads: list[str] = []
        self.deleted: list[str] = []
        self.sealed = False

    def stored(self, repository: str) -> Sequence[Stored]:
        with self._lock:
            return [
                Stored(where, name, sha256(content), len(content), self._owners.get((where, name), ""))
                for (where, name), content in sorted(self._files.items())
                if where == repository
            ]

    def find(self, repository: str, versions: Collection[tuple[str, str]]) -> Sequence[Stored]:
        wanted = {_owner(repository, package, version) for package, version in versions}
        return [each for each in self.stored(repository) if each.owner in wanted]

    def delete_version(self, owner: str) -> None:
        with self._lock:
            if self.sealed:
                raise NotPermitted(f"Deleting {owner} is not permitted to this stage.")
            self.deleted.append(owner)
            for place in [place for place, each in self._owners.items() if each == owner]:
                del self._files[place], self._owners[place]

    def upload_python(self, repository: str, file: LockedPython, path: Path) -> None:
        self._upload(repository, file.filename, path, file.name, file.version)

    def upload_apt(self, repository: str, file: LockedArchive, path: Path) -> None:
        self._upload(repository, file.filename, path, file.name, file.version)

    def upload_generic(self, repository: str, package: str, version: str, filename: str, path: Path) -> None:
        self._upload(repository, f"{package}:{version}:{filename}", path, package, version)

    def download_generic(
        self, repository: str, package: str, version: str, filename: str, to: Path, limit: int
    ) -> None:
        with self._lock:
            content = self._files.get((repository, f"{package}:{version}:{filename}"))
        if content is None:
            raise Permanent(f"{repository} holds no {filename} of {package} {version}; upload it first.")
        if len(content) > limit:
            raise too_large(repository, filename, limit)
        to.write_bytes(content)

    def _upload(self, repository: str, name: str, path: Path, package: str = "", version: str = "") -> None:
        content = path.read_bytes()
        with self._lock:
            self.uploads.append(name)
            self._owners.setdefault((repository, name), _owner(repository, package, version))
            held = self._files.setdefault((repository, name), content)
        if held != content:
            raise Permanent(
                f"{repository} already holds {name} with other bytes; delete that version and run again."
            )


def _owner(repository: str, package: str, version: str) -> str:
    return f"repositories/{repository}/packages/{package}/versions/{version}"
