"""Which advisories and which policy a local platform judges by.

OSV publishes all records of an ecosystem as one zip (https://google.github.io/osv.dev/data/#data-dumps). Where the
zips cannot be reached, the snapshot that comes with the project serves, under the policy that names itself offline.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

import shared.data
from shared.errors import Permanent
from shared.policy.read import find

_DUMPS = "https://osv-vulnerabilities.storage.googleapis.com"
_ECOSYSTEMS = ("PyPI", "Debian")
SNAPSHOT = Path(shared.data.__file__).parent / "advisories"
SNAPSHOT_NAME, ZIPS_NAME = "snapshot carried by the project", "osv.dev zips"
_FRESH = 3600.0
"""Seconds for which a download is not asked for again."""
_USABLE = 24 * 3600.0
"""Seconds for which an earlier download is better than the snapshot when OSV cannot be reached."""
# A dead network must not delay a run; a slow one may take its time.
_TIMEOUT = httpx.Timeout(20.0, connect=3.0)
_CHUNK = 1 << 20
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What the stages are configured with, and what a person is told about it."""

    policy: str
    advisories: str
    name: str
    note: str

    def environment(self) -> dict[str, str]:
        return {
            "DMZ_POLICY": self.policy,
            "DMZ_ADVISORIES": self.advisories,
            "DMZ_ADVISORIES_NAME": self.name,
        }


def choose(cache: Path, policy: str, advisories: str, progress: Progress, dumps: str = _DUMPS) -> Choice:
    """What the user named (`policy`: a name or a file, `advisories`: a directory or OSV.dev's address), else current
    data, else the snapshot. Permanent if what was named cannot be used."""
    if policy:
        find(policy)
        # A stage does not run in the user's working directory.
        policy = os.fspath(Path(policy).absolute()) if Path(policy).exists() else policy
    if advisories:
        return _named(policy or "default", advisories)
    directory = cache / "osv"
    try:
        for ecosystem in _ECOSYSTEMS:
            refresh(directory / ecosystem / "all.zip", f"{dumps}/{ecosystem}/all.zip", progress)
    except (httpx.HTTPError, OSError, zipfile.BadZipFile) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        if all(_age(directory / ecosystem / "all.zip") < _USABLE for ecosystem in _ECOSYSTEMS):
            note = f"OSV.dev's data cannot be reached ({why}): the last download serves."
            return Choice(policy or "default", os.fspath(directory), ZIPS_NAME, note)
        note = f"OSV.dev's data cannot be reached ({why}): the project's snapshot serves, policy {policy or 'offline'}."
        return Choice(policy or "offline", os.fspath(SNAPSHOT), SNAPSHOT_NAME, note)
    return Choice(policy or "default", os.fspath(directory), ZIPS_NAME, "Advisories are current (OSV.dev).")


def refresh(path: Path, url: str, progress: Progress) -> None:
    """Download `url` to `path` unless that is fresh or unchanged; whole or not at all."""
    if _age(path) < _FRESH:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    tag, partial = path.with_suffix(".etag"), path.with_suffix(".partial")
    headers = {"If-None-Match": tag.read_text()} if tag.exists() and path.exists() else {}
    with httpx.stream("GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            os.utime(path)
            return
        answer.raise_for_status()
        received = 0
        with partial.open("wb") as file:
            for chunk in answer.iter_bytes(_CHUNK):
                file.write(chunk)
                received += len(chunk)
                progress(f"advisories of {path.parent.name}: {received / 1e6:.0f} MB")
    with zipfile.ZipFile(partial) as content:
        if not content.namelist():
            raise zipfile.BadZipFile(f"{url} holds no record")
    tag.unlink(missing_ok=True)
    partial.replace(path)
    if etag := answer.headers.get("etag"):
        tag.write_text(etag)


def _named(policy: str, advisories: str) -> Choice:
    if advisories.startswith(("https://", "http://")):
        return Choice(policy, advisories, "osv.dev api", f"Advisories come from {advisories}.")
    directory = Path(advisories).absolute()
    if not directory.is_dir():
        raise Permanent(
            f"There is no directory of advisories at {directory}: give one with ECOSYSTEM/all.zip in it, as "
            "osv-scanner's offline mode keeps them."
        )
    if directory == SNAPSHOT:
        return Choice(
            policy, os.fspath(directory), SNAPSHOT_NAME, "Advisories come from the project's snapshot."
        )
    return Choice(policy, os.fspath(directory), os.fspath(directory), f"Advisories come from {directory}.")


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
