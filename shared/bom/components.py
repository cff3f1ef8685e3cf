"""The components of an approved set: every file of its lock, and what the machine held before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from shared.bom.approved import ApprovedSet
from shared.bom.parts import Json, link, properties, sha256_of, source_purl, text
from shared.model.lock import LockedArchive, LockedGeneric, LockedPython
from shared.model.manifest import ClaimedManifest
from shared.model.package import Package
from shared.model.value import Digest

_LICENCES = 20
Kind = Literal["library", "file", "platform"]


@dataclass(frozen=True)
class Item:
    """One component before it is written down."""

    package: Package
    sha256: Digest | Literal[""]
    url: str = ""
    filename: str = ""
    kind: Kind = "library"
    in_base: bool = False
    """The machine held it before the install began; it is not in the lock."""
    build_only: bool = False
    """Needed to build another one, and gone afterwards."""
    own: bool = False
    """A wheel of the workload's owner."""
    environments: tuple[str, ...] = ()
    """Paths of the Python environments that hold it."""
    suite: str = ""
    ref: str = ""
    """The component's name within the document."""


def items(approved: ApprovedSet) -> tuple[Item, ...]:
    """Each file once, sorted, under its own reference: the purl, with a hash where it has several files."""
    merged: dict[tuple[str, str], Item] = {}
    for item in _all(approved):
        key = (item.package.purl, item.sha256)
        if (other := merged.get(key)) is not None:
            item = replace(
                other,
                environments=tuple(sorted({*other.environments, *item.environments})),
                build_only=other.build_only and item.build_only,
                in_base=other.in_base and item.in_base,
            )
        merged[key] = item
    files = Counter(purl for purl, _ in merged)
    return tuple(
        replace(item, ref=purl if files[purl] == 1 else f"{purl}#{sha256[7:19] or 'base'}")
        for (purl, sha256), item in sorted(merged.items())
    )


def _all(approved: ApprovedSet) -> Iterator[Item]:
    lock, manifest = approved.lock, approved.manifest
    for environment in lock.environments:
        for file in environment.packages:
            yield _python(file, environment.path)
            yield from _builders(file, environment.path)
    for archive in lock.debian:
        yield _archive(archive, f"{lock.release.id}-{lock.release.version_id}")
    known = {file.sha256: file for file in manifest.generic}
    for fetched in lock.generic:
        yield _generic(fetched, known[fetched.sha256].interpreter if fetched.sha256 in known else "")
    yield from _base(manifest, {(each.name, each.architecture) for each in lock.debian})


def _python(file: LockedPython, path: str, build_only: bool = False) -> Item:
    own = file.url.startswith("own:")
    return Item(
        package=Package(ecosystem="pypi", name=file.name, version=file.version),
        sha256=file.sha256,
        url="" if own else file.url,
        filename=file.filename,
        environments=() if build_only else (path,),
        build_only=build_only,
        own=own,
    )


def _builders(file: LockedPython, path: str) -> Iterator[Item]:
    for each in file.build:
        yield _python(each, path, build_only=True)
        yield from _builders(each, path)


def _archive(file: LockedArchive, distro: str) -> Item:
    package = Package(
        ecosystem="debian",
        name=file.name,
        version=file.version,
        architecture=file.architecture,
        distro=distro,
        source_name=file.source_name,
        source_version=file.source_version,
    )
    return Item(package, file.sha256, file.url, file.filename, suite=file.suite)


def _generic(file: LockedGeneric, interpreter: str) -> Item:
    name = file.url.rsplit("/", 1)[-1].split("?")[0] or "index"
    package = Package(ecosystem="generic", name=name, version=file.sha256)
    return Item(package, file.sha256, file.url, name, kind="platform" if interpreter else "file")


def _base(manifest: ClaimedManifest, replaced: set[tuple[str, str]]) -> Iterator[Item]:
    for debian in manifest.debian:
        if debian.in_base and (debian.name, debian.architecture) not in replaced:
            yield Item(debian.package(manifest.release), debian.archive or "", in_base=True)
    for environment in manifest.environments:
        for python in environment.packages if not environment.managed_by_dpkg else ():
            if python.in_base:
                yield Item(python.package(), "", in_base=True, environments=(environment.path,))


def component(item: Item, approved: ApprovedSet) -> Json:
    """https://cyclonedx.org/docs/1.7/json/#components"""
    package, purl = item.package, item.package.purl
    facts, verdict = approved.facts.get(purl), approved.verdicts.get(purl)
    changes = [each for each in approved.lock.changes if each.after.purl == purl and each.kind != "dropped"]
    made: Json = {
        "type": item.kind,
        "bom-ref": item.ref,
        "name": text(package.name, 300),
        "version": text(package.version, 300),
        "purl": purl,
        "scope": "excluded" if item.build_only else "required",
        "properties": properties(
            ("in-base-image", item.in_base),
            ("own-wheel", item.own),
            ("environment", item.environments),
            ("file", item.filename),
            ("suite", item.suite),
            ("publisher", approved.publishers.get(item.sha256, ())),
            ("uploaded", facts.uploaded if facts else ""),
            ("yanked", (facts.yanked or "without a reason") if facts and facts.yanked is not None else ""),
            ("decision", verdict.decision if verdict else ""),
            ("waivers", verdict.waivers if verdict else ()),
            *(
                (key, value)
                for change in changes
                for key, value in (
                    (("replaces", change.before.purl) if change.kind != "added" else ("added", True)),
                    ("because", change.reason),
                    ("because-of-advisories", change.advisories),
                    ("required-by", change.required_by),
                )
            ),
        ),
    }
    if item.sha256:
        made["hashes"] = sha256_of(item.sha256)
    if facts and (found := licences(facts.licences)):
        made["licenses"] = found
    if item.url:
        made["externalReferences"] = [
            {"type": "distribution", "url": link(item.url), "hashes": sha256_of(item.sha256)}
        ]
    if package.source_name:
        made["pedigree"] = {"ancestors": [_source(package)]}
    return made


def _source(package: Package) -> Json:
    return {
        "type": "library",
        "name": text(package.source_name, 300),
        "version": text(package.source_version, 300),
        "purl": source_purl(package),
        "description": "the source package that it was built from",
    }


def licences(said: Sequence[str]) -> list[Json]:
    """As the package declares them: an SPDX expression where it is one, else the words."""
    return [_licence(each) for each in dict.fromkeys(said[:_LICENCES]) if each.strip()]


@lru_cache(maxsize=4096)
def _spdx(said: str) -> str:
    """The canonical expression (PEP 639), empty if it is none."""
    try:
        return canonicalize_license_expression(said) if len(said) <= 500 else ""
    except (InvalidLicenseExpression, RecursionError, MemoryError):  # it is compiled as Python
        return ""


def _licence(said: str) -> Json:
    if expression := _spdx(said):
        return {"expression": expression, "acknowledgement": "declared"}
    return {"license": {"name": text(said, 300), "acknowledgement": "declared"}}
