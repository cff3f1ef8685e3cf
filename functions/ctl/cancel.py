"""`./dmz cancel`: a run that goes on is ended, by an event; its stage writes the end, once."""

from __future__ import annotations

import argparse
import json
import sys

from functions.ctl.ending import Desk, ask, login
from functions.ctl.inputs import BadInput
from functions.ctl.publishing import LOCAL, publisher
from functions.ctl.status import checked
from functions.ctl.stored import UNREACHABLE, Unreachable, records
from functions.local.layout import Layout
from shared.delivery import ENDED
from shared.errors import Permanent, Transient
from shared.events import CancelRequested

WAIT = 120.0
"""Seconds for the outer stage to end it; its service may have to start first."""


def cancel(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code; BadInput for what is wrong before anything is published."""
    run_id = checked(arguments.run)
    given = {"run_id": run_id, "reason": arguments.why, "by": arguments.by or login()}
    try:
        data = CancelRequested.check(given, "The cancellation")
    except Permanent as error:
        raise BadInput(str(error)) from error
    try:
        desk = Desk(records(layout, arguments.project), publisher(arguments.project or LOCAL, layout))
        return end(desk, data, arguments.json)
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE


def end(desk: Desk, data: CancelRequested, as_json: bool) -> int:
    """0 if the run has not completed."""
    run = desk.stored.run(data.run_id)
    before = run.get("state")
    if before not in ENDED:
        run = ask(desk, data, WAIT)
        if run.get("state") not in ENDED:
            print(
                f"dmz: cancel-requested was published, and {data.run_id} has not ended in {WAIT:.0f} s: see "
                "./dmz dead-letters, and ./dmz status later.",
                file=sys.stderr,
            )
            return 1
    state, reason = str(run.get("state")), str(run.get("reason", ""))
    if as_json:
        said = {"run_id": data.run_id, "state": state, "reason": reason, "had_ended": before in ENDED}
        print(json.dumps(said))
    elif before in ENDED:
        print(f"{data.run_id} had {state} already{f': {reason}' if reason else '.'}")
    else:
        print(f"{data.run_id} {state}{f': {reason}' if reason else '.'}")
    return 0 if state == "failed" else 1
