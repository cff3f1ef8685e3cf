"""What could not be handled is noted where the console reads: bounded, without secrets, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloudevents.http import CloudEvent

from shared import letters
from shared.dead_letters import Letter
from shared.errors import Permanent, Transient
from shared.events import DEAD_LETTERS, DeadLetterDropped, Delivery, VerdictsWritten, receive
from shared.memory.store import MemoryStore
from shared.model.value import sha256
from shared.ports.store import Put
from tests.stages.world import World
from tests.support.samples import SOME

RUN = "run-0123456789ab"
AT = "2026-11-22T10:00:00Z"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Every message comes twice."""
    made = World(tmp_path, copies=2)
    yield made
    made.bus.close()


def noted(world: World) -> list[tuple[str, dict[str, Any]]]:
    return sorted(world.store.everything(letters.COLLECTION).items())


def note(store: MemoryStore, body: bytes, id: str = "17", **attributes: str) -> dict[str, Any]:
    letters.note(store, "outer", Delivery(body, DEAD_LETTERS, attributes, id, AT))
    return store.get(letters.COLLECTION, id) or {}


def test_what_a_stage_gives_up_is_noted_with_its_reason(world: World) -> None:
    world.store.put([Put("runs", RUN, {"state": "running", "workload": "small"})])
    body = json.dumps({"run_id": RUN, "manifest": sha256(b"nowhere")}).encode()
    world.bus.send("manifest-published", body, {"x-more": "\x00<b>"})
    world.quiet()
    ((_, found),) = noted(world)
    assert (found["topic"], found["stage"], found["run_id"]) == ("manifest-published", "scanner", RUN)
    ((_, _, reason),) = world.bus.dead
    assert found["reason"] == reason.strip() != ""
    assert found["given_up"]
    assert found["at"] > 0
    assert json.loads(found["body"])["run_id"] == RUN


def test_what_nobody_can_read_is_noted_too(world: World) -> None:
    world.bus.send("manifest-published", b"\xffnot JSON\x1b", {})
    world.quiet()
    found = [each for _, each in noted(world)]
    assert {(each["topic"], each["claims"] == []) for each in found} == {("manifest-published", True)}
    assert all("\x1b" not in each["body"] for each in found)


def test_what_pubsub_itself_has_put_aside_names_its_stage_and_its_claim() -> None:
    """Pub/Sub gives the subscription and the number of deliveries, and no reason; the claim has the last one."""
    data = VerdictsWritten(run_id=RUN, manifest=SOME, verdicts=SOME, allow=1, hold=0, block=0)
    source = "CloudPubSubDeadLetterSource"
    found = note(
        MemoryStore(),
        data.canonical(),
        **{
            f"{source}Subscription": "sync--verdicts-written",
            f"{source}DeliveryCount": "10",
            "ce-type": "package-dmz.verdicts-written.v1",
        },
    )
    assert (found["topic"], found["stage"], found["given_up"]) == ("verdicts-written", "sync", False)
    assert "10 deliveries" in found["reason"]
    (claim,) = found["claims"]
    assert claim.startswith("sync:verdicts-written:")


def test_a_push_of_a_dead_letter_is_told_by_its_topic_whatever_it_calls_itself() -> None:
    """Its attributes are those of the event that failed, the type among them."""
    message = {"data": "e30=", "attributes": {"ce-type": "package-dmz.run-requested.v1"}, "messageId": "17"}
    about = {
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": "//pubsub.googleapis.com/projects/p/topics/dead-letters",
    }
    delivery = receive(CloudEvent(about, {"message": message}))
    assert (delivery.topic, delivery.message_id) == (DEAD_LETTERS, "17")


def test_secrets_and_reports_are_not_noted() -> None:
    store = MemoryStore()
    secret = b'{"run_id": "%s", "report_token": "s3cret-s3cret-s3cret"}' % RUN.encode()
    report = note(store, secret, topic="inner-install-completed")
    assert json.loads(report["body"]).keys() == {"hidden", "bytes"}
    other = note(store, secret, id="18", topic="manifest-published", reason="No.")
    assert "s3cret" not in json.dumps(other)
    token = note(store, b"{}", id="19", topic="gossip", reason="eyJ", **{"ce-id": "x"})
    assert token["topic"] == "gossip"


def test_a_note_is_bounded_and_comes_once() -> None:
    store = MemoryStore()
    body = json.dumps({"a": "\u202e<script>" * 400_000}).encode()
    attributes = {f"x{number}": "y" * 1024 for number in range(99)} | {"": "odd", "__x__": "odd"}
    for _ in range(2):
        found = note(store, body, reason="r" * 1024, **attributes)
    assert len(store.everything(letters.COLLECTION)) == 1
    assert len(json.dumps(found)) < 100_000
    assert found["size"] == len(body)
    assert not found["whole"]


def test_a_letter_that_the_store_does_not_take_comes_again_or_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(MemoryStore):
        error: Exception = Transient("Later.")

        def put(self, writes: Any) -> None:
            raise self.error

    store = Broken()
    with pytest.raises(Transient):
        note(store, b"{}")
    store.error = Permanent("Never.")
    note(store, b"{}")
    assert "A dead letter is not noted: Never." in capsys.readouterr().err


def test_who_drops_a_letter_stands_on_its_note_whichever_came_first(world: World) -> None:
    world.bus.send("manifest-published", b"1", {})
    world.quiet()
    (id, _), *_ = noted(world)
    for message in (id, "999"):
        data = DeadLetterDropped(
            message=message,
            topic="manifest-published",
            run="",
            body=SOME,
            failure="No.",
            reason="seen",
            by="ada",
        )
        world.bus.send("dead-letter-dropped", data.canonical(), {})
    world.quiet()
    found = dict(noted(world))
    assert found[id]["dropped"]["by"] == "ada"
    assert found[id]["reason"]
    note(world.store, b"1", id="999", topic="manifest-published", reason="No.")
    late = dict(noted(world))["999"]
    assert (late["dropped"]["why"], late["reason"]) == ("seen", "No.")


def test_what_held_a_token_cannot_be_sent_again() -> None:
    """What is left of it is no token: it would be refused where it arrives, and be told as a forgery."""
    body = json.dumps({"run_id": RUN, "token": f"hidden {sha256(b'token')}"}).encode()
    letter = Letter("17", body, {"topic": "attestation-requested", "ce-id": "one"}, AT, "")
    with pytest.raises(Permanent, match="held a token"):
        letters.again(letter)
