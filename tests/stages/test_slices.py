"""A slice of several hosts installs on each of them and reports as one: no order, duplicate or death changes that."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.errors import Transient
from shared.events import SyncCompleted
from shared.guest import worker
from shared.guest.config import Config
from shared.machines import vm_name
from shared.model.workload import Workload
from shared.ports.store import Create, Document, Write
from tests.stages import guests
from tests.stages.world import WORKLOAD, World

Make = Callable[..., World]
TYPES = {1: "v5litepod-1", 2: "v5p-16", 4: "v5litepod-16"}
"""A type by the number of its hosts."""


def silent(_config: Config) -> None:
    """A VM that keeps its reports back, so that the test can send them."""


def slice_of(hosts: int, **changes: Any) -> Workload:
    return WORKLOAD.model_copy(update={"accelerator_type": TYPES[hosts]} | changes)


def begun(world: World, hosts: int, **changes: Any) -> tuple[str, Config]:
    """A run whose inner VM has booted: the run, and what its hosts were told."""
    world.inner = silent
    run_id = world.request(slice_of(hosts, **changes))
    config = world.configs[vm_name("inner", run_id)]
    assert config.workers == hosts
    return run_id, config


def of(world: World, config: Config, number: int, **changes: Any) -> guests.Payload:
    """The report of one host."""
    return world.install_inner(config) | {"worker": number} | changes


def broken(payload: guests.Payload) -> guests.Payload:
    return payload | {"smoke": {"exit_code": 3, "seconds": 0.5, "tail": "no TPU\n"}}


def send(world: World, config: Config, *payloads: guests.Payload, times: int = 1) -> None:
    for payload in payloads * times:
        world.report(config, payload)
    world.quiet()


def ended_once(world: World, run_id: str, state: str) -> Document:
    run = world.run(run_id)
    assert run["state"] == state, run
    mine = [each for each in world.events(f"run-{state}") if each.run_id == run_id]
    assert len(mine) == 1
    assert (world.store.get("endings", run_id) or {})["state"] == state
    return run


def another(world: World, like: Document, number: int) -> tuple[str, Config]:
    """One more run that is where the run `like` is: its lock is in the repositories, its inner VM has booted."""
    run_id = f"run-{number:012x}"
    world.store.put([Create("runs", run_id, like)])
    world.bus.send("sync-completed", SyncCompleted(run_id=run_id, lock=like["lock"]).canonical(), {})
    world.quiet()
    return run_id, world.configs[vm_name("inner", run_id)]


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_in_every_order_and_told_twice_the_last_one_completes_the_run(make: Make, hosts: int) -> None:
    world = make(lease=1.0)  # a duplicate of work under way looks again after a tenth of it
    first, config = begun(world, hosts)
    like, report = world.run(first), world.install_inner(config)
    found = []
    for at, order in enumerate(itertools.permutations(range(hosts))):
        run_id, config = another(world, like, at)
        own = report | {"run_id": run_id, "report_token": config.report_token}
        for number in order:
            run = world.run(run_id)
            assert (run["state"], run["stage"], "inner" in run) == ("running", "inner", False)
            assert (world.store.get("vms", vm_name("inner", run_id)) or {})["state"] == "asked"
            send(world, config, own | {"worker": number}, times=2)
        run = ended_once(world, run_id, "completed")
        assert (world.store.get("vms", vm_name("inner", run_id)) or {})["state"] == "reported"
        found.append({key: value for key, value in run["inner"].items() if key not in ("vm", "enter")})
    assert world.bus.dead == []
    assert all(each == found[0] for each in found)
    assert (found[0]["installed"], found[0]["missing"], found[0]["egress"]) == (12, [], "denied")
    assert sorted(found[0].get("workers", {})) == ([str(n) for n in range(hosts)] if hosts > 1 else [])


def test_a_single_host_leaves_what_it_always_did(world: World) -> None:
    run_id, config = begun(world, 1)
    send(world, config, world.install_inner(config))
    run = ended_once(world, run_id, "completed")
    assert "workers" not in run["inner"]
    assert {"installed", "missing", "unexpected", "egress", "egress_probes", "smoke", "seconds", "vm"} <= set(
        run["inner"]
    )
    assert world.store.find("workers", "vm", vm_name("inner", run_id)) == []
    assert world.store.get("slices", vm_name("inner", run_id)) is None


@pytest.mark.parametrize("seed", range(6))
def test_all_at_once_three_times_each_and_shuffled(make: Make, seed: int) -> None:
    world = make(copies=3, max_delay=0.1, seed=seed)
    run_id, config = begun(world, 4)
    payloads = [of(world, config, number) for number in range(4)]
    random.Random(seed).shuffle(payloads)  # noqa: S311 - to be repeated, not to be secret
    send(world, config, *payloads)
    run = ended_once(world, run_id, "completed")
    assert sorted(run["inner"]["workers"]) == ["0", "1", "2", "3"]
    assert world.bus.dead == []
    # Two that see the last result at once: one closes, and the other is told so and comes again.
    assert all(isinstance(e, Transient) and "exists already" in str(e) for e in world.raised), world.raised


@pytest.mark.parametrize("seed", range(4))
def test_a_data_service_is_asked_once_however_many_workers_there_are(make: Make, seed: int) -> None:
    world = make(copies=2, max_delay=0.1, seed=seed)
    run_id, config = begun(world, 4, data_services=("model_updater",))
    send(world, config, *(of(world, config, number) for number in range(4)))
    run = world.run(run_id)
    assert (run["state"], run["stage"]) == ("running", "attestation")
    assert len(world.events("nonce-requested")) == 1
    send(world, config, *(of(world, config, number) for number in range(4)))
    assert len(world.events("nonce-requested")) == 1


@pytest.mark.parametrize("services", [(), ("model_updater",)], ids=["completing", "asking a data service"])
def test_two_that_see_the_last_result_at_once_go_on_once(world: World, services: tuple[str, ...]) -> None:
    run_id, config = begun(world, 2, data_services=services)
    both, put = threading.Barrier(2, timeout=60), world.store.put

    def meeting(writes: Sequence[Write]) -> None:
        put(writes)
        if any(isinstance(write, Create) and write.collection == "workers" for write in writes):
            both.wait()

    world.store.put = meeting  # type: ignore[method-assign]
    send(world, config, of(world, config, 0), of(world, config, 1))
    assert [str(error) for error in world.raised] == [
        f"slices/{vm_name('inner', run_id)}-closed exists already; somebody else wrote it first."
    ]
    assert world.bus.dead == []
    if services:
        assert world.run(run_id)["stage"] == "attestation"
        assert len(world.events("nonce-requested")) == 1
    else:
        ended_once(world, run_id, "completed")


# --- how many must report ---


FORGED: dict[str, Any] = {
    "one too high": 4,
    "far too high": 9_999,
    "beyond any slice": 10_000,
    "negative": -1,
    "text": "1",
    "truth": True,
    "half": 0.5,
    "nothing": None,
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_number_is_kept_and_counts_for_nobody(world: World, what: str) -> None:
    run_id, config = begun(world, 4)
    send(world, config, *(of(world, config, number) for number in (0, 1, 2)))
    send(world, config, of(world, config, 0, worker=FORGED[what]))
    assert len(world.bus.dead) == 1
    assert world.run(run_id)["state"] == "running"
    send(world, config, of(world, config, 3))
    assert sorted(ended_once(world, run_id, "completed")["inner"]["workers"]) == ["0", "1", "2", "3"]


def test_a_single_host_has_no_second_worker(world: World) -> None:
    run_id, config = begun(world, 1)
    send(world, config, broken(of(world, config, 1)))
    ((_, _, reason),) = world.bus.dead
    assert "names worker 1 of the VM" in reason
    assert world.run(run_id)["state"] == "running"


def test_an_outer_vm_has_no_workers_to_report(world: World) -> None:
    world.outer = silent
    run_id = world.request(slice_of(4))
    (config,) = world.configs.values()
    send(world, config, world.install(config) | {"worker": 1})
    assert len(world.bus.dead) == 1
    assert world.run(run_id)["state"] == "running"


def test_one_worker_cannot_speak_for_all(world: World) -> None:
    """The same host again and again, with replay ids of its own making: still one of four."""
    run_id, config = begun(world, 4)
    for replay in ("", "a", "b", "c", "d"):
        world.report(config, of(world, config, 0), **({"replay-id": replay} if replay else {}))
    world.quiet()
    assert [reason.endswith("the first one counts.") for _, _, reason in world.bus.dead] == [True] * 4
    assert world.run(run_id)["state"] == "running"
    assert [
        fields["worker"] for _, fields in world.store.find("workers", "vm", vm_name("inner", run_id))
    ] == [0]


@pytest.mark.parametrize(("table", "api", "needed"), [(1, 2, 2), (4, 1, 4), (2, 4, 4)])
def test_the_more_of_table_and_api_must_report(world: World, table: int, api: int, needed: int) -> None:
    run_id, config = begun(world, table)
    world.vms.have(vm_name("inner", run_id), api)
    for number in range(needed):
        assert world.run(run_id)["state"] == "running"
        send(world, config, of(world, config, number))
    ended_once(world, run_id, "completed")


def test_a_vm_that_the_api_has_lost_is_held_to_its_type(world: World) -> None:
    run_id, config = begun(world, 2)
    world.vms.delete(vm_name("inner", run_id))
    send(world, config, of(world, config, 1))
    assert world.run(run_id)["state"] == "running"


# --- what they say ---


@pytest.mark.parametrize("first", ["good", "bad"])
def test_a_worker_tells_one_tale(world: World, first: str) -> None:
    run_id, config = begun(world, 2)
    good = of(world, config, 1)
    tales = [good, broken(good)] if first == "good" else [broken(good), good]
    for tale in tales:
        send(world, config, tale)
    send(world, config, of(world, config, 0))
    ended_once(world, run_id, "completed" if first == "good" else "failed")


def test_a_first_tale_that_was_kept_counts_though_its_stage_died(world: World) -> None:
    """Its result was written, its delivery never finished; what comes again under its name says something else."""
    run_id, config = begun(world, 2)
    finish = world.store.finish

    def dying(*_given: Any, **_named: Any) -> None:
        raise Transient("It died.")

    world.store.finish = dying  # type: ignore[method-assign]
    desk = world.desks["inner"]
    with pytest.raises(Transient):
        desk.deliver(guests.delivery(config, broken(of(world, config, 1))))
    world.store.finish = finish  # type: ignore[method-assign]
    assert world.run(run_id)["state"] == "running"
    send(world, config, of(world, config, 1))
    run = ended_once(world, run_id, "failed")
    assert run["reason"].startswith("Worker 1 (of 0 to 1): The smoke command failed")


def unsealed(payload: guests.Payload) -> guests.Payload:
    return payload | {"egress": "open"}


def fallen(payload: guests.Payload) -> guests.Payload:
    return payload | {
        "state": "failed",
        "installed": None,
        "smoke": None,
        "tail": "2026-11-22T00:00:00Z dmz: failed: The disk is full.\n",
    }


BAD: dict[str, tuple[Callable[[guests.Payload], guests.Payload], str, bool]] = {
    "smoke": (broken, "The smoke command failed on the inner VM (3)", True),
    "open": (unsealed, "The inner VM is not sealed", True),
    "install": (fallen, "in the VM's own words: The disk is full", False),
    "inventory": (lambda payload: payload | {"installed": "{}"}, "is not base64 of gzip", False),
}


@pytest.mark.parametrize("when", range(4))
@pytest.mark.parametrize("how", BAD)
def test_the_first_bad_worker_ends_the_run_and_is_named(world: World, how: str, when: int) -> None:
    spoil, words, is_known = BAD[how]
    run_id, config = begun(world, 4)
    order = [0, 1, 3]
    order.insert(when, 2)
    for number in order:
        payload = of(world, config, number)
        send(world, config, spoil(payload) if number == 2 else payload, times=2)
    run = ended_once(world, run_id, "failed")
    assert run["reason"].startswith("Worker 2 (of 0 to 3): ")
    assert words in run["reason"]
    assert world.vms.all() == []
    if how != "inventory":
        told = sorted(int(number) for number in run.get("inner", {}).get("workers", {}))
        assert told == sorted(order[:when] + ([2] if is_known else []))


def test_what_one_worker_has_too_much_is_seen_and_shown(world: World) -> None:
    run_id, config = begun(world, 2)
    whole = world.inside(config)
    debian = whole.debian[0].model_copy(update={"name": "netcat", "source_name": "netcat"})
    more = whole.model_copy(update={"debian": (*whole.debian, debian)})
    send(world, config, of(world, config, 0))
    send(world, config, of(world, config, 1, installed=guests.pack(more)))
    run = ended_once(world, run_id, "failed")
    assert "Worker 1 (of 0 to 1): The inner VM holds deb netcat" in run["reason"]
    workers = run["inner"]["workers"]
    assert [len(workers[number]["unexpected"]) for number in ("0", "1")] == [0, 1]
    assert run["inner"]["unexpected"] == workers["1"]["unexpected"]
    assert (workers["0"]["installed"], workers["1"]["installed"]) == (12, 13)


# --- the watchdog ---


@pytest.mark.parametrize(
    ("reported", "words"),
    [
        ((0, 3), "silent too long (1 and 2 of its 4 workers, counted from 0, did not report)"),
        ((0, 1, 2), "silent too long (3 of its 4 workers, counted from 0, did not report)"),
        ((), "silent too long (0, 1, 2 and 3 of its 4 workers, counted from 0, did not report)"),
    ],
)
def test_the_watchdog_names_who_did_not_report(world: World, reported: tuple[int, ...], words: str) -> None:
    run_id, config = begun(world, 4)
    send(world, config, *(of(world, config, number) for number in reported))
    world.ahead = WORKLOAD.install_minutes * 60 + 1000
    world.sweep()
    run = ended_once(world, run_id, "failed")
    assert words in run["reason"]
    known = run.get("inner", {})
    assert sorted(known.get("workers", {})) == [str(number) for number in reported]
    assert known.get("hosts") == (4 if reported else None)


def test_the_watchdog_says_of_a_single_host_what_it_always_did(world: World) -> None:
    run_id, _ = begun(world, 1)
    world.ahead = WORKLOAD.install_minutes * 60 + 1000
    world.sweep()
    assert "was silent too long; read its serial console" in ended_once(world, run_id, "failed")["reason"]


def test_what_a_lost_slice_has_said_does_not_count_for_the_next(world: World) -> None:
    """Worker 0 has reported when Google takes the slice back; another zone has another one, of which both must."""
    run_id, old = begun(world, 2, zones=("us-east1-a", "us-east1-b"), provisioning="spot")
    name = vm_name("inner", run_id)
    send(world, old, of(world, old, 0))
    world.vms.become(name, "PREEMPTED", "us-east1-a")
    world.sweep()
    new = world.configs[name]
    assert new.report_token != old.report_token
    send(world, old, of(world, old, 1))
    assert "does not carry the secret" in world.bus.dead[0][2]
    send(world, new, of(world, new, 1))
    assert world.run(run_id)["state"] == "running"
    send(world, new, of(world, new, 0))
    assert ended_once(world, run_id, "completed")["machines"]["inner"]["zone"] == "us-east1-b"


# --- what the guest and the system call a report ---


@pytest.mark.parametrize("replay_id", ["", "again"])
def test_what_a_host_calls_its_report_is_what_the_system_knows_it_by(world: World, replay_id: str) -> None:
    world.inner = silent
    run_id = world.request(slice_of(4), {"replay-id": replay_id} if replay_id else None)
    config = world.configs[vm_name("inner", run_id)]
    ids = []
    for number in range(4):
        told = worker.placed(config, worker.Worker(number, 4))
        ids.append(told.event_id)
        send(world, told, of(world, told, number))
        claim = world.store.claim(f"inner:inner-install-completed:{told.event_id}", 0.0, 1.0)
        assert claim.state == "done"
    assert len(set(ids)) == 4
    ended_once(world, run_id, "completed")
