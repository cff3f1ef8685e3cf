"""Anybody may replay an event: with its own id it is the same, with a replay id it is another about the same run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.errors import Transient
from shared.events import AttestationAppraised, Event, RunRequested, SyncCompleted, run_id_of
from shared.guest.config import Config
from shared.machines import vm_name
from shared.model.value import sha256
from shared.ports.machines import VmSpec
from shared.ports.store import Document, Put, Write
from tests.stages import guests
from tests.stages.faults import Death
from tests.stages.world import WORKLOAD, World


def replayed(world: World, topic: str, replay_id: str = "") -> None:
    """Publish the first event of a topic again, by hand: only its body, and a replay id."""
    event: Event = next(each for each in world.bus.published if each.type == topic)
    world.bus.send(topic, event.body(), {"replay-id": replay_id} if replay_id else {})
    world.quiet()


TOPICS = ("manifest-published", "verdicts-written", "sync-shard-planned", "sync-completed")


@pytest.mark.parametrize("replay_id", ["", "again"])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_replay_into_a_run_that_goes_on(world: World, topic: str, replay_id: str) -> None:
    world.inner = lambda _: None
    run_id = world.request()
    before = world.repositories()
    lock = world.run(run_id)["lock"]
    replayed(world, topic, replay_id)
    assert (world.run(run_id)["state"], world.run(run_id)["stage"]) != ("failed", topic)
    assert world.run(run_id)["state"] == "running"
    assert world.repositories() == before
    assert world.run(run_id)["lock"] == lock
    assert world.bus.dead == []
    assert sorted(world.vms.created) == [vm_name("inner", run_id), vm_name("outer", run_id)]
    config = world.configs[vm_name("inner", run_id)]
    world.report(config, world.install_inner(config))
    world.quiet()
    assert world.run(run_id)["state"] == "completed"


def test_the_run_says_what_was_done_again_because_somebody_asked(world: World) -> None:
    world.inner = lambda _: None
    run_id = world.request()
    assert "replays" not in world.run(run_id)
    replayed(world, "manifest-published", "__again.1__")
    (done,) = world.run(run_id)["replays"].values()
    assert {topic: (each["stage"], each["published"]) for topic, each in done.items()} == {
        "manifest-published": ("scanner", ["verdicts-written"]),
        "verdicts-written": ("sync", ["sync-shard-planned"]),
    } | ({"sync-shard-planned": ("sync", [])} if "sync-shard-planned" in done else {})
    before = world.run(run_id)["replays"]
    replayed(world, "manifest-published", "__again.1__")
    assert world.run(run_id)["replays"] == before, "the same replay once more is a duplicate"


def test_replays_without_end_do_not_fill_the_document(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.delivery._REPLAYS", 2)
    world.inner = lambda _: None
    run_id = world.request()
    for number in range(4):
        replayed(world, "manifest-published", f"again-{number}")
    assert sorted(world.run(run_id)["replays"]) == ["again-0", "again-1"]
    assert world.bus.dead == []


def test_a_run_that_was_requested_with_a_replay_id_does_nothing_again(world: World) -> None:
    run_id = world.request(attributes={"replay-id": "from-the-start"})
    run = world.run(run_id)
    assert (run["state"], run["replay_id"]) == ("completed", "from-the-start")
    assert "replays" not in run


def test_what_a_vm_reports_before_its_request_is_finished_with_is_no_replay(world: World) -> None:
    known: list[str | None] = []

    def play(config: Config) -> guests.Payload:
        """A VM that is quick: what it says is handled while the stage still holds the request."""
        ((_, run),) = world.store.find("runs", "state", "running")
        known.append(run.get("replay_id"))
        return world.install(config)

    world.outer = play
    world.request(attributes={"replay-id": "from-the-start"})
    assert known == ["from-the-start"]


@pytest.mark.parametrize("topic", [*TOPICS, "run-completed"])
def test_a_replay_into_a_completed_run_changes_nothing(world: World, topic: str) -> None:
    run_id = world.request()
    before = world.run(run_id), world.repositories(), list(world.vms.created)
    replayed(world, topic, "again")
    assert (world.run(run_id), world.repositories(), world.vms.created) == before
    assert world.bus.dead == []


def test_a_replay_that_leads_to_another_lock_leaves_the_vm_with_its_own(world: World) -> None:
    """The index has moved on when the verdicts are replayed; the VM installs, and is held to, the first lock."""
    world.inner = lambda _: None
    run_id = world.request()
    first = world.run(run_id)["lock"]
    world.market.flaw("lib", "1.1")
    world.market.wheel("lib", "1.2")
    replayed(world, "verdicts-written", "again")
    assert {event.lock for event in world.events("sync-completed")} > {first}, "another one was planned"
    assert world.run(run_id)["lock"] == first
    config = world.configs[vm_name("inner", run_id)]
    world.report(config, world.install_inner(config))
    world.quiet()
    assert world.run(run_id)["state"] == "completed"
    (completed,) = world.events("run-completed")
    assert completed.lock == first == world.run(run_id)["lock"]


@pytest.mark.parametrize("services", [(), ("model_updater",)], ids=["completing", "asking a data service"])
def test_a_plan_made_just_before_the_vm_was_begun_does_not_name_what_it_holds(
    world: World, services: tuple[str, ...]
) -> None:
    """Sync looked for the VM's record, found none, and wrote when the inner stage had begun with the first lock."""
    world.inner = lambda _: None
    run_id = world.request(WORKLOAD.model_copy(update={"after": "keep", "data_services": services}))
    first = world.run(run_id)["lock"]
    other = world.blobs.put(world.lock(run_id).model_copy(update={"generic": ()}).canonical())
    world.store.put([Put("runs", run_id, {"lock": other}, merge=True)])
    config = world.configs[vm_name("inner", run_id)]
    world.report(config, world.install_inner(config))
    world.quiet()
    for service in services:
        (asked,) = world.events("nonce-requested")
        assert asked.service == service
        # A replay of the manifest sets the stage back; the run waits for its data service all the same.
        world.store.put([Put("runs", run_id, {"lock": other, "stage": "sync"}, merge=True)])
        world.bus.send("attestation-appraised", _accepted(run_id, service).canonical(), {})
        world.quiet()
    (completed,) = world.events("run-completed")
    assert completed.lock == first == world.run(run_id)["lock"]


def test_no_vm_is_made_with_another_lock_than_its_record(world: World) -> None:
    """The first worker wrote the VM's record and died; a replay brings another lock before anybody tries again."""
    world.bus.subscribe("inner", lambda _: True)
    run_id = world.request()
    first: Event = next(each for each in world.bus.published if each.type == "sync-completed")
    lock = world.lock(run_id)
    other = world.blobs.put(lock.model_copy(update={"generic": ()}).canonical())
    create = world.vms.create
    world.vms.create = _refusing  # type: ignore[method-assign]
    desk = world.desks["inner"]
    with pytest.raises(Transient):
        desk.handle(first)
    world.vms.create = create  # type: ignore[method-assign]
    desk.handle(replace(first, data=SyncCompleted(run_id=run_id, lock=other)))
    assert vm_name("inner", run_id) not in world.vms.created
    world.inner = lambda _: None
    desk.handle(first)
    config = world.configs[vm_name("inner", run_id)]
    assert config.lock is not None
    assert config.lock.sha256 == lock.digest


def _refusing(spec: VmSpec) -> str:
    raise Transient("Not now.")


def test_the_same_request_with_one_id_is_one_run(world: World) -> None:
    body = b'{"workload": %s}' % WORKLOAD.canonical()
    for _ in range(3):
        world.bus.send("run-requested", body, {"ce-id": "mine"})
    world.quiet()
    assert len(world.store.find("runs", "state", "completed")) == 1
    assert len(world.vms.created) == 2


@pytest.mark.parametrize("after", ["Create runs", "vms"])
def test_the_first_request_that_was_written_down_decides_the_workload(world: World, after: str) -> None:
    """Its worker died before the VM was asked for; another body came under the same id."""
    put, begin = world.store.put, world.vms.create

    def dying(writes: Sequence[Write]) -> None:
        if writes[0].collection == "vms":
            raise Death
        put(writes)

    first = _request(run_id_of("request-1"))
    other = RunRequested(workload=WORKLOAD.model_copy(update={"name": "other", "install": "evil"}))
    if after == "vms":
        world.vms.create = _refusing  # type: ignore[method-assign]
    else:
        world.store.put = dying  # type: ignore[method-assign]
    with pytest.raises((Transient, Death)):
        world.desks["outer"].handle(first)
    assert world.run(first.run_id)["workload"] == "small"
    world.store.put, world.vms.create = put, begin  # type: ignore[method-assign]
    world.desks["outer"].handle(replace(first, data=other))
    world.quiet()
    config = world.configs[vm_name("outer", first.run_id)]
    assert (config.workload.name, config.workload.install) == ("small", WORKLOAD.install)
    assert world.run(first.run_id)["state"] == "completed"
    assert [e.data for e in world.bus.published if e.type == "run-failed"] == []


def test_an_unknown_name_under_the_id_of_a_run_that_began_does_not_end_it(world: World) -> None:
    world.inner = lambda _: None
    run_id = world.request()
    world.desks["outer"].handle(replace(_request(run_id), data=RunRequested(workload="nonsense")))
    assert world.run(run_id)["state"] == "running"


def test_a_slow_worker_does_not_set_back_a_run_that_has_gone_on(world: World) -> None:
    """It read that there is no such run, was taken for dead, and writes when another worker's run has ended."""
    run_id = world.request()
    before = world.run(run_id)
    get = world.store.get
    old: list[Document | None] = [None]

    def stale(collection: str, id: str) -> Document | None:
        return old.pop() if collection == "runs" and old else get(collection, id)

    world.store.get = stale  # type: ignore[method-assign]
    with pytest.raises(Transient, match="exists already"):
        world.desks["outer"].handle(_request(run_id))
    assert old == []
    assert world.run(run_id) == before
    assert len(world.vms.created) == 2


def _accepted(run_id: str, service: str) -> AttestationAppraised:
    some = sha256(b"some")
    return AttestationAppraised(
        run_id=run_id,
        service=service,
        nonce_id="nonce-0123456789abcdef01234567",
        decision="accepted",
        failed_checks=(),
        image_digest="",
        builders=(),
        token=some,
        result=some,
        summary=None,
        checks=1,
    )


def _request(run_id: str) -> Event:
    event_id = next(f"request-{n}" for n in range(1, 100) if run_id_of(f"request-{n}") == run_id)
    return Event("run-requested", event_id, "/test", "", RunRequested(workload=WORKLOAD))
