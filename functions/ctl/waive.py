"""`./dmz waive`: grant, list, show and revoke waivers, by the same events that anybody may publish.

What the scanner would refuse is refused here, before anything is published.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from functions.ctl import waive_shown as shown
from functions.ctl.inputs import BadInput
from functions.ctl.publishing import LOCAL, Publish, publisher
from functions.ctl.stored import UNREACHABLE, Records, Unreachable, records
from functions.local.layout import Layout
from shared import waivers
from shared.errors import Permanent, Transient
from shared.events import Event, Payload, WaiverGranted, WaiverRevoked, timestamp
from shared.model.value import printable
from shared.model.waiver import Waiver

_OWN = {
    "grant": ("workload", "reason", "approver", "until", "days", "until_fixed", "dry_run"),
    "list": ("all", "json"),
    "show": ("json",),
    "revoke": ("reason", "by"),
}
"""Action to the options that mean something for it, `--project` aside."""
_OPTIONS = sorted({name for names in _OWN.values() for name in names})
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ID = re.compile(r"waiver-[0-9a-f]{12}", re.ASCII)
WAIT = 60.0
"""Seconds for the scanner to record what was published; its service may have to start first."""


@dataclass(frozen=True)
class Desk:
    """Where waivers are read and written."""

    stored: Records
    publish: Publish
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def waive(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code; BadInput for what is wrong before anything is published."""
    action = arguments.words[0] if arguments.words[0] in _OWN and arguments.words[0] != "grant" else "grant"
    _check(action, arguments)
    given = _waiver(arguments, time.time()) if action == "grant" else None
    try:
        stored = records(layout, arguments.project)
    except Unreachable as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    desk = Desk(stored, _publisher(arguments.project, layout))
    if given:
        return shown.dry(stored, given) if arguments.dry_run else grant(desk, given)
    match action:
        case "list":
            return shown.listed(stored, time.time(), arguments.all, arguments.json)
        case "show":
            return shown.show(stored, time.time(), arguments.words[1], arguments.json)
        case _:
            return revoke(desk, arguments.words[1], arguments.reason, arguments.by)


def _check(action: str, arguments: argparse.Namespace) -> None:
    """BadInput if an option means nothing for the action, or the action lacks a word."""
    for name in _OPTIONS:
        if getattr(arguments, name) and name not in _OWN[action]:
            what = "a waiver" if action == "grant" else f"./dmz waive {action}"
            raise BadInput(f"--{name.replace('_', '-')} means nothing for {what}; see ./dmz waive --help.")
    wanted = {"grant": (1, 2), "list": (1,), "show": (2,), "revoke": (2,)}[action]
    if len(arguments.words) not in wanted:
        raise BadInput(f"./dmz waive {action} takes other words than these; see ./dmz waive --help.")
    if action in ("show", "revoke") and not _ID.fullmatch(arguments.words[1]):
        raise BadInput(
            f"'{printable(arguments.words[1], 60)}' is no waiver's id, like waiver-0123456789ab; ./dmz waive list "
            "names them."
        )
    needed = {"grant": ("reason", "approver"), "revoke": ("reason", "by")}.get(action, ())
    for name in needed:
        if not getattr(arguments, name):
            raise BadInput(
                f"--{name} is missing: whoever reads of it later must know; see ./dmz waive --help."
            )


def _waiver(arguments: argparse.Namespace, now: float) -> Waiver:
    purls = [word for word in arguments.words if word.startswith("pkg:")]
    ids = [word for word in arguments.words if not word.startswith("pkg:")]
    if len(purls) > 1 or len(ids) > 1:
        raise BadInput(
            "A waiver is about one advisory, one purl, or an advisory in a purl: publish one for each."
        )
    if not (arguments.until or arguments.days):
        raise BadInput("--until or --days is missing: every waiver ends.")
    if arguments.days is not None and not 0 < arguments.days <= waivers.LONGEST.days:
        raise BadInput(f"--days is a number from 1 to {waivers.LONGEST.days}, not {arguments.days}.")
    until = f"{arguments.until}T00:00:00Z" if _DATE.fullmatch(arguments.until) else arguments.until
    given = {
        "advisory": "".join(ids),
        "package": "".join(purls),
        "workload": arguments.workload,
        "reason": arguments.reason,
        "approver": arguments.approver,
        "granted": timestamp(now),
        "expires": until or timestamp(now + arguments.days * 86_400),
        "until_fixed": arguments.until_fixed,
    }
    try:
        made = Waiver.check(given, "The waiver")
        waivers.check(made, now)
    except Permanent as error:
        raise BadInput(str(error)) from error
    return made


def _publisher(project: str, layout: Layout) -> Publish:
    def publish(event: Event) -> None:
        publisher(project or LOCAL, layout)(event)

    return publish


# --- granting and revoking ---


def grant(desk: Desk, given: Waiver) -> int:
    """Publish it, and wait until it is recorded."""
    sent = _send(desk, "waiver-granted", WaiverGranted(waiver=given))
    if not _recorded(desk, given.id, "granted"):
        return _unheard(given.id, sent)
    print(f"{given.id} is in force: {waivers.words(given)}.")
    print(f"{given.approver} answers for it: {given.reason}.")
    print("What the repositories hold is judged again, and so are the runs to come.")
    return 0


def revoke(desk: Desk, id: str, reason: str, by: str) -> int:
    """Publish the revocation, and wait until it is recorded."""
    fields = shown.known(desk.stored, id)
    if why := waivers.ended(fields, desk.clock()):
        raise BadInput(f"{id} {why}: there is nothing to revoke.")
    try:
        data = WaiverRevoked.check({"waiver": id, "reason": reason, "by": by}, "The revocation")
    except Permanent as error:
        raise BadInput(str(error)) from error
    sent = _send(desk, "waiver-revoked", data)
    if not _recorded(desk, id, "revoked"):
        return _unheard(id, sent)
    print(f"{id} is revoked: {by}, {reason}.")
    leaning = [run_id for run_id, run in shown.last_runs(desk.stored) if id in shown.leans(run)]
    if leaning:
        print(f"Of the last {shown.RUNS} runs these leaned on it: {', '.join(leaning)}.")
    print("What it admitted is judged again.")
    return 0


def _send(desk: Desk, topic: str, data: Payload) -> str:
    """The event's id."""
    event = Event(topic, uuid.uuid4().hex, "/package-dmz/ctl", timestamp(desk.clock()), data)
    desk.publish(event)
    return event.id


def _recorded(desk: Desk, id: str, state: str) -> bool:
    deadline = desk.clock() + WAIT
    while True:
        try:
            if (desk.stored.documents.get("waivers", id) or {}).get("state") == state:
                return True
        except Transient:
            pass  # a store that does not answer is asked again
        if desk.clock() >= deadline:
            return False
        desk.sleep(0.3)


def _unheard(id: str, event_id: str) -> int:
    print(
        f"dmz: the event {event_id} about {id} was published, and the scanner has not recorded it in {WAIT:.0f} s: see "
        "./dmz waive list later, and whether the subscription dead-letters-hold has it with the reason why not.",
        file=sys.stderr,
    )
    return 1
