"""What stands behind Pub/Sub and Firestore: the SDK's emulators, the same in Docker, or this project's twins."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from functions.local import docker, memory, metadata, programs, sdk
from functions.local.children import Program
from functions.local.layout import KINDS, Layout
from shared import journal
from shared.errors import Permanent


def _nothing() -> None: ...


def _no_wait(_stop: threading.Event) -> None: ...


@dataclass(frozen=True)
class Backing:
    """One broker and one store."""

    name: str
    """As reports name the platform."""
    pubsub: str
    """HOST:PORT."""
    firestore: str
    """HOST:PORT; of the twins' own interface in `memory`."""
    programs: tuple[Program, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    serves_functions: bool = True
    """False if the stages run inside it, without functions-framework."""
    wait: Callable[[threading.Event], None] = _no_wait
    """Until what is not among `programs` answers, or the event is set."""
    check: Callable[[], None] = _nothing
    """Permanent if it has ended by itself."""
    close: Callable[[], None] = _nothing


def choose(kind: str, environment: Mapping[str, str], layout: Layout, ports: Mapping[str, int]) -> Backing:
    """The first that this machine can offer, or the one that `kind` names."""
    if kind not in ("auto", *KINDS):
        raise Permanent(f"There is no broker '{kind}'; give one of auto, {', '.join(KINDS)}.")
    if kind in ("auto", "sdk"):
        if found := sdk.find(environment):
            return _sdk(found, layout, ports)
        if kind == "sdk":
            raise Permanent(
                "No Google Cloud SDK with both emulators was found: install google-cloud-cli-pubsub-emulator and "
                "google-cloud-cli-firestore-emulator, or set CLOUDSDK_ROOT."
            )
    if kind in ("auto", "docker"):
        if docker.usable():
            return _docker(environment, layout, ports)
        if kind == "docker":
            raise Permanent("Docker does not answer: start its daemon, or give another broker.")
    return _memory(ports)


def _hosts(pubsub: str, firestore: str) -> dict[str, str]:
    return {"PUBSUB_EMULATOR_HOST": pubsub, "FIRESTORE_EMULATOR_HOST": firestore}


def _sdk(found: sdk.Sdk, layout: Layout, ports: Mapping[str, int]) -> Backing:
    pubsub, firestore = f"127.0.0.1:{ports['pubsub']}", f"127.0.0.1:{ports['firestore']}"
    started = programs.sdk_emulators(found, ports["pubsub"], ports["firestore"])
    variables = _hosts(pubsub, firestore) | {journal.VARIABLE: os.fspath(layout.journal)}
    return Backing("emulators (SDK)", pubsub, firestore, started, variables)


def _docker(environment: Mapping[str, str], layout: Layout, ports: Mapping[str, int]) -> Backing:
    running = docker.start(environment, layout, ports)
    pubsub, firestore = f"127.0.0.1:{ports['pubsub']}", f"127.0.0.1:{ports['firestore']}"
    return Backing(
        "emulators (Docker)",
        pubsub,
        firestore,
        (),
        _hosts(pubsub, firestore),
        wait=running.wait,
        check=running.check,
        close=running.close,
    )


def _memory(ports: Mapping[str, int]) -> Backing:
    address = f"127.0.0.1:{ports['pubsub']}"
    # One process for all stages has one service account: the one that may write what they write.
    twins = memory.program(ports["pubsub"], ports["console"], metadata.environment(ports["metadata-sync"]))
    return Backing("memory", address, address, (twins,), {memory.ADDRESS: address}, serves_functions=False)
