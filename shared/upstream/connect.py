"""The upstream of one plan or shard: PyPI's index, the distributions' archives, downloads, resolver, proof."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.model.workload import Workload
from shared.ports import Archive, Downloads, IndexFile, Upstream
from shared.settings import Settings
from shared.upstream import depends, http, sdist
from shared.upstream.apt import AptIndexClient, Mirrors
from shared.upstream.download import Downloader
from shared.upstream.proof import Prover
from shared.upstream.pypi import PythonIndexClient
from shared.upstream.resolver import UvResolver


def upstream(settings: Settings, workload: Workload) -> Upstream:
    """Fresh clients: an index is read once per plan, so that all decisions of a plan see one state of it."""
    client = http.client()
    downloads = Downloader(client)
    apt = AptIndexClient(Mirrors(settings.debian_mirror, settings.debian_security_mirror), client=client)
    return Upstream(
        index=PythonIndexClient(settings.python_index, client),
        apt=apt,
        downloads=downloads,
        resolver=UvResolver(
            cache=Path(tempfile.gettempdir()) / "package-dmz-resolver",
            index=settings.python_index,
            overrides=workload.overrides,
        ),
        proof=Prover(),
        build_requirements=_build_requirements(downloads),
        unmet=_unmet(apt),
    )


def _build_requirements(downloads: Downloads) -> Callable[[IndexFile], Sequence[str]]:
    def read(file: IndexFile) -> Sequence[str]:
        with tempfile.TemporaryDirectory(prefix="sdist-") as folder:
            path = Path(folder) / file.filename
            downloads.fetch(file.url, file.sha256, path)
            return sdist.prove(path, file.filename).build_requires

    return read


def _unmet(apt: AptIndexClient) -> Callable[[Sequence[Archive], Mapping[tuple[str, str], str]], str]:
    def check(archives: Sequence[Archive], installed: Mapping[tuple[str, str], str]) -> str:
        architectures = {architecture for _, architecture in installed} - {"all"}
        native = "amd64" if "amd64" in architectures else min(architectures, default="amd64")
        return depends.unmet(archives, depends.installed(installed, apt.known()), native)

    return check
