"""Follows a run to its end on the terminal: a live table, or a line for each change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from functions.ctl.display import Display
from functions.ctl.follow import Follower
from functions.ctl.news import News
from functions.ctl.progress import Line, Seen, lines
from functions.ctl.stored import Records
from functions.local import platform
from functions.local.layout import Layout
from shared.errors import Permanent

_UNHEARD = 180.0
"""Seconds in which a request becomes a run: a stage may have to start first."""
_PAUSE_CLOUD = 2.0
"""Seconds between two readings that Google asks money for."""


def watched(
    stored: Records, run_id: str, layout: Layout, cloud: bool, show: Callable[[Seen], None] | None = None
) -> Mapping[str, Any]:
    """The run's document when it has ended. `show` is given each state; else it goes to standard error.

    Permanent if it does not begin, or its platform ends.
    """
    follower = Follower(stored, run_id, layout.machines)
    if cloud:
        follower.pause = _PAUSE_CLOUD
    deadline, news = time.monotonic() + _UNHEARD, News(layout)

    def trouble() -> str:
        if not cloud and platform.read(layout.platform) is None:
            return platform.ended(layout) or "The platform was ended while the run was under way."
        if not follower.run and time.monotonic() > deadline:
            return (
                f"The run {run_id} has not begun within {_UNHEARD:.0f} s: see ./dmz dead-letters, whether its request "
                "is there with the reason why not."
            )
        return ""

    if show:
        follower.follow(show, trouble)
        return follower.run
    from rich.console import Console

    console = Console(stderr=True)

    def told(seen: Seen) -> None:
        for said in () if cloud else news.fresh():
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        display.show(lines(seen))

    with Display(console) as display:
        follower.follow(told, trouble)
    return follower.run


def json_lines() -> Callable[[Seen], None]:
    """Prints a JSON object whenever a stage changes its state."""
    last: list[object] = []

    def show(seen: Seen) -> None:
        stages = {line.stage: line.state for line in lines(seen)}
        state = seen.run.get("state")
        if last != [state, stages]:
            last[:] = [state, stages]
            said = {"at": seen.now, "state": state, "stages": stages, "reason": seen.run.get("reason", "")}
            print(json.dumps(said), flush=True)

    return show


def once(stored: Records, run_id: str, layout: Layout) -> tuple[Line, ...]:
    """How it stands now, stage by stage. Permanent if what it names cannot be read."""
    seen = Follower(stored, run_id, layout.machines).look()
    if not seen.run:
        raise Permanent(f"The run {run_id} is not there any more.")
    return lines(seen)
