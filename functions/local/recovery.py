"""The Pub/Sub emulator after its death: what `functions.local.again` does, begun, awaited and told in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from functions.local.layout import CHECKOUT, Layout
from functions.local.processes import kill_group
from shared.errors import Permanent
from shared.model.value import printable

BROKER = "pubsub"
"""The program that this is about."""


class Recovery:
    """Belongs to the thread that starts the platform's processes, as they do: it ends with the supervisor."""

    def __init__(self, layout: Layout, environment: Mapping[str, str]) -> None:
        self._layout, self._environment = layout, dict(environment)
        self._running: subprocess.Popen[bytes] | None = None
        self._how = ""

    @property
    def under_way(self) -> bool:
        return self._running is not None

    @property
    def _log(self) -> Path:
        return self._layout.logs / "again.log"

    def begin(self, how: str) -> None:
        """The emulator has been started again; `how` it ended. One that is under way is begun anew."""
        self.stop()
        self._how = how
        command = (
            sys.executable,
            "-P",
            "-m",
            "functions.local.again",
            "--state",
            os.fspath(self._layout.home),
        )
        with self._log.open("wb") as log:
            self._running = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
                env={**self._environment, "PYTHONPATH": os.fspath(CHECKOUT)},
                start_new_session=True,
            )

    def finished(self) -> str:
        """What has happened, once and when it is over; empty till then. Permanent if it did not succeed."""
        if self._running is None or (code := self._running.poll()) is None:
            return ""
        self._running = None
        lines = self._log.read_text(errors="replace").split("\n")
        said = printable(next((line.strip() for line in reversed(lines) if line.strip()), ""), 1000)
        if code != 0 or not said.isdigit():
            raise Permanent(
                f"{self._how} It was started again, but not what it held: {said} The platform ends; run the workload "
                "again."
            )
        events = {
            "0": "no event was lost",
            "1": "the 1 event that no stage had finished with was published again",
        }
        held = events.get(said, f"the {said} events that no stage had finished with were published again")
        return f"{self._how} It was started again, and {held}: runs go on."

    def stop(self) -> None:
        if self._running:
            kill_group(self._running.pid)
            self._running.wait()
            self._running = None
