"""What a dead letter says: for people, for whoever publishes it again, and for the record that the console reads.

Pub/Sub keeps the letter itself; who pulls one takes it from others. So its topic has a second subscription, by which
the stage `routes.LETTERS_TO` notes each in `dead_letters/<message id>`. A note that comes twice is the same note.

1. A token is never shown or noted; of a VM's report not even the body is noted, but its hash and size.
2. What is noted is bounded, whatever was sent.
3. A letter that cannot be noted is a line of the log, and no dead letter: else it would come round for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared import logs
from shared.dead_letters import Letter
from shared.errors import Permanent
from shared.events import REPORTS, SUBSCRIBERS, TYPES, Delivery, Event, ce_type, decode, kept
from shared.model.value import printable, sha256
from shared.ports.store import Put, Store

COLLECTION = "dead_letters"
_BODY = 20_000
"""Characters of a body in its note."""
_ATTRIBUTES = 40
_SECRETS = ("token", "report_token", "nonce", "secret")
_HIDDEN = re.compile(r'"hidden(": ?"| )sha256:[0-9a-f]{64}')
_SECRET = re.compile(rf'("(?:{"|".join(_SECRETS)})"\s*:\s*")[^"]*')
_RUN = re.compile(rb'"run_id": ?"(run-[0-9a-f]{12})"')


def read(letter: Letter) -> Event:
    """The event; Permanent with why it is none."""
    delivery = Delivery(letter.body, letter.topic, letter.original(), letter.id, letter.published)
    return decode(delivery)


def about(letter: Letter) -> str:
    """The run that it names; empty if it names none."""
    try:
        return read(letter).run_id
    except Permanent:
        found = _RUN.search(letter.body)
        return found[1].decode() if found else ""


def shown(letter: Letter) -> str:
    """The body for people: secrets are replaced by their hash (1)."""
    safe = kept(Delivery(letter.body, "", {}))  # a token by its form, wherever it stands
    try:
        return json.dumps(_masked(json.loads(safe)), indent=2)
    except (ValueError, RecursionError):
        safe = kept(Delivery(letter.body, letter.topic, letter.original()))
        return printable(_SECRET.sub(r"\1hidden", safe.decode(errors="replace")), 20_000)


def _masked(content: Any) -> Any:
    if isinstance(content, list):
        return [_masked(each) for each in content]
    if not isinstance(content, dict):
        return content
    return {
        key: f"hidden {sha256(value.encode(errors='replace'))}"
        if key in _SECRETS and isinstance(value, str) and not value.startswith("hidden ")
        else _masked(value)
        for key, value in content.items()
    }


def again(letter: Letter) -> Event:
    """The event to publish; Permanent if it would come back as it is.

    A stage that gave an event up has finished with its id: it is handled once more under another one only, which
    follows from the letter. What no stage ever answered keeps its own, and so does a VM's report, of which there is
    one: else its work could be done twice.
    """
    if letter.topic not in TYPES:
        raise Permanent(f"The letter names no topic that there is: '{printable(letter.topic, 60)}'; drop it.")
    if _HIDDEN.search(letter.body.decode(errors="replace")):  # 1
        raise Permanent(
            "Its body held a token, and was hidden when the letter was kept: whoever sent it must send it again."
        )
    try:
        event = read(letter)
    except Permanent as error:
        raise Permanent(f"It would come back at once: {error}") from error
    if not letter.given_up or event.type in REPORTS:
        return event
    replay_id = f"dead-letter-{sha256(f'{letter.id} {letter.published}'.encode())[7:23]}"
    attributes = letter.original() | {"ce-type": ce_type(event.type), "replay-id": replay_id}
    if event.data.entry or not event.run_id:
        attributes["ce-id"] = f"{event.id[:90]}-{replay_id}"
    return decode(Delivery(letter.body, event.type, attributes, letter.id, letter.published))


# --- the record ---


def note(store: Store, stage: str, delivery: Delivery) -> None:
    """Takes a delivery of the dead letters' topic. Transient if the store does not take it now."""
    letter = Letter(delivery.message_id, delivery.body, delivery.attributes, delivery.publish_time, "")
    id = letter.id or sha256(f"{letter.published} {sha256(letter.body)}".encode())[7:39]
    try:
        store.put([Put(COLLECTION, id, document(letter), merge=True)])
    except Permanent as error:  # 3
        logs.line("stage-misconfigured", "ERROR", f"A dead letter is not noted: {error}", stage)


def dropped(id: str, why: str, by: str, at: float) -> Put:
    """What a person has put aside; the note itself may come later, and has other fields."""
    return Put(COLLECTION, id, {"dropped": {"why": why, "by": by, "at": at}}, merge=True)


def document(letter: Letter) -> Mapping[str, Any]:
    """The note. `claims`: what a stage writes once it handles the letter's event again, by which one sees it."""
    # 1: bodies of reports are hidden whole.
    safe = kept(Delivery(letter.body, letter.topic, letter.original()))
    text = shown(Letter(letter.id, safe, letter.attributes, letter.published, ""))
    names = sorted(letter.original().items())[:_ATTRIBUTES]
    return {
        "topic": printable(letter.topic, 300),
        "stage": printable(letter.stage, 60),
        "run_id": about(letter),
        "reason": printable(letter.reason, 2000),
        "given_up": letter.given_up,
        "at": _unix(letter.published),
        "type": printable(letter.attributes.get("ce-type", ""), 300),
        "attributes": [
            {"name": printable(name, 256), "value": printable(value, 1024)} for name, value in names
        ],
        "size": len(letter.body),
        "sha256": sha256(letter.body),
        "body": "\n".join(printable(line, 2000) for line in text[:_BODY].splitlines()),  # 2
        "whole": len(text) <= _BODY,
        "claims": _claims(letter),
    }


def _claims(letter: Letter) -> list[str]:
    try:
        event = again(letter)
    except Permanent:
        return []
    stages = [letter.stage] if letter.stage in SUBSCRIBERS else list(SUBSCRIBERS)
    return [f"{stage}:{event.type}:{event.id}" for stage in stages if event.type in SUBSCRIBERS[stage]]


def _unix(published: str) -> float:
    try:
        return datetime.fromisoformat(published).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
