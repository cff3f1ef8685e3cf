"""A round of the kit, how it went, and what was heard in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.fault import Fault


@dataclass
class Round:
    """Some runs, and what happens to them."""

    number: int
    install: str
    apt: list[str]
    files: dict[str, bytes]
    """What upstream has for this round: path to content."""
    pages: dict[str, str]
    """Index pages of this round's packages: path to the package's name."""
    scratch_before: set[str]
    asked: list[str] = field(default_factory=list)
    """Ids of the requests."""
    runs: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def rest(self, seconds: float) -> None:
        """Until then, or until the round is over."""
        self.over.wait(seconds)

    def words(self, path: str) -> tuple[str, ...]:
        """One of these stands in a reason that is about the file."""
        name = path.rsplit("/", 1)[-1]
        if name in ("InRelease", "Packages.xz"):
            return ("InRelease", "Packages", "trixie")
        return (name, name.split("-")[0].split("_")[0])


@dataclass(frozen=True)
class Told:
    """How a round went."""

    number: int
    faults: Sequence[str]
    ends: Sequence[str]
    """Of each run: `completed`, or `failed: ` and why."""
    wrong: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Heard:
    """An event that was published."""

    id: str
    run_id: str
