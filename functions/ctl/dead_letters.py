"""`./dmz dead-letters`: what no stage could handle, listed, shown, replayed or dropped.

1. A letter leaves the list only after what was asked for is published: whoever is killed in between finds it again.
2. Done twice it counts once. The ids of a replay and of a drop follow from the letter; the stages know them again.
3. A token is never shown, and what was hidden when the letter was kept is never sent on.
4. What would come back at once (it cannot be read), or change nothing (its run has ended), is refused.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.ctl import bill
from functions.ctl.ending import login
from functions.ctl.held import Held, held, pulled
from functions.ctl.inputs import BadInput
from functions.ctl.publishing import LOCAL, Publish, publisher
from functions.ctl.stored import UNREACHABLE, Unreachable, records
from functions.local.layout import Layout
from shared.dead_letters import Letter
from shared.delivery import ENDED
from shared.errors import DmzError, Permanent, Transient
from shared.events import DeadLetterDropped, Event, derived_id, timestamp
from shared.letters import about, again, shown
from shared.model.value import printable, sha256


@dataclass(frozen=True)
class Desk:
    """Where letters lie, how is published, and how a run has ended (empty: it has not, or nobody knows it)."""

    held: Held
    publish: Publish
    ended: Callable[[str], str]
    clock: Callable[[], float] = time.time


def dead_letters(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code; BadInput for what is wrong before anything is read."""
    _check(arguments)
    try:
        place = held(arguments.project, layout)
        publish = publisher(arguments.project or LOCAL, layout)

        def ended(run_id: str) -> str:
            run = records(layout, arguments.project).documents.get("runs", run_id) or {}
            return str(run["state"]) if run.get("state") in ENDED else ""

        desk = Desk(place, publish, ended)
        match arguments.action:
            case "list":
                return listed(desk, arguments.json)
            case "show":
                return show(desk, arguments.id, arguments.json)
            case "replay":
                return replay(desk, arguments.id, arguments.json)
        return drop(desk, arguments.id, arguments.why, arguments.by or login(), arguments.json)
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE


def _check(arguments: argparse.Namespace) -> None:
    action = arguments.action
    if action == "list" and arguments.id:
        raise BadInput("./dmz dead-letters list takes no ID; ./dmz dead-letters show ID prints one.")
    if action != "list" and not arguments.id:
        raise BadInput(
            f"./dmz dead-letters {action} needs the ID of a letter; ./dmz dead-letters lists them."
        )
    if action == "drop" and not arguments.why:
        raise BadInput("--why is missing: whoever reads of the dropped letter later must know.")
    if action != "drop" and (arguments.why or arguments.by):
        raise BadInput(f"--why and --by mean nothing for ./dmz dead-letters {action}.")


# --- looking ---


def listed(desk: Desk, as_json: bool) -> int:
    now = desk.clock()
    with pulled(desk.held) as letters:
        found = [summary(letter, now) for letter in letters]
    if as_json:
        print(json.dumps(found))
        return 0
    for each in found:
        about = f" {each['run_id']}" if each["run_id"] else ""
        print(
            f"{each['id']}  {each['topic'] or 'an unknown topic'}{about}, {bill.age(each['age_seconds'])} old"
        )
        print(f"    {each['reason']}")
    if not found:
        print("There are no dead letters.")
    return 0


def show(desk: Desk, id: str, as_json: bool) -> int:
    with pulled(desk.held) as letters:
        letter = _found(letters, id)
    about = summary(letter, desk.clock())
    body = shown(letter)
    if as_json:
        print(json.dumps({**about, "attributes": dict(letter.attributes), "body": body}))
        return 0
    for name in ("id", "topic", "run_id", "published", "reason"):
        print(f"{name:<10} {about[name]}")
    for name, value in sorted(letter.original().items()):
        print(f"{'attribute':<10} {printable(name, 256)}={printable(value, 1024)}")
    print(body)
    return 0


def summary(letter: Letter, now: float) -> dict[str, Any]:
    """What the list has of it."""
    try:
        age = max(0.0, now - datetime.fromisoformat(letter.published).astimezone(UTC).timestamp())
    except ValueError:
        age = 0.0
    return {
        "id": printable(letter.id, 64),
        "topic": printable(letter.topic, 300),
        "run_id": about(letter),
        "reason": printable(letter.reason, 2000),
        "published": printable(letter.published, 40),
        "age_seconds": round(age, 1),
    }


def _found(letters: Iterable[Letter], id: str) -> Letter:
    for letter in letters:
        if letter.id == id:
            return letter
    raise BadInput(
        f"There is no dead letter '{printable(id, 64)}' now; ./dmz dead-letters lists those that there are. One that "
        "somebody else looks at is back within a minute."
    )


# --- replaying ---


def replay(desk: Desk, id: str, as_json: bool) -> int:
    """1 if it cannot be done; then it stays on the list."""
    with pulled(desk.held) as letters:
        letter = _found(letters, id)
        event = again(letter)
        if (state := _ended(desk, event)) and event.type not in _AFTER_THE_END:
            raise Permanent(
                f"The run {event.run_id} has {state}, and stages do nothing more in it: submit the workload again, "
                f"then ./dmz dead-letters drop {printable(letter.id, 64)}."
            )
        try:
            desk.publish(event)
        except Permanent as error:
            raise Permanent(f"{error} The letter stays. {_rights(event.type)}") from error
        desk.held.acknowledge([letter])  # 1
        letters.remove(letter)
    said = {"id": letter.id, "topic": event.type, "event_id": event.id, "replay_id": event.replay_id}
    if as_json:
        print(json.dumps(said | {"run_id": event.run_id}))
        return 0
    under = f" under the replay id {event.replay_id}" if event.replay_id else " as it was"
    print(f"{event.type} {event.id} was published again{under}, and the letter is off the list.")
    if event.run_id:
        print(f"./dmz status {event.run_id} says what comes of it.")
    return 0


_AFTER_THE_END = ("run-failed", "run-requested", "cancel-requested")
"""A run that failed may still have VMs to delete; a request that is given up becomes another run."""


def _ended(desk: Desk, event: Event) -> str:
    if not event.run_id:
        return ""
    try:
        return desk.ended(event.run_id)
    except DmzError:
        return ""  # the stage itself looks; nothing is done twice


def _rights(topic: str) -> str:
    return (
        f"If it is the right that is missing: roles/pubsub.publisher on the topic {topic}, which operators have for "
        "the events that are theirs; somebody with more rights may replay it, or grant it for an hour."
    )


# --- dropping ---


def drop(desk: Desk, id: str, why: str, by: str, as_json: bool) -> int:
    with pulled(desk.held) as letters:
        letter = _found(letters, id)
        event = dropped(letter, why, by, desk.clock())
        desk.publish(event)
        desk.held.acknowledge([letter])  # 1
        letters.remove(letter)
    if as_json:
        print(json.dumps({"id": letter.id, "topic": letter.topic, "event_id": event.id}))
    else:
        print(f"The letter {letter.id} is off the list; ./dmz decisions has who dropped it and why.")
    return 0


def dropped(letter: Letter, why: str, by: str, now: float) -> Event:
    """What the outer stage writes into the decision log; BadInput if the words are none."""
    run_id = about(letter)
    given = {
        "message": re.sub(r"[^A-Za-z0-9_-]", "-", letter.id)[:64] or "unknown",
        "topic": printable(letter.topic, 300),
        "run": run_id if re.fullmatch(r"run-[0-9a-f]{12}", run_id) else "",
        "body": sha256(letter.body),
        "failure": printable(letter.reason, 2000)[:2000],
        "reason": why,
        "by": by,
    }
    try:
        data = DeadLetterDropped.check(given, "What is said of the letter")
    except Permanent as error:
        raise BadInput(str(error)) from error
    id = derived_id("", "dead-letter-dropped", data.subject)  # 2
    return Event("dead-letter-dropped", id, "/package-dmz/ctl", timestamp(now), data)
