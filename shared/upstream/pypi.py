"""A Python package index over HTTP, and the choice of the one file that a VM says it has installed."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
from packaging.tags import Tag, parse_tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from shared.errors import Permanent
from shared.model.manifest import PythonPackage
from shared.model.value import printable
from shared.ports.upstream import IndexFile
from shared.upstream import http, publishers, simple_page
from shared.upstream.page import Page, of_version

PYPI = "https://pypi.org/simple/"
PYPI_FILES = "https://files.pythonhosted.org/"
"""Where its pages say that the files are."""
_MAX_PAGE = 64 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?", re.ASCII)


class PythonIndexClient:
    """`PythonIndex` over a simple index; every page is fetched and parsed once per instance."""

    def __init__(self, url: str = PYPI, client: httpx.Client | None = None, keep: bool = True) -> None:
        """`url`: the index's root, like https://pypi.org/simple/.

        `keep`: False for whoever asks once for each project: a hundred pages can fill a small machine's memory.
        """
        self._url = url.rstrip("/") + "/"
        self._client = client or http.client()
        self._keep = keep
        self._pages: dict[str, Sequence[IndexFile]] = {}
        self._lock = threading.Lock()

    def files(self, name: str, versions: Collection[str] = ()) -> Sequence[IndexFile]:
        """Every usable file of project `name`; empty if unknown. Transient if the index cannot be reached.

        `versions`: those that will be asked for (`page`); of the other files nothing is kept but the page's bytes.
        """
        name = canonicalize_name(name)
        if not _NAME.fullmatch(name):
            raise Permanent("A Python package's name has ASCII letters, digits and . _ - only (PEP 508).")
        with self._lock:
            if name in self._pages:
                return self._pages[name]
        answer = http.get(self._client, f"{self._url}{name}/", _MAX_PAGE, simple_page.ACCEPT)
        files: Sequence[IndexFile] = ()
        if answer:
            files = Page(name, answer.url, answer.content_type, answer.body, _readable(versions))
        with self._lock:
            return self._pages.setdefault(name, files) if self._keep else files

    def prefetch(self, wanted: Mapping[str, Collection[str]] | Iterable[str]) -> None:
        """Fetch the pages of all names at once; the first failure is raised. A mapping names the versions as well."""
        versions = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted, ())
        with ThreadPoolExecutor(http.CONNECTIONS, thread_name_prefix="index") as pool:
            for _ in pool.map(lambda name: self.files(name, versions[name]), sorted(versions)):
                pass

    def provenance(self, filename: str, url: str) -> bytes:
        """What the index serves at `url` as provenance of one of its files; nothing of it is proved yet.

        1. It is at the index itself: what a page names could be a server that only this network can reach (CWE-918).
        2. It is no redirect: that would name another.
        3. It has a size that a provenance can have.
        """
        what = f"The index says that attestations of {filename} are at {printable(url, 200)}"
        if not self._is_ours(url):  # 1
            raise Permanent(
                f"{what}, which is not the index's own address ({self._url}); the file is refused. If the index passes "
                "on what another one says, name that one as DMZ_PYTHON_INDEX."
            )
        answer = http.get(
            self._client, url, publishers.MAX_SIZE, "application/vnd.pypi.integrity.v1+json", redirects=0
        )  # 2, 3
        if answer is None:
            raise Permanent(f"{what}, where nothing is; the file is refused.")
        return answer.body

    def _is_ours(self, url: str) -> bool:
        try:
            there, here = httpx.URL(url), httpx.URL(self._url)
        except httpx.InvalidURL:
            return False
        same = (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)
        return same and not there.userinfo


def select(files: Sequence[IndexFile], claim: PythonPackage) -> IndexFile:
    """The one file of the index that `claim` says is installed.

    The VM's word only picks a candidate; the proof that it is the right one is RECORD's digest (see `proof`).
    In this order:
    1. Installed from a URL: the file of the index with that URL's sha256.
    2. The wheel whose name, version, build number and whole set of tags are WHEEL's.
    3. The only wheel that shares a tag: some projects' file names and WHEEL files do not list the same tags.
    4. The source distribution: what was built on the VM has tags that no wheel of the index has.
    Permanent with the reason if there is none, or no single one.
    """
    what = f"{claim.name} {claim.version}"
    if claim.direct_url is not None:  # 1
        return _by_hash(files, claim, what)
    try:
        version = Version(claim.version)
    except InvalidVersion as error:
        raise Permanent(
            f"{what}: that is not a version of PEP 440, so no file of the index can be it."
        ) from error
    tags = frozenset(tag for text in claim.tags for tag in parse_tag(text))
    same = of_version(files, version)
    wheels = [
        (file, file_tags)
        for file in same
        if (file_tags := _wheel_tags(file.filename, claim.name, version, claim.build)) is not None
    ]
    exact = [file for file, its_tags in wheels if its_tags == tags]  # 2
    sharing = exact or [file for file, its_tags in wheels if its_tags & tags]  # 3
    if len(sharing) == 1:
        return sharing[0]
    if sharing:
        names = ", ".join(sorted(file.filename for file in sharing))
        raise Permanent(
            f"{what}: the index has several wheels that it could be ({names}); none is taken by guess."
        )
    source = source_distribution(same, claim.name, claim.version)  # 4
    if source is None:
        raise Permanent(_none(files, claim, version))
    return source


def source_distribution(files: Sequence[IndexFile], name: str, version: str) -> IndexFile | None:
    """The project's source distribution of that version, .tar.gz before .zip; None if there is none."""
    same = of_version(files, Version(version))
    found = [file for its_version, file in _sources(same, name) if its_version == Version(version)]
    return max(found, key=lambda file: (file.filename.endswith(".tar.gz"), file.filename), default=None)


def only_as_source(files: Sequence[IndexFile], name: str) -> list[str]:
    """Versions of the project that have a source distribution and no wheel at all, newest first."""
    wheels = {version for file in files if (version := _wheel_version(file.filename, name)) is not None}
    usable = {
        version for version, file in _sources(files, name) if not file.yanked and not version.is_prerelease
    }
    return [str(version) for version in sorted(usable - wheels, reverse=True)]


def _sources(files: Sequence[IndexFile], name: str) -> Iterator[tuple[Version, IndexFile]]:
    for file in files:
        try:
            its_name, its_version = parse_sdist_filename(file.filename)
        except (InvalidSdistFilename, InvalidVersion):
            continue
        if its_name == canonicalize_name(name):
            yield its_version, file


def _wheel_version(filename: str, name: str) -> Version | None:
    try:
        its_name, its_version, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    return its_version if its_name == canonicalize_name(name) else None


def _by_hash(files: Sequence[IndexFile], claim: PythonPackage, what: str) -> IndexFile:
    assert claim.direct_url is not None  # noqa: S101 - the caller's condition, for the type checker
    for file in files:
        if claim.direct_url.sha256 is not None and file.sha256 == claim.direct_url.sha256:
            return file
    raise Permanent(
        f"{what} was installed from {claim.direct_url.url}, and the index has no file with that content; install it "
        "from the index, or give it as a wheel of your own."
    )


def _wheel_tags(filename: str, name: str, version: Version, build: str) -> frozenset[Tag] | None:
    """The tags of the wheel if it is of that name, version and build, else None."""
    try:
        its_name, its_version, its_build, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    if its_name != canonicalize_name(name) or its_version != version:
        return None
    return frozenset(tags) if "".join(map(str, its_build)) == build.lstrip("0") else None


def _none(files: Sequence[IndexFile], claim: PythonPackage, version: Version) -> str:
    what = f"{claim.name} {claim.version}"
    if not files:
        return f"{what}: the index has no project of that name; if it is your own, give it as a wheel of your own."
    same = of_version(files, version)
    if not same:
        return f"{what}: the index has {len(files)} files of it but none of that version."
    return (
        f"{what}: the index has {len(same)} files of that version, but no wheel with the installed tags "
        f"({', '.join(claim.tags) or 'none given'}) and no source distribution that it could have been built from."
    )


def _readable(versions: Iterable[str]) -> Iterator[Version]:
    for text in versions:
        with contextlib.suppress(InvalidVersion):
            yield Version(text)
