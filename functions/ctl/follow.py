"""Follows a run through its documents until it ends."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from functions.ctl.documents import Contents, Documents
from functions.ctl.progress import Seen
from shared.errors import Permanent, Transient
from shared.machines import Kind, vm_name
from shared.model.lock import Lock
from shared.model.verdict import Verdicts
from shared.ports.store import Document

KINDS: tuple[Kind, ...] = ("outer", "inner")
_PAUSE = 0.2
_TAIL_BYTES = 64 * 1024
_T = TypeVar("_T")


def unless(trouble: Callable[[], str], call: Callable[[], _T]) -> _T:
    """`call`, given up as soon as there is `trouble`: the client of a store that has gone waits for a minute."""
    done: list[_T] = []
    failed: list[Exception] = []

    def perform() -> None:
        try:
            done.append(call())
        except Exception as error:  # raised below, where somebody waits
            failed.append(error)

    caller = threading.Thread(target=perform, name="call", daemon=True)
    caller.start()
    caller.join(_PAUSE)
    while caller.is_alive():
        if why := trouble():
            raise Permanent(why)
        caller.join(_PAUSE)
    if failed:
        raise failed[0]
    return done[0]


_STEP = re.compile(r"[0-9TZ:-]{20} dmz: (.+)", re.ASCII)
"""As the guest's console writes a step: the time, then its words."""


class Reads(Protocol):
    """What a run is followed through."""

    @property
    def documents(self) -> Documents: ...
    @property
    def blobs(self) -> Contents: ...


@dataclass
class Follower:
    """One run on one platform. What it has read once and cannot change it keeps."""

    connection: Reads
    run_id: str
    machines: Path
    """State directory of the TPU emulator."""
    run: Document = field(default_factory=dict)
    judged: Verdicts | None = None
    """What `verdicts` has read."""
    pause: float = _PAUSE
    """Seconds between two readings."""
    _steps: dict[str, str] = field(default_factory=dict)

    def follow(self, show: Callable[[Seen], None], trouble: Callable[[], str]) -> None:
        """Until the run has ended. `trouble` says why it never will, empty as long as it may; that is Permanent."""
        while True:
            try:
                seen = unless(trouble, self.look)
                show(seen)
                if seen.run.get("state") in ("completed", "failed"):
                    return
            except Transient:
                pass  # a store that does not answer is asked again, unless the platform has ended
            if why := trouble():
                raise Permanent(why)
            time.sleep(self.pause)

    def look(self) -> Seen:
        """One reading of everything that is shown."""
        documents = self.connection.documents
        self.run = documents.get("runs", self.run_id) or self.run
        progress = documents.get("progress", f"{self.run_id}-sync") if self._is_running("sync") else None
        verdicts = self.verdicts()
        counted = Counter(verdict.decision for verdict in verdicts.verdicts) if verdicts else Counter[str]()
        return Seen(
            run=self.run,
            progress={"sync": progress} if progress else {},
            console={kind: self._console(kind) for kind in ("outer", "inner") if self._is_running(kind)},
            verdicts={decision: counted[decision] for decision in ("allow", "hold", "block")}
            if verdicts
            else {},
            now=time.time(),
        )

    def verdicts(self) -> Verdicts | None:
        digest = self.run.get("verdicts")
        if digest and self.judged is None:
            self.judged = Verdicts.read(self.connection.blobs.get(digest), f"The verdicts {digest}")
        return self.judged

    def records(self) -> dict[str, Document]:
        """The records of the run's VMs, by kind."""
        found = {kind: self.connection.documents.get("vms", vm_name(kind, self.run_id)) for kind in KINDS}
        return {kind: record for kind, record in found.items() if record}

    def lock(self) -> Lock | None:
        digest = self.run.get("lock")
        return Lock.read(self.connection.blobs.get(digest), f"The lock {digest}") if digest else None

    def _is_running(self, stage: str) -> bool:
        times: Mapping[str, float] = self.run.get("stages", {}).get(stage, {})
        return "started" in times and "ended" not in times

    def _console(self, kind: str) -> str:
        """Which step the guest is at, and the last line of the VM's serial console."""
        name = vm_name("outer" if kind == "outer" else "inner", self.run_id)
        try:
            with (self.machines / "vms" / name / "serial.log").open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        except OSError:
            return ""
        last = next((line for line in reversed(lines) if line), "")
        steps = (found[1] for line in reversed(lines) if (found := _STEP.fullmatch(line)))
        # A step may have said so much that its name is out of reach by now.
        self._steps[kind] = step = next(steps, self._steps.get(kind, ""))
        return step if _STEP.fullmatch(last) else f"{step}: {last}" if step else last
