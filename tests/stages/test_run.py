"""A whole run, from the request to the inner VM that stays; the same whatever the deliveries do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.machines import vm_name
from shared.model.verdict import Verdicts
from tests.stages.world import OWN, WORKLOAD, World

Make = Callable[..., World]


def outcome(world: World, run_id: str) -> dict[str, Any]:
    """The end state, without what differs between two runs by right."""
    run = world.run(run_id)
    (counter,) = (fields for _, fields in world.store.find("syncs", "run_id", run_id))
    return {
        "state": run["state"],
        "manifest": run["manifest"],
        "lock": run["lock"],
        "mirrored": run["mirrored"],
        "inner": {key: run["inner"][key] for key in ("installed", "missing", "unexpected")},
        "done": counter["done"] == counter["shards"],
        "repositories": world.repositories(),
        "verdicts": sorted(f["purl"] for _, f in world.store.find("verdicts", "run_id", run_id)),
        "dead": [reason for _, _, reason in world.bus.dead],
    }


def test_a_run_ends_completed_with_refusals_and_replacements(world: World) -> None:
    run_id = world.request()
    run = world.run(run_id)
    assert (run["state"], world.bus.dead, world.raised) == ("completed", [], [])
    lock = world.lock(run_id)
    assert [(c.before.purl, c.after.version) for c in lock.changes if c.before.name == "lib"] == [
        ("pkg:pypi/lib@1.0", "1.1")
    ]
    assert {c.after.name: c.after.version for c in lock.changes} == {
        "lib": "1.1",
        "extra": "1.0",
        "openssl": "3.0-2",
        "libssl3": "3.0-2",
    }
    assert {each.name: each.version for each in lock.debian} == {
        "jq": "1.7-1",
        "libjq1": "1.7-1",
        "openssl": "3.0-2",
        "libssl3": "3.0-2",
    }
    changes = run["changes"]
    assert (changes["total"], changes["counts"]) == (3, {"replaced": 2, "added": 1})
    assert [(row["names"], row["from"], row["to"]) for row in changes["rows"]] == [
        (["lib"], "1.0", "1.1"),
        (["libssl3", "openssl"], "3.0-1", "3.0-2"),
        (["extra"], "", "1.0"),
    ]
    assert changes["rows"][0]["advisories"] == ["GHSA-lib-1.0"]
    verdicts = Verdicts.read(world.blobs.get(run["verdicts"]), "The verdicts").verdicts
    refused = {each.package.name for each in verdicts if each.decision != "allow"}
    assert refused == {"lib", "openssl", "libssl3"}
    (written,) = world.events("verdicts-written")
    assert (written.allow, written.hold, written.block) == (len(verdicts) - 3, 0, 3)
    (completed,) = world.events("run-completed")
    assert (completed.lock, completed.inner_vm) == (run["lock"], vm_name("inner", run_id))


def test_the_progress_reaches_its_end(world: World) -> None:
    run_id = world.request()
    progress = world.store.get("progress", f"{run_id}-sync")
    assert progress is not None
    assert progress["done"] == progress["total"] == world.run(run_id)["planned"] == 12
    assert progress["bytes"] == world.run(run_id)["mirrored"]["bytes"]


def test_only_what_is_locked_gets_in(world: World) -> None:
    run = world.run(world.request())
    assert world.repositories() == {
        "dmz-python": sorted(
            [
                "app-1.0-py3-none-any.whl",
                "builder-1.0-py3-none-any.whl",
                "extra-1.0-py3-none-any.whl",
                "lib-1.1-py3-none-any.whl",
                OWN.filename,
                "old-1.0.tar.gz",
                "tool-1.0-py3-none-any.whl",
            ]
        ),
        "dmz-generic": [
            *sorted(f"bom-{run['lock'][7:]}:{run[field][7:]}:{field}.cdx.json" for field in ("sbom", "vex")),
            f"generic:{world.generic.sha256[7:]}:file",
            f"lock:{run['lock'][7:]}:lock.json",
        ],
        "trixie": [
            "jq_1.7-1_amd64.deb",
            "libjq1_1.7-1_amd64.deb",
            "libssl3_3.0-2_amd64.deb",
            "openssl_3.0-2_amd64.deb",
        ],
    }


def test_the_outer_vm_is_gone_and_the_inner_one_stays(world: World) -> None:
    run_id = world.request()
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]
    world.ahead = 10**7
    world.sweep()
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]
    assert world.run(run_id)["state"] == "completed"


def test_a_workload_may_have_its_inner_vm_deleted(world: World) -> None:
    run_id = world.request(WORKLOAD.model_copy(update={"after": "delete"}))
    assert world.run(run_id)["state"] == "completed"
    assert world.vms.all() == []
    (completed,) = world.events("run-completed")
    assert completed.inner_vm == ""


def test_a_second_run_uploads_only_its_lock_and_its_papers(world: World) -> None:
    first = world.request()
    world.registry.uploads.clear()
    second = world.request()
    assert world.run(second)["state"] == "completed"
    assert world.run(second)["lock"] == world.run(first)["lock"]
    names = [each.partition(":")[0] for each in world.registry.uploads]
    lock = world.run(first)["lock"][7:]
    assert names == ["lock", f"bom-{lock}", f"bom-{lock}"]
    assert world.run(second)["sbom"] == world.run(first)["sbom"]
    assert world.run(second)["vex"] == world.run(first)["vex"]
    assert world.run(second)["planned"] == 0


def test_replay_id_and_trace_travel_down_the_whole_chain(world: World) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    run_id = world.request(attributes={"traceparent": trace, "replay-id": "again"})
    assert world.run(run_id)["state"] == "completed"
    assert {(each.replay_id, each.trace) for each in world.bus.published} == {("again", trace[3:35])}
    for config in world.configs.values():
        assert config.event_id  # what the VM calls its report is what the system knows it by
        record = world.store.get("vms", vm_name("outer" if config.role == "outer" else "inner", run_id))
        assert record is not None
        assert record["report"] == config.event_id


@pytest.mark.parametrize("seed", range(5))
def test_delivered_three_times_and_shuffled_it_ends_the_same(make: Make, seed: int) -> None:
    once, thrice = make(), make(copies=3, max_delay=0.15, seed=seed)
    expected, found = once.request(), thrice.request()
    assert outcome(thrice, found) == outcome(once, expected)
    assert outcome(thrice, found)["state"] == "completed"
    assert thrice.raised == []
    assert sorted(thrice.vms.created) == [vm_name("inner", found), vm_name("outer", found)]
    # The papers of one lock are the same bytes: whoever closes the run may bring them.
    packages = [name for name in thrice.registry.uploads if not name.startswith("bom-")]
    assert len(packages) == len(set(packages))
    for topic in ("manifest-published", "verdicts-written", "sync-completed", "run-completed"):
        assert len(thrice.events(topic)) == 1
    (counter,) = (fields for _, fields in thrice.store.find("syncs", "run_id", found))
    assert counter["artifacts"] == 12


def test_two_runs_at_once_do_not_disturb_each_other(make: Make) -> None:
    world = make(copies=2, max_delay=0.1)
    world.bus.send("run-requested", _body(), {"ce-id": "a"})
    world.bus.send("run-requested", _body(), {"ce-id": "b"})
    world.quiet()
    runs = world.store.find("runs", "state", "completed")
    assert len(runs) == 2
    assert len({fields["lock"] for _, fields in runs}) == 1
    assert len(world.vms.created) == 4


def test_a_workload_by_name_is_one_of_ours_never_a_path(world: World) -> None:
    for name in ("nonsense", "etc"):
        world.bus.send("run-requested", b'{"workload": "%s"}' % name.encode(), {"ce-id": name})
    world.quiet()
    assert len(world.store.find("runs", "state", "failed")) == 2
    assert all("There is no workload" in reason for _, _, reason in world.bus.dead)
    assert world.vms.created == []


def _body() -> bytes:
    return b'{"workload": %s}' % WORKLOAD.canonical()
