"""Advisories, packages and zips that tests make themselves."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared.advisories import osv
from shared.advisories.match import match
from shared.model.package import Package, Release
from shared.model.verdict import Finding

TRIXIE = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
BOOKWORM = Release(id="debian", version_id="12", codename="bookworm", architecture="amd64")
JAMMY = Release(id="ubuntu", version_id="22.04", codename="jammy", architecture="amd64")

HIGH = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}
LOW = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}


def pypi(name: str = "thing", version: str = "1.0") -> Package:
    return Package(ecosystem="pypi", name=name, version=version)


def deb(
    name: str, version: str, source: str = "", source_version: str = "", release: Release = TRIXIE
) -> Package:
    return Package(
        ecosystem="debian",
        name=name,
        version=version,
        architecture="amd64",
        distro=f"{release.id}-{release.version_id}",
        source_name=source,
        source_version=source_version,
    )


def events(*pairs: tuple[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"type": kind, "events": [{name: version} for name, version in pairs]}


def affected(
    *ranges: dict[str, Any], name: str = "thing", ecosystem: str = "PyPI", **more: Any
) -> dict[str, Any]:
    return {"package": {"ecosystem": ecosystem, "name": name}, "ranges": list(ranges), **more}


def record(id: str = "PYSEC-2026-1", *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An OSV record; without entries it touches every version of `thing` below 2.0."""
    return {
        "schema_version": "1.7.3",
        "id": id,
        "modified": "2026-11-20T00:00:00Z",
        "summary": f"{id} is bad",
        "affected": list(entries) or [affected(events(("introduced", "0"), ("fixed", "2.0")))],
        **more,
    }


def found(
    packages: Package | Iterable[Package], *records: dict[str, Any], release: Release = TRIXIE
) -> Mapping[str, tuple[Finding, ...]]:
    """Findings as the readers make them, without a zip."""
    wanted = [packages] if isinstance(packages, Package) else list(packages)
    return match(wanted, release, [osv.read(one, one["id"], lambda *_: True) for one in records])


def one(package: Package, *records: dict[str, Any], release: Release = TRIXIE) -> Finding | None:
    """The only finding about `package`, None if there is none."""
    findings = found(package, *records, release=release).get(package.purl, ())
    assert len(findings) < 2
    return findings[0] if findings else None


def zipped(directory: Path, ecosystem: str, *records: dict[str, Any]) -> Path:
    """`directory` with the records in osv-scanner's offline layout."""
    path = directory / ecosystem / "all.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in records:
            archive.writestr(f"{entry['id']}.json", json.dumps(entry))
    return directory
