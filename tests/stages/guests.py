"""Plays both VMs: reads what the stage gave the VM, and publishes the report that the guest would publish."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.events import Delivery
from shared.guest import egress, report
from shared.guest.config import Config, parse
from shared.memory.machines import MemoryRegistry
from shared.model.lock import Lock, LockedArchive
from shared.model.manifest import ClaimedManifest, DebianPackage, Environment, PythonPackage
from shared.model.value import sha256
from tests.support.market import Market

Payload = dict[str, Any]


def config_of(metadata: Mapping[str, str]) -> Config:
    """What the VM was told, read as the guest reads it."""
    return parse(metadata["dmz-config"])


def message(config: Config, payload: Payload) -> tuple[str, bytes, dict[str, str]]:
    """(topic, body, attributes) as `shared.guest.report.publish` sends them."""
    attributes = dict(config.attributes) | {
        "ce-id": config.event_id,
        "ce-type": config.event_type,
        "ce-source": config.event_source,
        "ce-specversion": "1.0",
    }
    return config.topic, json.dumps(payload).encode(), attributes


def common(config: Config, state: str = "installed", tail: str = "done\n") -> Payload:
    return {
        "run_id": config.run_id,
        "report_token": config.report_token,
        "state": state,
        "tail": tail,
        "seconds": {"install": 1.5},
    }


def pack(manifest: ClaimedManifest) -> str:
    return report.pack(manifest.model_dump(mode="json"))


def outer(config: Config, manifest: ClaimedManifest) -> Payload:
    return common(config) | {"claim": pack(manifest)}


def outer_failed(config: Config, tail: str) -> Payload:
    return common(config, "failed", tail) | {"claim": None}


def inner(config: Config, found: ClaimedManifest) -> Payload:
    return common(config) | {
        "installed": pack(found),
        "smoke": {"exit_code": 0, "seconds": 0.5, "tail": "works\n"},
        "egress": "denied",
        "egress_probes": [
            {"probe": name, "target": target, "outcome": "denied: Network is unreachable", "open": False}
            for name, target, _ in egress.PROBES
        ],
    }


def install(
    config: Config, registry: MemoryRegistry, base: tuple[DebianPackage, ...], market: Market
) -> ClaimedManifest:
    """What the inner VM holds after it has installed its lock from the private repositories, and nothing else."""
    assert config.lock is not None
    assert config.repositories is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lock.json"
        place = config.lock
        registry.download_generic(
            place.repository, place.package, place.version, place.filename, path, 1 << 30
        )
        assert sha256(path.read_bytes()) == place.sha256
        lock = Lock.read(path.read_bytes(), "The lock")
    wheels = _files(registry, config.repositories.python)
    archives = _files(registry, config.repositories.apt)
    generic = _files(registry, config.repositories.generic)
    held = {(each.name, each.architecture): each for each in base}
    for archive in lock.debian:
        assert archive.sha256 in archives, f"{archive.name} is not in the apt repository"
        held[archive.name, archive.architecture] = _debian(archive)
    for file in lock.generic:
        assert generic[file.sha256] == f"generic:{file.sha256[7:]}:file"
    environments = []
    for environment in lock.environments:
        packages = []
        for each in environment.packages:
            for needed in (each, *each.build):
                assert wheels[needed.sha256] == needed.filename, f"{needed.filename} is not in the repository"
            made = market.wheels.get(each.sha256)
            packages.append(
                PythonPackage(
                    name=each.name,
                    version=each.version,
                    tags=("py3-none-any",),
                    record=made.record if made else sha256(b"built here"),
                    requested=False,
                    in_base=False,
                )
            )
        environments.append(
            Environment(
                path=environment.path,
                python=environment.python,
                virtual=environment.virtual,
                managed_by_dpkg=False,
                packages=tuple(packages),
            )
        )
    return ClaimedManifest.check(
        {
            "workload": lock.workload,
            "release": lock.release.model_dump(mode="json"),
            "debian": [each.model_dump(mode="json") for each in held.values()],
            "environments": [each.model_dump(mode="json") for each in environments],
            "generic": [
                {"url": each.url, "sha256": each.sha256, "size": each.size, "path": "/opt/w/file"}
                for each in lock.generic
            ],
        },
        "The inner inventory",
    )


def _files(registry: MemoryRegistry, repository: str) -> dict[str, str]:
    return {each.sha256: each.name for each in registry.stored(repository)}


def _debian(archive: LockedArchive) -> DebianPackage:
    return DebianPackage(
        name=archive.name,
        version=archive.version,
        architecture=archive.architecture,
        source_name=archive.source_name,
        source_version=archive.source_version,
        archive=archive.sha256,
        in_base=False,
    )


def delivery(config: Config, payload: Payload) -> Delivery:
    """The report as a stage gets it."""
    topic, body, attributes = message(config, payload)
    return Delivery(body, topic, attributes, "1", "")
