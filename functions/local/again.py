"""`python -m functions.local.again --state DIR`: Pub/Sub's emulator was started again, and knows nothing.

1. Topics and subscriptions are made again: the platform's, and those that data services pull from.
2. What was published and no stage has finished with is published again, as it was: the claims in Firestore tell. A
   stage that is at work on it, or has done it meanwhile, takes it for the duplicate that it is.
3. Returns once the stages have taken the VMs' reports: until then the watchdog must not look for VMs that are silent.

Prints how many events were published again; what goes wrong is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from functions.local import platform, project
from functions.local.layout import layout
from functions.local.platform import Platform
from functions.local.ports import speaks_http
from functions.local.pubsub import PubSub
from functions.local.sending import send
from shared import journal
from shared.errors import DmzError, Permanent
from shared.events import REPORTS, SUBSCRIBERS, Delivery, decode
from shared.gcp.firestore import FirestoreStore
from shared.journal import Message
from shared.ports.store import Store

_SECONDS = 90.0
"""Within which the emulator answers; and, after that, within which the reports are taken."""
_PAUSE = 0.1
_LATELY = 60.0
"""Seconds. Of what has no stage to finish with it, only so much is published again: who listens has heard the rest."""
_OLD = 24 * 3600.0
"""Past every run: what nobody has finished with by then, nobody will."""


@dataclass(frozen=True)
class Redrive:
    """What was written down, against what the stages have done."""

    store: Store
    place: Path
    now: float

    def unfinished(self) -> Iterator[Message]:
        """The oldest first, each once."""
        seen = set()
        for message in journal.messages(self.place):
            claims = _claims(message)
            if message.at < self.now - _OLD or (claims and claims in seen):
                continue
            seen.add(claims)
            if not self.finished(message):
                yield message

    def finished(self, message: Message) -> bool:
        claims = _claims(message)
        if not claims:
            return message.at < self.now - _LATELY
        return all((self.store.get("claims", claim) or {}).get("done") for claim in claims)


def _claims(message: Message) -> tuple[str, ...]:
    """What the stages that get it write about it; none if no stage does, or nobody can tell its id."""
    try:
        event = decode(Delivery(message.body, message.topic, message.attributes))
    except Permanent:
        return ()
    if event.data.entry and event.id != message.attributes.get("ce-id"):
        return ()  # its id follows from a message that is no more
    return tuple(
        f"{stage}:{event.type}:{event.id}" for stage, topics in SUBSCRIBERS.items() if event.type in topics
    )


def again(up: Platform, place: Path, store: Store) -> int:
    """How many events were published again."""
    pubsub = PubSub(up.addresses["pubsub"], up.project)
    pubsub.set_up({stage: f"http://{up.addresses[stage]}" for stage in project.STAGES})  # 1
    for each in journal.subscriptions(place):
        pubsub.subscribe(each.name, each.topic, each.filter)
    redrive = Redrive(store, place, time.time())
    waiting = list(redrive.unfinished())
    for message in waiting:  # 2
        send(up, message.topic, message.body, message.attributes)
    reports = [message for message in waiting if message.topic in REPORTS]
    _until(lambda: all(redrive.finished(each) for each in reports))  # 3
    return len(waiting)


def _until(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + _SECONDS
    while not (done := check()) and time.monotonic() < end:
        time.sleep(_PAUSE)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m functions.local.again", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="state directory of the platform")
    places = layout(os.environ, parser.parse_args().state)
    try:
        up = platform.read(places.platform)
        if up is None:
            raise Permanent(f"The platform of {places.home} is not up.")
        port = int(up.addresses["pubsub"].rsplit(":", 1)[-1])
        if not _until(lambda: speaks_http(port)):
            raise Permanent(f"The Pub/Sub emulator did not answer again within {_SECONDS:.0f} s.")
        print(again(up, places.journal, FirestoreStore(up.project)), flush=True)
    except DmzError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
