"""What is left of runs as months go by: enough for every replay, for everything that still needs it, and no more."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from shared import kept_runs
from shared.errors import Permanent, Transient
from shared.events import Delivery
from shared.machines import vm_name
from shared.ports.store import Put
from shared.retention import DAY, EXPIRING, HELD_DAYS, RENEW_DAYS, RUN_DAYS, WITH_RUN_DAYS
from tests.stages.world import WORKLOAD, World

KEEP = WORKLOAD.model_copy(update={"after": "keep"})


def pass_days(world: World, days: float) -> None:
    """Time goes by, and Firestore deletes what has ended."""
    world.ahead += days * DAY
    world.store.expire(world.clock())
    world.blobs.expire(world.clock())


def tick(world: World) -> None:
    """The watchdog's tick for the inner stage; raises what it raises."""
    world.desks["inner"].deliver(Delivery(b"{}", "sweep-requested", {}, "1", str(world.clock())))
    world.quiet()


def content(world: World, run_id: str) -> list[bytes]:
    return [world.blobs.get(digest) for digest in kept_runs.named(world.run(run_id), {})]


@pytest.mark.parametrize("days", [1, 7, HELD_DAYS])
def test_a_seek_back_works_nothing_again(world: World, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message of the run once more, under its own id, after as long as a subscription may keep it."""
    run_id = world.request()
    messages = list(world.bus.published)
    assert world.run(run_id)["state"] == "completed"
    pass_days(world, days)
    before = copy.deepcopy((world.run(run_id), world.repositories(), world.vms.created))
    sent, finished = len(world.bus.published), []
    monkeypatch.setattr(world.store, "finish", lambda claim, *_: finished.append(claim.key))
    for event in messages:
        world.bus.send(event.type, event.body(), event.attributes())
    world.bus.send("run-requested", b'{"workload": "quickstart"}', {"ce-id": "request-1"})
    world.quiet()
    assert (world.run(run_id), world.repositories(), world.vms.created) == before
    assert world.bus.published[sent:] == []
    assert finished == []
    assert world.bus.dead == []


def test_a_run_has_all_its_papers_to_its_last_day(world: World) -> None:
    run_id = world.request()
    pass_days(world, RUN_DAYS - 1)
    assert world.run(run_id)["state"] == "completed"
    assert len(content(world, run_id)) == 7
    assert world.store.find("verdicts", "run_id", run_id)
    assert world.store.get("vms", vm_name("inner", run_id))


def test_in_the_end_nothing_is_left_that_the_table_has_end(world: World) -> None:
    run = world.run(world.request())
    held = set(world.store._documents)
    assert {collection for collection, _ in held} >= {"runs", "verdicts", "vms", "shards", "endings"}
    pass_days(world, WITH_RUN_DAYS + 1)
    assert {collection for collection, _ in world.store._documents} & EXPIRING.keys() == set()
    assert world.blobs._content.keys() == {run["sbom"], run["vex"]}
    assert world.store._claims == {}


def test_what_two_runs_share_lives_as_long_as_the_later_one(world: World) -> None:
    first = world.request()
    pass_days(world, 350)
    second = world.request()
    assert world.run(second)["lock"] == world.run(first)["lock"]
    pass_days(world, 350)
    assert world.run(first) == {}
    assert len(content(world, second)) == 7


def test_a_machine_that_was_kept_keeps_its_run(world: World) -> None:
    run_id = world.request(KEEP)
    vm = vm_name("inner", run_id)
    for _ in range(30):
        pass_days(world, 60)
        world.sweep()
    assert world.vms.get(vm) is not None
    assert world.run(run_id)["state"] == "completed"
    assert len(content(world, run_id)) == 7
    assert world.store.find("verdicts", "run_id", run_id)
    assert world.store.get("vms", vm)
    assert world.raised == []


def test_once_the_machine_is_gone_its_run_ends(world: World) -> None:
    run_id = world.request(KEEP)
    pass_days(world, RENEW_DAYS + 1)
    world.sweep()
    renewed = world.run(run_id)["renewed"]
    world.vms.delete(vm_name("inner", run_id))
    for _ in range(8):
        pass_days(world, 60)
        world.sweep()
    assert renewed > 0
    assert world.run(run_id) == {}


def test_a_renewal_is_made_once_in_its_time(world: World) -> None:
    run_id = world.request(KEEP)
    world.sweep()
    assert "renewed" not in world.run(run_id)
    pass_days(world, RENEW_DAYS + 1)
    world.sweep()
    renewed = world.run(run_id)["renewed"]
    pass_days(world, 1)
    world.sweep()
    assert world.run(run_id)["renewed"] == renewed


def test_a_renewal_that_fails_is_tried_again_and_holds_nothing_else_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.request(KEEP)
    pass_days(world, RENEW_DAYS + 1)

    def away(_digest: object) -> bytes:
        raise Transient("The store is away.")

    with monkeypatch.context() as patch:
        patch.setattr(world.blobs, "get", away)
        with pytest.raises(Transient, match="papers of 1 kept VMs could not be renewed: The store is away"):
            tick(world)
    assert "renewed" not in world.run(run_id)
    tick(world)
    assert world.run(run_id)["renewed"]


@pytest.mark.parametrize(
    "error", [Transient("It is away."), Permanent("It is refused.")], ids=["away", "refused"]
)
@pytest.mark.parametrize("call", ["vms.all", "store.find verdicts", "store.find state", "store.put_many"])
def test_whatever_does_not_answer_no_silent_vm_goes_on_costing(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    """A kept VM's papers are due in the tick that finds a VM silent; the tick ends that one, and fails."""
    world = make()
    run_id = world.request(KEEP)
    pass_days(world, RENEW_DAYS + 1)
    world.inner = lambda _: None
    silent = world.request()
    world.ahead += 7200
    name, _, which = call.partition(" ")
    port, method = name.split(".")
    real = getattr(getattr(world, port), method)

    def failing(*given: object, **named: object) -> object:
        if not which or which == given[0] or (which == "state" and given[:2] == ("runs", "state")):
            raise error
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(getattr(world, port), method, failing)
        with pytest.raises(Transient, match=str(error)):
            tick(world)
    world.quiet()
    assert "was silent too long" in world.run(silent)["reason"]
    assert world.store.get("vms", vm_name("inner", silent))["state"] == "ended"  # type: ignore[index]
    assert ("renewed" in world.run(run_id)) == (which == "state"), "only what needs the list waits for it"
    tick(world)
    assert world.run(run_id)["renewed"]
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]


def test_the_lock_that_the_machine_installed_is_renewed_whichever_the_run_names(world: World) -> None:
    run_id = world.request(KEEP)
    lock = world.lock(run_id)
    other = world.blobs.put(lock.model_copy(update={"generic": ()}).canonical())
    world.store.put([Put("runs", run_id, {"lock": other}, merge=True)])
    for _ in range(10):
        pass_days(world, 60)
        tick(world)
    assert world.blobs.get(lock.digest)
    assert world.blobs.get(other)


def test_content_that_was_lost_does_not_end_the_rest(world: World) -> None:
    run_id = world.request(KEEP)
    lost = world.run(run_id)["manifest"]
    del world.blobs._content[lost]
    pass_days(world, RENEW_DAYS + 1)
    world.sweep()
    assert world.run(run_id)["renewed"]
    pass_days(world, RENEW_DAYS)
    assert world.blobs.get(world.run(run_id)["lock"])
    with pytest.raises(Permanent):
        world.blobs.get(lost)
