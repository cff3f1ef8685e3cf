"""What a VM says of itself, for tests that play one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.model.manifest import ClaimedManifest, DebianPackage, Environment, PythonPackage
from shared.ports.upstream import Archive
from tests.support.built import Built
from tests.support.market import TRIXIE


def python(
    name: str,
    version: str,
    made: Built | None = None,
    *,
    requires: tuple[str, ...] = (),
    requested: bool = False,
    **more: Any,
) -> PythonPackage:
    """A distribution as it was installed from `made`."""
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "tags": ("py3-none-any",),
        "record": made.record if made else None,
        "requested": requested,
        "requires": requires,
        "in_base": False,
    }
    return PythonPackage(**fields | more)


def debian(archive: Archive, /, *, in_base: bool = True, **more: Any) -> DebianPackage:
    fields: dict[str, Any] = {
        "name": archive.name,
        "version": archive.version,
        "architecture": archive.architecture,
        "source_name": archive.source_name,
        "source_version": archive.source_version,
        "archive": None if in_base else archive.sha256,
        "in_base": in_base,
    }
    return DebianPackage(**fields | more)


def environment(*packages: PythonPackage, path: str = "/opt/w", managed: bool = False) -> Environment:
    return Environment(path=path, python="3.13.5", virtual=True, managed_by_dpkg=managed, packages=packages)


def manifest(
    debians: Sequence[DebianPackage] = (), *environments: Environment, **more: Any
) -> ClaimedManifest:
    fields: dict[str, Any] = {
        "workload": "small",
        "release": TRIXIE,
        "debian": tuple(debians),
        "environments": environments,
    }
    return ClaimedManifest(**fields | more)
