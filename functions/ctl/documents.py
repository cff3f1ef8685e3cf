"""What the command line reads and writes on a platform that is up."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from functions.local import memory
from functions.local.platform import Platform
from functions.local.project import bypass
from shared.model.value import Digest
from shared.ports.machines import Vms
from shared.ports.registry import Registry
from shared.ports.store import Blobs, Document, Write
from shared.settings import Settings, read


class Documents(Protocol):
    """The part of the store that an operator needs."""

    def get(self, collection: str, id: str) -> Document | None: ...
    def find(self, collection: str, field: str, equals: object) -> Sequence[tuple[str, Document]]: ...
    def put(self, writes: Sequence[Write]) -> None: ...


class Contents(Protocol):
    """The part of `Blobs` that an operator needs."""

    def get(self, digest: Digest) -> bytes: ...


@dataclass(frozen=True)
class Connection:
    """Clients of one platform."""

    documents: Documents
    blobs: Contents
    registry: Registry
    vms: Vms
    settings: Settings


def preload() -> None:
    """Import what `connect` will need."""
    for module in ("firestore", "registry", "tpu"):
        importlib.import_module(f"shared.gcp.{module}")


def connect(platform: Platform) -> Connection:
    """Clients with the operator's credentials. They read the environment, so it becomes the platform's."""
    os.environ.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    os.environ.update(platform.environment | bypass(os.environ))
    # Google's libraries take a second to import: only commands that talk to a platform pay for it.
    from shared.gcp.registry import ArtifactRegistry
    from shared.gcp.tpu import TpuVms

    settings = read(platform.environment)
    documents, blobs = _store(platform)
    return Connection(documents, blobs, ArtifactRegistry(settings), TpuVms(settings), settings)


def _store(platform: Platform) -> tuple[Documents, Contents]:
    if address := platform.environment.get(memory.ADDRESS):
        return memory.TwinStore(address), memory.TwinBlobs(address)
    from shared.gcp.firestore import FirestoreBlobs, FirestoreStore

    blobs: Blobs = FirestoreBlobs(platform.project)
    return FirestoreStore(platform.project), blobs
