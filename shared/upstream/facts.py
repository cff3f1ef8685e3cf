"""What an index itself says of versions: upload time (PEP 700), yank (PEP 592), licences (PEP 639, by PEP 658).

1. Only what is asked for is fetched: a page per project, and one METADATA per version where licences are wanted.
2. Everything has a bound: pages and METADATA in bytes, connections at once, and all of it together in seconds.
3. METADATA with another sha256 than the page gives is none.
4. Whatever fails leaves facts that say why; they are never good facts, and never an exception.
5. A version is as young as the youngest of its files that a machine of ours could install, and as yanked as any of
   them: whoever steals an account can add a wheel to a release of years ago, and nobody says here which file enters.
6. Where files are named, they alone count, by hash. Of those that the index does not offer any more nothing is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

import httpx
from packaging.version import InvalidVersion, Version

from shared.errors import DmzError, Permanent
from shared.model.case import Facts
from shared.model.package import Package
from shared.model.value import Digest, printable, sha256
from shared.ports.judgement import FactKind
from shared.ports.upstream import IndexFile, PythonIndex
from shared.upstream import http, public
from shared.upstream.licences import licences
from shared.upstream.page import of_version

DEADLINE = 120.0
"""Seconds for all that one question asks for: a stage has 600 for its whole event."""
_MAX_METADATA = 4 * 1024**2
_MAX_REASON = 200
_Task = tuple[str, str, frozenset[Digest]]
"""Name, version, and the files that count; none: all."""
_ALL: Mapping[str, Collection[Digest]] = {}


class PypiFacts:
    """`Facts` over a simple index. Each version is asked for once per instance, so all answers are of one moment."""

    def __init__(
        self,
        index: PythonIndex,
        client: httpx.Client,
        deadline: float = DEADLINE,
        pkg_info: Callable[[IndexFile], bytes] | None = None,
    ) -> None:
        """`client` fetches METADATA; `deadline` in seconds. `pkg_info` reads it out of a source distribution."""
        self._index = index
        self._client = client
        self._deadline = deadline
        self._pkg_info = pkg_info
        self._known: dict[tuple[_Task, frozenset[FactKind]], Facts] = {}
        self._lock = threading.Lock()

    def of(
        self,
        packages: Sequence[Package],
        wanted: Collection[FactKind],
        files: Mapping[str, Collection[Digest]] = _ALL,
    ) -> Mapping[str, Facts]:
        """By purl, for packages of PyPI; nothing if nothing is wanted."""
        kinds = frozenset(wanted)
        ours = [each for each in packages if each.ecosystem == "pypi"] if kinds else []
        asked = {(p.name, p.version, frozenset(files.get(p.purl, ()))): p.purl for p in ours}
        with self._lock:
            open_ = [task for task in asked if (task, kinds) not in self._known]
        found = self._all(open_, kinds)
        with self._lock:
            self._known.update({(task, kinds): facts for task, facts in found.items()})
            return {purl: self._known[task, kinds] for task, purl in asked.items()}

    def _all(self, tasks: Sequence[_Task], kinds: frozenset[FactKind]) -> dict[_Task, Facts]:
        if not tasks:
            return {}
        ends = time.monotonic() + self._deadline
        pool = ThreadPoolExecutor(min(public.CONNECTIONS, len(tasks)), thread_name_prefix="facts")
        try:
            futures = {task: pool.submit(self._safe, *task, kinds, ends) for task in tasks}
            wait(futures.values(), self._deadline)  # 2
            return {task: self._outcome(future) for task, future in futures.items()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, future: Future[Facts]) -> Facts:
        return future.result() if future.done() else _late(self._deadline)

    def _safe(
        self, name: str, version: str, only: frozenset[Digest], kinds: frozenset[FactKind], ends: float
    ) -> Facts:
        if time.monotonic() > ends:
            return _late(self._deadline)
        try:
            return self._one(name, version, only, kinds)
        except DmzError as error:
            return Facts(lacking=_part(error))
        except Exception as error:  # 4: one package's page must not keep the others from a verdict
            return Facts(lacking=f"what the index sent could not be read ({type(error).__name__})")

    def _one(self, name: str, version: str, only: frozenset[Digest], kinds: frozenset[FactKind]) -> Facts:
        try:
            wanted = Version(version)
        except InvalidVersion:
            return Facts(
                lacking=f"{printable(version, 60)} is no version of PEP 440, so the index has none of it"
            )
        files = self._index.files(name)
        if not files:
            return Facts(lacking="the index has no project of that name")
        same = of_version(files, wanted)
        if not same:
            return Facts(lacking="the index has files of it, but none of that version")
        if only and not (same := [file for file in same if file.sha256 in only]):  # 6
            return Facts(lacking="the index has files of that version, but none that is held")
        # What stands on the page is told in any case: who knows the upload knows that the page was read.
        usable = [file for file in same if _installable(file.filename)] or same
        uploaded = _uploaded(usable)
        unsaid = "uploaded" in kinds and not uploaded
        lacking = ["the index does not say when it was uploaded"] if unsaid else []
        page: tuple[FactKind, ...] = ("yanked",) if unsaid else ("uploaded", "yanked")
        named: tuple[str, ...] = ()
        if "licences" in kinds:
            try:
                named = self._licences(same)
            except DmzError as error:
                lacking.append(f"its licence could not be read: {_part(error)}")
        return Facts(
            uploaded=uploaded,
            yanked=_yanked(usable),
            licences=named,
            lacking="; ".join(lacking),
            told=tuple(kind for kind in page if kind in kinds) if lacking else (),
        )

    def _licences(self, files: Sequence[IndexFile]) -> tuple[str, ...]:
        """By the METADATA of one file: wheels first, as only theirs are what a build made.

        Mirrors leave out that they serve a wheel's METADATA, so that is asked for in any case. For a source
        distribution few indexes do: it is fetched itself.
        """
        file = min(files, key=lambda f: (not f.filename.endswith(".whl"), f.metadata is None, f.filename))
        if self._pkg_info and file.metadata is None and not file.filename.endswith(".whl"):
            return licences(self._pkg_info(file), f"PKG-INFO of {file.filename}")
        url = f"{file.url}.metadata"
        answer = http.get(self._client, url, _MAX_METADATA)
        if answer is None:
            raise Permanent(f"the index serves no metadata beside {file.filename}.")
        if file.metadata and sha256(answer.body) != f"sha256:{file.metadata}":  # 3
            raise Permanent(
                f"{url} has the content {sha256(answer.body)}, not sha256:{file.metadata} as the page says."
            )
        return licences(answer.body, url)


def _installable(filename: str) -> bool:
    """False for a wheel that is for Windows, macOS and the like alone, or for another C library than Debian's."""
    if not filename.endswith(".whl"):
        return True
    platforms = filename.removesuffix(".whl").rpartition("-")[2].split(".")
    return any(platform == "any" or platform.startswith(("linux", "manylinux")) for platform in platforms)


def _uploaded(files: Iterable[IndexFile]) -> str:
    """When the last of them was uploaded, to the second; empty if the index does not say it of each."""
    try:
        moments = [datetime.fromisoformat(file.uploaded).astimezone(UTC) for file in files]
    except (ValueError, OverflowError):
        return ""
    return max(moments).strftime("%Y-%m-%dT%H:%M:%SZ")  # 5


def _yanked(files: Sequence[IndexFile]) -> str | None:
    """The reasons given, if any of them is yanked."""
    yanked = [file for file in files if file.yanked]  # 5
    if not yanked:
        return None
    reasons = sorted({printable(" ".join(file.yank_reason.split()), _MAX_REASON) for file in yanked} - {""})
    return printable("; ".join(reasons), _MAX_REASON)


def _late(seconds: float) -> Facts:
    return Facts(lacking=f"the index did not answer within {seconds:.0f} seconds")


def _part(error: DmzError) -> str:
    """A sentence as the part of one."""
    return printable(" ".join(str(error).split()).removesuffix("."), 300)
