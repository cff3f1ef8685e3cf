"""Keeps VMs from filling the host's disk: their files live on it, and a hostile guest writes as fast as it can.

A cloud VM has a disk of its own; here VMs share the host's, so the guard stands at the host's end: below RESERVE free
bytes no VM boots, those with a way out are ended first (they run strangers' code), then the others.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from shared.errors import Permanent

RESERVE = 2 * 2**30
_PERIOD = 0.5
_log = logging.getLogger(__name__)


class Endable(Protocol):
    """What the guard needs of a VM."""

    @property
    def internet(self) -> bool: ...
    @property
    def alive(self) -> bool: ...
    def end(self, reason: str) -> None: ...


def free(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def require_room(directory: Path) -> None:
    """Permanent if the disk of `directory` is too full for another VM."""
    if (left := free(directory)) < RESERVE:
        raise Permanent(
            f"The disk of {directory} has {left // 2**20} MB left; VMs need {RESERVE // 2**20} MB: free some space."
        )


class Guard:
    """Watches the disk of `directory` while VMs run."""

    def __init__(self, directory: Path, running: Callable[[], Iterable[Endable]]) -> None:
        self._directory, self._running = directory, running
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="disk-guard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD):
            vms = [vm for vm in self._running() if vm.alive]
            if vms and free(self._directory) < RESERVE:
                self._relieve(vms)

    def _relieve(self, vms: list[Endable]) -> None:
        reason = f"the host's disk has less than {RESERVE // 2**20} MB left"
        _log.error("%s: VMs are ended", reason)
        for vm in [vm for vm in vms if vm.internet] or vms:
            with suppress(OSError):  # it may be on its way out: then its directory is gone
                vm.end(reason)
