"""A platform that is up: where its parts answer. Written by the supervisor, read by the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from functions.local.layout import Layout
from functions.local.processes import Process
from shared.errors import Permanent
from shared.model.value import printable


@dataclass(frozen=True)
class Platform:
    """One running platform. The state directory's `platform.json`."""

    pid: int
    started: int
    """Start of the supervisor in clock ticks since boot: with the pid it names one process for ever."""
    name: str
    """`emulators (SDK)`, `emulators (Docker)` or `memory`: shown in reports."""
    project: str
    seconds: float
    """From the supervisor's start until everything answered."""
    addresses: dict[str, str]
    """Part to HOST:PORT."""
    pids: dict[str, int]
    environment: dict[str, str]
    """What a client of the platform runs with."""
    gcloud: dict[str, str]
    """What points gcloud at the platform."""
    policy: str
    advisories: str
    advisories_name: str
    notices: list[str] = field(default_factory=list)
    """What has happened to it that its users should know, each in a sentence."""

    @property
    def alive(self) -> bool:
        return Process(self.pid, self.started).alive

    def write(self, path: Path) -> None:
        """Whole or not at all, and for the owner's eyes: it names a token."""
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600, exist_ok=False)
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(path)


def read(path: Path) -> Platform | None:
    """The platform that is up in this state directory, if any."""
    try:
        platform = Platform(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Permanent(f"{path} cannot be read ({error}); delete it and run ./dmz down.") from error
    return platform if platform.alive else None


def ended(layout: Layout) -> str:
    """Why the last platform of this state directory ended by itself; empty if it did not."""
    try:
        return printable(layout.ended.read_text(errors="replace").strip(), 2000)
    except OSError:
        return ""
