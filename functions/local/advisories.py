"""Which advisories and which policy a local platform judges by.

OSV publishes all records of an ecosystem as one zip (https://google.github.io/osv.dev/data/#data-dumps); CISA's
catalogue of exploited flaws and FIRST's estimates come from where these publish them. Where the zips cannot be reached,
the snapshot that comes with the project serves, under the policy that names itself offline.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import shared.data
from shared.advisories.download import BUCKET, download, download_exploitation
from shared.advisories.joined import EPSS_URL, KEV_URL
from shared.errors import DmzError, Permanent
from shared.policy.read import find

_ECOSYSTEMS = ("PyPI", "Debian")
_NEEDED = ("PyPI", "Debian")
"""What a directory that the user names must hold: local VMs are Debian's."""
SNAPSHOT = Path(shared.data.__file__).parent / "advisories"
SNAPSHOT_NAME, ZIPS_NAME = "snapshot carried by the project", "osv.dev zips"
_USABLE = 24 * 3600.0
"""Seconds for which an earlier download is better than the snapshot when OSV cannot be reached."""
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


def check(policy: str, advisories: str) -> None:
    """Permanent if what the user named cannot be used; nothing is fetched."""
    if policy:
        find(policy)
    if advisories:
        _named(policy or "default", advisories)


def choose(
    cache: Path,
    policy: str,
    advisories: str,
    progress: Progress,
    url: str = BUCKET,
    exploitation: tuple[str, str] = (KEV_URL, EPSS_URL),
) -> Choice:
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
        download(
            directory,
            _ECOSYSTEMS,
            url,
            progress=lambda name, size: progress(f"advisories of {name}: {size >> 20} MB"),
        )
    except DmzError as error:
        if all(_age(directory / name / "all.zip") < _USABLE for name in _ECOSYSTEMS):
            return Choice(
                policy or "default", os.fspath(directory), ZIPS_NAME, f"{error} The last download serves."
            )
        note = f"{error} The project's snapshot serves, under the policy {policy or 'offline'}."
        return Choice(policy or "offline", os.fspath(SNAPSHOT), SNAPSHOT_NAME, note)
    note = "Advisories are current (OSV.dev)."
    try:
        download_exploitation(
            directory,
            *exploitation,
            progress=lambda name, size: progress(f"what is exploited, {name}: {size / (1 << 20):.1f} MB"),
        )
    except DmzError as error:
        # What an earlier download left serves under its own date; without one nobody is told "not exploited".
        note = f"{note} What is exploited is not: {error}"
    return Choice(policy or "default", os.fspath(directory), ZIPS_NAME, note)


def _named(policy: str, advisories: str) -> Choice:
    if advisories.startswith(("https://", "http://")):
        return Choice(policy, advisories, "osv.dev api", f"Advisories come from {advisories}.")
    directory = Path(advisories).absolute()
    if not directory.is_dir():
        raise Permanent(
            f"There is no directory of advisories at {directory}: give one with ECOSYSTEM/all.zip in it, as "
            "osv-scanner's offline mode keeps them."
        )
    for ecosystem in _NEEDED:
        if not zipfile.is_zipfile(directory / ecosystem / "all.zip"):
            raise Permanent(
                f"There is no zip of advisories at {directory / ecosystem / 'all.zip'}: the directory needs "
                f"{' and '.join(f'{name}/all.zip' for name in _NEEDED)}, as osv-scanner's offline mode keeps them."
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
