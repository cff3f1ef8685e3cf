"""What was published is written down; after the emulator's death exactly what nobody has finished with comes again."""

from __future__ import annotations

import base64
import json
import stat
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from functions.local import sending
from functions.local.again import Redrive
from functions.local.platform import Platform
from shared import journal
from shared.emulators.vm import relay
from shared.emulators.vm.spec import Identity
from shared.errors import Inaccessible, Transient
from shared.events import Event, RunCompleted, RunFailed, RunRequested, derived_id, run_id_of
from shared.journal import Journalled
from shared.memory.store import MemoryStore
from shared.ports.store import Put

RUN = run_id_of("one")
LOCK = "sha256:" + "a" * 64


def event(topic: str = "run-failed") -> Event:
    if topic == "run-requested":
        return Event(topic, "one", "/test", "2026-11-22T00:00:00.000Z", RunRequested(workload="quickstart"))
    data = (
        RunFailed(run_id=RUN, stage="outer", reason="It rained.", tail="")
        if topic == "run-failed"
        else RunCompleted(run_id=RUN, lock=LOCK, inner_vm="")
    )
    return Event(topic, derived_id(RUN, topic, data.subject), "/test", "2026-11-22T00:00:00.000Z", data)


def keep(place: Path, kept: Event) -> None:
    journal.keep(place, kept.type, kept.body(), kept.attributes())


def unfinished(place: Path, store: MemoryStore, later: float = 0.0) -> list[str]:
    return [each.topic for each in Redrive(store, place, time.time() + later).unfinished()]


def claim(store: MemoryStore, stage: str, of: Event, *, done: bool) -> None:
    """As it stands in Firestore; the twin keeps claims elsewhere."""
    store.put([Put("claims", f"{stage}:{of.type}:{of.id}", {"done": done})])


def test_an_event_comes_again_until_every_stage_that_gets_it_has_finished(tmp_path: Path) -> None:
    store = MemoryStore()
    keep(tmp_path, event())
    keep(tmp_path, event("run-requested"))
    assert sorted(unfinished(tmp_path, store)) == ["run-failed", "run-requested"]
    claim(store, "outer", event("run-requested"), done=True)
    claim(store, "outer", event(), done=True)
    claim(store, "inner", event(), done=False)
    assert unfinished(tmp_path, store) == ["run-failed"]
    claim(store, "inner", event(), done=True)
    assert unfinished(tmp_path, store) == []


def test_what_no_stage_gets_comes_again_for_a_minute_and_nothing_after_a_day(tmp_path: Path) -> None:
    keep(tmp_path, event("run-completed"))
    keep(tmp_path, event("run-requested"))
    assert sorted(unfinished(tmp_path, MemoryStore())) == ["run-completed", "run-requested"]
    assert unfinished(tmp_path, MemoryStore(), later=61) == ["run-requested"]
    assert unfinished(tmp_path, MemoryStore(), later=86_500) == []


def test_the_same_event_sent_twice_comes_again_once(tmp_path: Path) -> None:
    keep(tmp_path, event())
    later = Event("run-failed", event().id, "/test", "2026-11-22T00:00:01.000Z", event().data)
    keep(tmp_path, later)
    assert len(list(journal.messages(tmp_path))) == 2
    assert unfinished(tmp_path, MemoryStore()) == ["run-failed"]


@pytest.mark.parametrize(
    "request_body",
    [
        b"",
        b"[]",
        b"{",
        b'{"messages": 7}',
        b'{"messages": [7]}',
        b'{"messages": [{"data": "?"}]}',
        b"[" * 99_999,
    ],
)
def test_what_a_strangers_vm_has_sent_stops_nothing(tmp_path: Path, request_body: bytes) -> None:
    journal.keep_request(tmp_path, "outer-install-completed", request_body)
    keep(tmp_path, event())
    assert unfinished(tmp_path, MemoryStore()) == ["run-failed"]


def test_only_its_owner_reads_it_and_a_full_disk_stops_no_event(tmp_path: Path) -> None:
    keep(tmp_path, event())
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_bytes())["messages"][0]["attributes"] == event().attributes()
    keep(tmp_path / "nowhere", event())


def test_a_vm_that_sends_what_it_likes_fills_no_disk(tmp_path: Path) -> None:
    made = relay.PublishRelay(Identity("vm@x", frozenset()), b"", None, tmp_path)
    for number in range(relay.MESSAGES + 5):
        made._keep(tmp_path, "outer-install-completed", b"%d" % number)
        made._keep(tmp_path, "outer-install-completed", b"%d" % number)
    assert len(list(tmp_path.iterdir())) == relay.MESSAGES


def test_a_stage_waits_for_topics_that_are_made_again_and_for_nothing_else(tmp_path: Path) -> None:
    tries, now = list[str](), [0.0]

    class Bus:
        why = "absent"

        def publish(self, sent: Event) -> None:
            assert base64.b64encode(sent.body()) in next(tmp_path.iterdir()).read_bytes()  # before
            tries.append(sent.id)
            if len(tries) < 4:
                raise Inaccessible("No.", self.why)  # type: ignore[arg-type]

        def dead_letter(self, *_: object) -> None:
            raise Inaccessible("No.", "absent")

    def sleep(seconds: float) -> None:
        now[0] += seconds

    bus = Bus()
    journalled = Journalled(bus, tmp_path, lambda: now[0], sleep)
    journalled.publish(event())
    assert len(tries) == 4
    with pytest.raises(Inaccessible):
        journalled.dead_letter(b"", {}, "")
    assert now[0] > journal.PATIENCE
    tries.clear()
    bus.why = "forbidden"
    with pytest.raises(Inaccessible):
        journalled.publish(event())
    assert len(tries) == 1


def test_what_is_old_is_forgotten_and_subscriptions_are_not(tmp_path: Path) -> None:
    keep(tmp_path, event())
    journal.subscribed(tmp_path, "data--nonce-issued", "nonce-issued", 'attributes.service = "data"')
    journal.prune(tmp_path, time.time() - 60)
    assert len(list(journal.messages(tmp_path))) == 1
    journal.prune(tmp_path, time.time() + 60)
    assert list(journal.messages(tmp_path)) == []
    (found,) = journal.subscriptions(tmp_path)
    assert (found.name, found.topic, found.filter) == (
        "data--nonce-issued",
        "nonce-issued",
        'attributes.service = "data"',
    )


class Away:
    """A Pub/Sub that takes nothing for a while, as while it starts again."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.came = refusals, list[str]()

    def publish(self, topic: str, _: bytes, __: object) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise Transient("Pub/Sub does not answer.")
        self.came.append(topic)


@pytest.mark.parametrize("alive", [True, False], ids=["up", "down"])
def test_what_dmz_publishes_is_written_down_before_and_waits_for_pubsub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    pubsub = Away(2)
    monkeypatch.setattr(sending, "PubSub", lambda *_: pubsub)
    up = SimpleNamespace(
        environment={journal.VARIABLE: str(tmp_path)},
        addresses={"pubsub": "127.0.0.1:1"},
        project="test",
        alive=alive,
    )
    with nullcontext() if alive else pytest.raises(Transient, match="does not answer"):
        sending.send_event(cast(Platform, up), event("run-requested"))
    assert pubsub.came == ["run-requested"] * alive
    assert [each.topic for each in journal.messages(tmp_path)] == ["run-requested"]
