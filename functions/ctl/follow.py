"""Follows a run through its documents until it ends."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from functions.ctl.documents import Connection
from functions.ctl.progress import Seen
from shared.errors import Permanent, Transient
from shared.machines import vm_name
from shared.model.lock import Lock
from shared.model.verdict import Verdicts
from shared.ports import Document

_PAUSE = 0.2
_TAIL_BYTES = 4096


@dataclass
class Follower:
    """One run on one platform. What it has read once and cannot change it keeps."""

    connection: Connection
    run_id: str
    machines: Path
    """State directory of the TPU emulator."""
    run: Document = field(default_factory=dict)
    _verdicts: Verdicts | None = None

    def follow(self, show: Callable[[Seen], None], trouble: Callable[[], str]) -> None:
        """Until the run has ended. `trouble` says why it never will, empty as long as it may; that is Permanent."""
        while True:
            try:
                seen = self._look_unless(trouble)
                show(seen)
                if seen.run.get("state") in ("completed", "failed"):
                    return
            except Transient:
                pass  # a store that does not answer is asked again, unless the platform has ended
            if why := trouble():
                raise Permanent(why)
            time.sleep(_PAUSE)

    def _look_unless(self, trouble: Callable[[], str]) -> Seen:
        """`look`, given up as soon as there is `trouble`: the client of a store that has gone waits for a minute."""
        seen: list[Seen] = []
        failed: list[Exception] = []

        def read() -> None:
            try:
                seen.append(self.look())
            except Exception as error:  # raised below, where somebody waits
                failed.append(error)

        reader = threading.Thread(target=read, name="look", daemon=True)
        reader.start()
        reader.join(_PAUSE)
        while reader.is_alive():
            if why := trouble():
                raise Permanent(why)
            reader.join(_PAUSE)
        if failed:
            raise failed[0]
        return seen[0]

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
        if digest and self._verdicts is None:
            self._verdicts = Verdicts.read(self.connection.blobs.get(digest), f"The verdicts {digest}")
        return self._verdicts

    def lock(self) -> Lock | None:
        digest = self.run.get("lock")
        return Lock.read(self.connection.blobs.get(digest), f"The lock {digest}") if digest else None

    def _is_running(self, stage: str) -> bool:
        times: Mapping[str, float] = self.run.get("stages", {}).get(stage, {})
        return "started" in times and "ended" not in times

    def _console(self, kind: str) -> str:
        """The last line of the VM's serial console."""
        name = vm_name("outer" if kind == "outer" else "inner", self.run_id)
        try:
            with (self.machines / "vms" / name / "serial.log").open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
