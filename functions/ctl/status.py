"""`./dmz status`: of everything, or of one run."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from functions.ctl import bill, commands
from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Records, Unreachable, records
from functions.ctl.summary import wrap
from functions.local.layout import Layout
from shared.delivery import ENDED
from shared.errors import DmzError, Transient
from shared.model.value import printable

_RUN = re.compile(r"run-[0-9a-f]{12}", re.ASCII)


def status(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    if not (arguments.run or arguments.watch):
        if arguments.project:
            return commands.status_of(
                arguments.project, arguments.inner_project, os.environ, as_json=arguments.json
            )
        return commands.status(layout, as_json=arguments.json)
    if arguments.run:
        checked(arguments.run)
    try:
        stored = records(layout, arguments.project)
        run_id = arguments.run or _only(stored)
        run: Mapping[str, Any] = stored.run(run_id)
        if arguments.watch:
            from functions.ctl.watching import json_lines, watched

            show = json_lines() if arguments.json else None
            run = watched(stored, run_id, layout, bool(arguments.project), show)
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    if arguments.json and not arguments.watch:
        print(json.dumps({"run_id": run_id, **run}, default=str))
    elif not arguments.json:
        width = _width()
        for line in shown(stored, run_id, run, layout, bool(arguments.project)):
            print("\n".join(wrap(line, width)))
    return 1 if run.get("state") == "failed" else 0


def checked(run_id: str) -> str:
    """BadInput if that is no run's id."""
    if not _RUN.fullmatch(run_id):
        raise BadInput(
            f"'{printable(run_id, 60)}' is no run's id, like run-0123456789ab; ./dmz status lists those that there are."
        )
    return run_id


def shown(stored: Records, run_id: str, run: Mapping[str, Any], layout: Layout, paid: bool) -> Iterator[str]:
    """One run for a person."""
    from functions.ctl.watching import once

    yield f"{run_id} {_safe(run.get('workload', ''))} {_safe(run.get('state'))} ({_safe(run.get('stage', ''))})"
    try:
        for line in once(stored, run_id, layout):
            seconds = f"{line.seconds:.1f} s" if line.seconds is not None else ""
            yield f"  {line.stage:<11} {line.state:<8} {seconds:>9}  {printable(line.text, 300)}".rstrip()
    except DmzError as error:  # what the run names is gone: what it says itself is shown all the same
        yield f"  {printable(str(error), 500)}"
    if run.get("reason"):
        yield f"  why         {_safe(run['reason'])}"
    if cost := bill.of_run(run, paid):
        yield f"  {cost}"
    yield from again(run)
    if run.get("state") not in ENDED:
        yield f"  ./dmz status {run_id} --watch follows it, ./dmz cancel {run_id} --why … ends it."


def again(run: Mapping[str, Any]) -> Iterator[str]:
    """What was done again because of a replay id, in the order of time."""
    found = [
        (float(each.get("at", 0)), replay_id, topic, each)
        for replay_id, topics in (run.get("replays") or {}).items()
        for topic, each in topics.items()
    ]
    for at, replay_id, topic, each in sorted(found, key=lambda one: one[:3]):
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        sent = ", ".join(_safe(one) for one in each.get("published") or ()) or "nothing"
        yield (
            f"  again       {when} {_safe(each.get('stage'))} handled {_safe(topic)} again (replay id "
            f"{_safe(replay_id)}), and published {sent}"
        )


def _only(stored: Records) -> str:
    running = [run_id for run_id, _ in stored.documents.find("runs", "state", "running")]
    if len(running) != 1:
        listed = f": {', '.join(running[:10])}" if running else ""
        raise BadInput(f"--watch follows one run, and {len(running)} go on{listed}; name one.")
    return running[0]


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _safe(value: object) -> str:
    return printable(str(value), 4000)
