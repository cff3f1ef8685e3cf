"""The upstream of one plan or shard: PyPI's index, the distributions' archives, downloads, resolver, proof."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from shared.errors import Permanent
from shared.model.lock import LockedPython
from shared.model.value import Digest
from shared.model.workload import Workload
from shared.ports.upstream import Archive, Downloads, IndexFile, Upstream
from shared.settings import Settings
from shared.upstream import depends, http, public, sdist, wheel
from shared.upstream.apt import KEYRINGS, AptIndexClient
from shared.upstream.download import Downloader
from shared.upstream.facts import PypiFacts
from shared.upstream.mirrors import Mirrors
from shared.upstream.proof import Prover
from shared.upstream.pypi import PYPI, PYPI_FILES, PythonIndexClient, only_as_source, source_distribution
from shared.upstream.release_dates import ReleaseDates
from shared.upstream.resolver import UvResolver
from shared.upstream.sizes import Sizes
from shared.upstream.snapshot import Snapshots
from shared.upstream.static_metadata import StaticMetadata

_SOURCES_TRIED = 8
"""Versions of a package without wheels whose source distributions are fetched to learn what they need."""
_MAX_SOURCE = 128 * 1024**2
"""Bytes of a source distribution that is fetched to learn its licence."""


def upstream(settings: Settings, workload: Workload, dates: ReleaseDates | None = None) -> Upstream:
    """Fresh clients: an index is read once per plan, so that all decisions of a plan see one state of it.

    `dates`: how far each apt repository has come.
    """
    client = http.client()
    downloads = Downloader(client, max_size=int(settings.file_bytes), trusted=_configured(settings))
    keyrings = Path(settings.keyrings) if settings.keyrings else KEYRINGS
    mirrors = Mirrors(settings.debian_mirror, settings.debian_security_mirror)
    snapshots = Snapshots(settings.debian_snapshot, settings.ubuntu_snapshot)
    outside = _public(settings)
    apt = AptIndexClient(
        mirrors,
        keyrings,
        client,
        more=workload.apt_sources,
        public=outside,
        snapshots=snapshots,
        dates=dates,
    )
    index = PythonIndexClient(settings.python_index, client)
    return Upstream(
        index=index,
        apt=apt,
        downloads=downloads,
        resolver=UvResolver(
            cache=_cache(),
            index=settings.python_index,
            overrides=workload.overrides,
            sources=_sources(index, downloads),
        ),
        proof=Prover(),
        build_requirements=_build_requirements(downloads),
        record=_record(downloads),
        unmet=_unmet(apt),
        facts=_facts(settings, index, outside),
        snapshot=lambda url, moment: snapshots.address(url, mirrors, moment),
        sizes=Sizes(client).of,
    )


def facts(settings: Settings) -> PypiFacts:
    """A fresh client for whoever only judges: all facts of a case are of one moment."""
    client = _public(settings)
    return _facts(settings, PythonIndexClient(settings.python_index, client, keep=False), client)


def _facts(settings: Settings, index: PythonIndexClient, client: httpx.Client) -> PypiFacts:
    downloads = Downloader(client, max_size=_MAX_SOURCE, trusted=_configured(settings))
    return PypiFacts(index, client, pkg_info=lambda file: _proven(file, downloads).pkg_info)


def _public(settings: Settings) -> httpx.Client:
    """Reaches the public internet and the operator's own servers, and leaves what drips."""
    return http.client(transport=public.PublicTransport(http.trust(), _configured(settings)))


def _configured(settings: Settings) -> frozenset[public.Origin]:
    """The servers that the operator chose: they may be inside her network, all others must be public."""
    chosen = [settings.python_index, settings.debian_mirror, settings.debian_security_mirror]
    chosen += [settings.debian_snapshot, settings.ubuntu_snapshot]
    found = {public.origin(url) for url in chosen}
    return frozenset(found | {public.origin(PYPI_FILES)} if public.origin(PYPI) in found else found)


def _cache() -> Path:
    """A directory for uv that is ours alone: who can write there decides what the resolver believes."""
    path = Path(tempfile.gettempdir()) / f"package-dmz-resolver-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if ours else Path(tempfile.mkdtemp(prefix="package-dmz-resolver-"))


def _sources(
    index: PythonIndexClient, downloads: Downloads
) -> Callable[[str, str], Sequence[StaticMetadata]]:
    def read(name: str, version: str) -> Sequence[StaticMetadata]:
        files = index.files(name)
        versions = [version] if version else only_as_source(files, name)[:_SOURCES_TRIED]
        found = [file for one in versions if (file := source_distribution(files, name, one))]
        return [metadata for file in found if (metadata := stated(file))]

    def stated(file: IndexFile) -> StaticMetadata | None:
        try:
            return _proven(file, downloads).metadata
        except Permanent:
            # A broken file is no candidate; the resolver says what is missing without it.
            return None

    return read


def _build_requirements(downloads: Downloads) -> Callable[[IndexFile], Sequence[str]]:
    return lambda file: _proven(file, downloads).build_requires


def _proven(file: IndexFile, downloads: Downloads) -> sdist.ProvenSdist:
    with tempfile.TemporaryDirectory(prefix="sdist-") as folder:
        path = Path(folder) / file.filename
        downloads.fetch(file.url, file.sha256, path)
        return sdist.prove(path, file.filename)


def _record(downloads: Downloads) -> Callable[[LockedPython], Digest]:
    def read(file: LockedPython) -> Digest:
        with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
            path = Path(folder) / file.filename
            downloads.fetch(file.url, file.sha256, path)
            return wheel.prove(path, file.filename).record

    return read


def _unmet(apt: AptIndexClient) -> Callable[[Sequence[Archive], Mapping[tuple[str, str], str]], str]:
    def check(archives: Sequence[Archive], installed: Mapping[tuple[str, str], str]) -> str:
        architectures = {architecture for _, architecture in installed} - {"all"}
        native = "amd64" if "amd64" in architectures else min(architectures, default="amd64")
        return depends.unmet(archives, depends.installed(installed, apt.known()), native)

    return check
