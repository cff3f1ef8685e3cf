"""What is known of one held file: by the lock that names it, by its record, by its own name.

A record, `holdings/<id>`, is written by sync before it uploads anything, and stays until the file is evicted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion
from pydantic import ValidationError

from shared.errors import Permanent
from shared.model.case import Case, Subject
from shared.model.lock import Lock
from shared.model.manifest import DebianPackage, GenericFile
from shared.model.package import CODENAMES, Package, Release, key_of
from shared.model.plan import Planned, Transfer
from shared.model.value import Digest, sha256
from shared.model.workload import Workload
from shared.ports.registry import Stored
from shared.ports.store import Blobs, Put
from shared.settings import Settings

RECORDS = "holdings"
_UBUNTU = ("jammy", "noble")
_MENDS = 100
"""That a package mends something counts, and hardly what: a list of thousands would burst the file's document."""
_NO_RELEASE = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
"""For a stray of PyPI or by URL: no advisory about those is scoped to a release."""
Mends = Mapping[str, tuple[str, ...]]
"""Purl to the advisories that the package mends, as it was judged on the way to a lock."""
_NOTHING: Mends = {}


def subject(transfer: Transfer, lock: Lock, workload: Workload, mends: Mends = _NOTHING) -> Subject:
    """The package of a file that a lock names, and how it came to be there."""
    if (file := transfer.python) is not None:
        package = Package(ecosystem="pypi", name=file.name, version=file.version)
        return Subject(
            package=package,
            is_sdist=not file.is_wheel,
            own_wheel=file.url.startswith("own:"),
            mends=tuple(mends.get(package.purl, ())[:_MENDS]),
        )
    if (archive := transfer.archive) is not None:
        fields = {name: getattr(archive, name) for name in ("name", "version", "architecture")}
        fields |= {name: getattr(archive, name) for name in ("source_name", "source_version")}
        return Subject(
            package=Package(
                ecosystem="debian", distro=f"{lock.release.id}-{lock.release.version_id}", **fields
            ),
            apt_source=archive.source,
        )
    generic = transfer.generic
    if generic is None:
        raise Permanent("A plan names a file of no kind.")
    pin = workload.interpreter
    pinned = pin is not None and (pin.url, pin.sha256) == (generic.url, generic.sha256)
    package = GenericFile(url=generic.url, sha256=generic.sha256, size=generic.size, path="/opt/x").package()
    return Subject(
        package=package,
        fetched_by_url=generic.url,
        pinned=pinned,
        interpreter=pin.version if pin is not None and pinned else "",
    )


def mended(cases: Iterable[Digest], blobs: Blobs) -> Mends:
    """What the judge found that each replacement mends: a change's advisories may be more. One unreadable is none."""
    read = []
    for digest in cases:
        with contextlib.suppress(Permanent):
            read.append(Case.read(blobs.get(digest), f"The case {digest}"))
    return mends_of(read)


def mends_of(cases: Iterable[Case]) -> Mends:
    return {each.package.purl: each.mends for case in cases for each in case.subjects if each.mends}


def by_name(stored: Stored, settings: Settings) -> tuple[Subject, Release] | None:
    """What a stray's own name says that it is; None if it says nothing."""
    release = _release(stored)
    if stored.repository == settings.generic_repository:
        kind, _, rest = stored.name.partition(":")
        if kind != "generic" or rest != f"{stored.sha256[7:]}:file":
            return None
        return Subject(package=Package(ecosystem="generic", name="file", version=stored.sha256)), _NO_RELEASE
    if release is None:
        return _distribution(stored.name)
    return _archive(stored, release)


def _distribution(filename: str) -> tuple[Subject, Release] | None:
    is_wheel = filename.endswith(".whl")
    try:
        name, version = parse_wheel_filename(filename)[:2] if is_wheel else parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    package = Package(ecosystem="pypi", name=name, version=str(version))
    return Subject(package=package, is_sdist=not is_wheel), _NO_RELEASE


def _archive(stored: Stored, release: Release) -> tuple[Subject, Release] | None:
    """An archive's file name has no epoch; the version that it belongs to has. Its source is not told by either."""
    owner = stored.owner.rpartition("/packages/")[2]
    name, _, version = (unquote(part) for part in owner.partition("/versions/"))
    parts = stored.name.removesuffix(".deb").split("_")
    try:
        made = DebianPackage(
            name=name,
            version=version,
            architecture=parts[2] if len(parts) > 2 else "",
            source_name=name,
            source_version=version,
            archive=None,
            in_base=False,
        )
    except ValidationError:
        return None
    return Subject(package=made.package(release)), release


def _release(stored: Stored) -> Release | None:
    """The release whose archives a repository holds; None for one of another kind."""
    for version_id, codename in CODENAMES.items():
        if codename == stored.repository:
            vendor = "ubuntu" if codename in _UBUNTU else "debian"
            return Release.check(
                {"id": vendor, "version_id": version_id, "codename": codename, "architecture": "amd64"},
                f"The release {codename}",
            )
    return None


def key(about: Subject) -> str:
    return key_of(about.package.purl, about.own_wheel)


def recorded_key(record: Mapping[str, Any]) -> str:
    """The same of a record, readable or not."""
    about = record.get("subject")
    return key_of(str(record.get("purl")), isinstance(about, Mapping) and about.get("own_wheel") is True)


# --- records ---


def package_id(purl: str) -> str:
    """By which a package is looked up: a purl may be longer than what the store finds."""
    return sha256(purl.encode())[7:39]


def record_id(repository: str, digest: str) -> str:
    return sha256(f"{repository} {digest}".encode())[7:39]


def records(
    files: Iterable[Planned], release: Release, workload: str, run_id: str, now: float
) -> Iterator[Put]:
    """What stays known of each file. Merged: a file comes in again, and its record says so."""
    for each in files:
        transfer, purl = each.transfer, each.subject.package.purl
        fields: dict[str, Any] = {
            "repository": transfer.repository,
            "sha256": transfer.sha256,
            "purl": purl,
            "package": package_id(purl),
            "subject": each.subject.model_dump(mode="json"),
            "release": release.model_dump(mode="json"),
            "transfer": transfer.model_dump(mode="json"),
            "run_id": run_id,
            "workload": workload,
            "came": now,
            "evicted": None,
        }
        yield Put(RECORDS, record_id(transfer.repository, transfer.sha256), fields, merge=True)


def sized(brought: Iterable[Transfer], sizes: Iterable[int]) -> Iterator[Put]:
    """How many bytes each file turned out to have, on the record that stands already: no index says it of all."""
    for transfer, size in zip(brought, sizes, strict=True):
        name = record_id(transfer.repository, transfer.sha256)
        yield Put(RECORDS, name, {"size": size}, merge=True)


def recorded(document: Mapping[str, Any]) -> tuple[Subject, Release, Transfer]:
    """What a record says; Permanent if it cannot be read."""
    what = "The record of a held file"
    transfer = Transfer.check(document.get("transfer"), what)
    if not (transfer.python or transfer.archive or transfer.generic):
        raise Permanent(f"{what} names no file.")
    return (
        Subject.check(document.get("subject"), what),
        Release.check(document.get("release"), what),
        transfer,
    )
