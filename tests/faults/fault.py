"""What a kind of fault makes: something that is going to be injected, and what it may do to a run."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.kit import Kit, Round

STAGES = ("outer", "scanner", "sync", "inner")


@dataclass(frozen=True)
class Fault:
    """One that is going to be injected."""

    what: str
    """For the line of progress."""
    work: Callable[[], None]
    """Runs beside the round; returns soon after its end. What it leaves, `Kit.calm` takes away."""
    marks: tuple[str, ...] = ()
    """One of these regular expressions is found in the reason of a run that it fails; none: every run completes."""
    falls: float = 0.0
    """Seconds after which the supervisor is killed (`tests.faults.fall`); 0: never."""
    kills: bool = False
    """A process that dies leaves its temporary files to whoever cleans up after the platform."""


Make = Callable[["Kit", "Round", random.Random], Fault]
