"""Waivers from the event to the repository: recorded once, used where they count and no longer than they last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared import waivers
from shared.errors import Permanent
from shared.events import Event, WaiverGranted, WaiverRevoked, timestamp
from shared.model.verdict import Verdict, Verdicts
from shared.model.waiver import Waiver
from shared.ports.store import Bus, Document, Put
from tests.stages import guests
from tests.stages.world import WORKLOAD, World

Make = Callable[..., World]
DAY = 86_400.0
FLAW, LIB = "GHSA-lib-1.0", "pkg:pypi/lib@1.0"


def waiver(world: World, *, since: float = 0.0, days: float = 30.0, **changes: Any) -> Waiver:
    now = world.clock()
    given = {
        "advisory": FLAW,
        "package": "pkg:pypi/lib@*",
        "workload": WORKLOAD.name,
        "reason": "it parses our own files alone",
        "approver": "ada@example.org",
        "granted": timestamp(now + since),
        "expires": timestamp(now + since + days * DAY),
    }
    return Waiver.check(given | changes, "The waiver")


def grant(world: World, given: Waiver, id: str = "grant-1") -> Waiver:
    world.bus.send("waiver-granted", WaiverGranted(waiver=given).canonical(), {"ce-id": id})
    world.quiet()
    return given


def revoke(world: World, id: str, event_id: str = "revoke-1") -> None:
    data = WaiverRevoked(waiver=id, reason="they are not ours any more", by="bob@example.org")
    world.bus.send("waiver-revoked", data.canonical(), {"ce-id": event_id})
    world.quiet()


def history(world: World, id: str) -> list[Document]:
    found = (fields for _, fields in world.store.find("waiver_history", "waiver", id))
    return sorted(found, key=lambda fields: float(fields["at"]))


def refused(world: World) -> list[str]:
    """Why events about waivers were kept as dead letters."""
    return [why for _, names, why in world.bus.dead if names["topic"].startswith("waiver-")]


def refreshed(world: World) -> Counter[str]:
    """Reasons of the judgements that were asked for, with the number of different events."""
    asked = {each.id: each for each in world.bus.published if each.type == "advisories-refreshed"}
    return Counter(str(getattr(each.data, "reason", "")) for each in asked.values())


def verdict(world: World, run_id: str, purl: str) -> Verdict:
    stored = Verdicts.read(world.blobs.get(world.run(run_id)["verdicts"]), "The verdicts")
    return next(each for each in stored.verdicts if each.package.purl == purl)


# --- what is recorded ---


@pytest.mark.parametrize("copies", [1, 4])
def test_a_grant_is_recorded_once_with_what_is_known_of_its_sender(make: Make, copies: int) -> None:
    world = make(copies=copies, max_delay=0.05 * (copies - 1))
    given = grant(world, waiver(world))
    fields = world.store.get("waivers", given.id)
    assert fields is not None
    assert waivers.waiver_of(fields) == given
    assert fields["state"] == "granted"
    assert fields["event"]["id"] == "grant-1"
    assert fields["event"]["source"] == "/package-dmz/operator"
    assert fields["event"]["time"]
    (line,) = history(world, given.id)
    assert (line["what"], line["by"], line["reason"]) == ("granted", given.approver, given.reason)
    assert line["event"] == fields["event"]
    assert refreshed(world) == {f"{given.id} granted by ada@example.org": 1}
    assert refused(world) == []


def test_the_same_grant_under_two_ids_is_one(world: World) -> None:
    given = grant(world, waiver(world))
    grant(world, given, "grant-2")
    assert len(history(world, given.id)) == 1
    assert sum(refreshed(world).values()) == 1
    assert refused(world) == []


@pytest.mark.parametrize("copies", [1, 4])
def test_a_revocation_ends_it_for_good(make: Make, copies: int) -> None:
    world = make(copies=copies, max_delay=0.05 * (copies - 1))
    given = grant(world, waiver(world))
    long_ago = Put("reevaluations", "latest", {"at": 0.0}, merge=True)  # else nothing is touched by it
    world.store.put([long_ago])
    revoke(world, given.id)
    world.store.put([long_ago])
    revoke(world, given.id, "revoke-2")
    fields = world.store.get("waivers", given.id)
    assert fields is not None
    assert fields["state"] == "revoked"
    assert fields["ended"]["by"] == "bob@example.org"
    assert [line["what"] for line in history(world, given.id)] == ["granted", "revoked"]
    assert refreshed(world)[f"{given.id} revoked by bob@example.org"] == 1
    assert waivers.in_force(world.store) == ()
    grant(world, given, "an old grant again")
    (why,) = set(refused(world))
    assert f"{given.id} was revoked by bob@example.org" in why
    assert waivers.in_force(world.store) == ()


def test_a_revocation_that_overtakes_its_grant_waits_for_it(world: World) -> None:
    given = waiver(world)
    data = WaiverRevoked(waiver=given.id, reason="a mistake", by="bob@example.org")
    world.bus.send("waiver-revoked", data.canonical(), {"ce-id": "early"})
    grant(world, given)
    assert [line["what"] for line in history(world, given.id)] == ["granted", "revoked"]
    assert refused(world) == []


def test_what_nobody_granted_cannot_be_revoked(world: World) -> None:
    revoke(world, "waiver-0123456789ab")
    (why,) = refused(world)
    assert "waiver-0123456789ab was looked for, and there is no such waiver" in why
    assert world.store.get("waivers", "waiver-0123456789ab") is None


def test_what_is_over_cannot_be_revoked(world: World) -> None:
    given = grant(world, waiver(world))
    world.ahead += 31 * DAY
    revoke(world, given.id)
    (why,) = refused(world)
    assert "there is nothing to revoke" in why


@pytest.mark.parametrize(
    ("since", "changes", "why"),
    [
        (-40 * DAY, {}, "before it was recorded"),
        (600.0, {}, "in the future"),
        (0.0, {"days": 367.0}, "a waiver lasts for 366 days at most"),
        (0.0, {"advisory": "", "package": "pkg:pypi/*"}, "name one package"),
        (0.0, {"advisory": "", "package": "pkg:deb/debian/lib*?arch=amd64"}, "name one package"),
        (0.0, {"advisory": "", "package": "pkg:pypi/%2A"}, "writes a star as %2A"),
        (0.0, {"advisory": "", "package": "pkg:pypi/%2a@%2A"}, "writes a star as %2A"),
        (0.0, {"package": "pkg:pypi/lib@%2A"}, "writes a star as %2A"),
        (0.0, {"advisory": "", "package": "pkg:generic/data.bin"}, "whole sha256"),
        (0.0, {"advisory": "", "package": "pkg:generic/data.bin@*"}, "whole sha256"),
        (0.0, {"advisory": "", "package": "pkg:generic/data.bin@sha256:00*"}, "whole sha256"),
        (0.0, {"advisory": "", "package": f"pkg:generic/data.bin@sha256:{'0' * 63}"}, "whole sha256"),
    ],
    ids=[
        *("over", "future", "too long", "every package", "names with a beginning"),
        *("a quoted star", "a star quoted twice", "a quoted star with an advisory"),
        *("a file's name", "any file of a name", "the beginning of a hash", "a hash that is too short"),
    ],
)
def test_what_may_not_be_waived_is_kept_with_its_reason(
    world: World, since: float, changes: dict[str, Any], why: str
) -> None:
    given = grant(world, waiver(world, since=since, **changes))
    (reason,) = refused(world)
    assert reason.startswith(given.id)
    assert why in reason
    assert world.store.get("waivers", given.id) is None
    assert refreshed(world) == {}


@pytest.mark.parametrize("package", ["pkg:%2A", "pkg:*", "pkg:*/lib@1.0", "pkg:%70ypi/lib"])
def test_a_waiver_of_no_ecosystem_is_no_waiver(world: World, package: str) -> None:
    given = waiver(world, advisory="", package=LIB).model_dump(mode="json") | {"package": package}
    world.bus.send("waiver-granted", json.dumps({"waiver": given}).encode(), {"ce-id": "grant-1"})
    world.quiet()
    (why,) = refused(world)
    assert "a pattern of packages begins with pkg:pypi/" in why
    assert waivers.in_force(world.store) == ()


@pytest.mark.parametrize("colon", [":", "%3A"])
def test_a_file_by_url_is_waived_by_its_content(world: World, colon: str) -> None:
    given = waiver(world, advisory="", package=f"pkg:generic/data.bin@sha256{colon}{'0' * 64}")
    grant(world, given)
    assert refused(world) == []
    assert waivers.in_force(world.store) == (given,)


def test_an_id_stands_for_one_waiver(world: World) -> None:
    """Forty-eight bits of a hash: somebody with time may find two waivers that share them."""
    given = grant(world, waiver(world))
    harmless = waiver(world, reason="another").model_dump(mode="json")
    world.store.put([Put("waivers", given.id, harmless | {"state": "granted"})])
    grant(world, given, "grant-2")
    (why,) = refused(world)
    assert "is the id of another waiver" in why


def test_no_more_are_taken_than_a_judgement_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waivers, "AT_ONCE", 2)
    for number in range(3):
        grant(world, waiver(world, reason=f"reason {number}"), f"grant-{number}")
    assert len(waivers.in_force(world.store)) == 2
    (why,) = refused(world)
    assert "2 waivers are in force" in why


def test_a_document_that_nobody_can_read_overrules_nothing(world: World) -> None:
    given = grant(world, waiver(world))
    world.store.put([Put("waivers", given.id, {"expires": "never"}, merge=True)])
    assert waivers.in_force(world.store) == ()
    assert world.run(world.request())["state"] == "completed"


# --- the end by time ---


def test_what_has_expired_is_judged_again_once(world: World) -> None:
    short, other = (grant(world, waiver(world, days=days), f"grant-{days}") for days in (30.0, 30.5))
    long = grant(world, waiver(world, days=90.0), "grant-long")
    world.sweep()
    assert not any("expired" in reason for reason in refreshed(world))
    world.ahead += 31 * DAY
    for _ in range(3):
        world.sweep()
    first, second = sorted((short.id, other.id))
    assert [reason for reason in refreshed(world) if "expired" in reason] == [f"{first} and 1 more expired"]
    assert refreshed(world)[f"{first} and 1 more expired"] == 1
    assert [line["what"] for line in history(world, second)] == ["granted", "expired"]
    assert waivers.in_force(world.store) == (long,)
    grant(world, short, "an old grant again")
    assert "an old waiver does not come back" in refused(world)[-1]


# --- what they do ---


def admitted(world: World, given: Waiver, run_id: str) -> None:
    run = world.run(run_id)
    assert (run["state"], run.get("reason")) == ("completed", None)
    judged = verdict(world, run_id, LIB)
    assert (judged.decision, judged.waivers) == ("allow", (given.id,))
    assert "lib-1.0-py3-none-any.whl" in world.repositories()["dmz-python"]
    assert not [change for change in world.lock(run_id).changes if change.before.purl == LIB]
    (shown,) = run["waivers"]
    assert (shown["id"], shown["approver"], shown["packages"]) == (given.id, "ada@example.org", 1)
    assert shown["expires"] == given.expires
    assert FLAW in shown["waives"]


def not_admitted(world: World, run_id: str) -> None:
    assert verdict(world, run_id, LIB).decision == "block"
    assert verdict(world, run_id, LIB).waivers == ()
    assert world.run(run_id)["waivers"] == []
    assert [change.after.version for change in world.lock(run_id).changes if change.before.purl == LIB] == [
        "1.1"
    ]


@pytest.mark.parametrize("scope", ["advisory", "package", "both"])
def test_a_blocked_package_is_admitted_as_long_as_the_waiver_lasts(world: World, scope: str) -> None:
    scopes: dict[str, dict[str, Any]] = {
        "advisory": {"package": ""},
        "package": {"advisory": "", "package": LIB},
        "both": {},
    }
    given = waiver(world, **scopes[scope])
    not_admitted(world, world.request())
    grant(world, given)
    run_id = world.request()
    if scope == "package":
        assert verdict(world, run_id, LIB).waivers == (given.id,)
        assert world.run(run_id)["waivers"][0]["packages"] == 1
    else:
        admitted(world, given, run_id)
    world.ahead += 31 * DAY
    not_admitted(world, world.request())


def test_a_revoked_waiver_admits_nothing(world: World) -> None:
    given = grant(world, waiver(world))
    admitted(world, given, world.request())
    revoke(world, given.id)
    not_admitted(world, world.request())


@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_what_a_waiver_admitted_is_judged_again_when_it_ends_and_goes(world: World, end: str) -> None:
    given = grant(world, waiver(world))
    admitted(world, given, world.request())
    world.sweep()
    assert "lib-1.0-py3-none-any.whl" in world.repositories()["dmz-python"]
    if end == "expired":
        world.ahead += 31 * DAY
        world.sweep()
    else:
        revoke(world, given.id)
    changed = [each for each in world.events("verdict-changed") if each.purl == LIB]
    assert [(each.before, each.after) for each in changed][-1:] == [("allow", "block")]
    assert "lib-1.0-py3-none-any.whl" not in world.repositories()["dmz-python"]
    assert refused(world) == []


def test_a_waiver_counts_for_its_workload_alone(world: World) -> None:
    given = grant(world, waiver(world))
    other = WORKLOAD.model_copy(update={"name": "other"})
    world.outer = lambda config: guests.outer(config, world.claim(workload="other"))
    not_admitted(world, world.request(other))
    world.outer = None
    admitted(world, given, world.request())


def test_malice_is_not_waived_with_a_package(world: World) -> None:
    key = ("pypi", "lib", "1.0")
    world.market.flaws[key] = world.market.flaws[key].model_copy(update={"malicious": True})
    grant(world, waiver(world, advisory="", package=LIB))
    not_admitted(world, world.request())


def test_a_replacement_that_leans_on_a_waiver_is_shown_too(world: World) -> None:
    """Every version of lib below 2 is flawed; the nearest one that a waiver admits takes the place."""
    world.market.flaw("lib", "1.1")
    given = grant(world, waiver(world, advisory="GHSA-lib-1.1"))
    run_id = world.request()
    assert world.run(run_id).get("reason") is None
    assert [each.after.version for each in world.lock(run_id).changes if each.before.purl == LIB] == ["1.1"]
    assert [shown["id"] for shown in world.run(run_id)["waivers"]] == [given.id]


# --- between the verdicts and what is shipped ---


@dataclass(frozen=True)
class Meanwhile:
    """A bus that lets something happen once the verdicts are on their way."""

    bus: Bus
    happens: Callable[[], None]

    def publish(self, event: Event) -> None:
        if event.type == "verdicts-written":
            self.happens()
        self.bus.publish(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bus, name)


@pytest.mark.parametrize("end", ["expired", "revoked", "forgotten", "garbled"])
def test_nothing_is_shipped_by_a_waiver_that_ended_after_the_verdict(make: Make, end: str) -> None:
    worlds: list[World] = []
    ids: list[str] = []

    def happens() -> None:
        (world,), (id,) = worlds, ids
        if end == "expired":
            world.ahead += 31 * DAY
            return
        left: dict[str, dict[str, Any]] = {
            "revoked": {"state": "revoked", "ended": {"by": "bob@example.org"}},
            "garbled": {"expires": "never"},
            "forgotten": {},
        }
        world.store.put([Put("waivers", id, left[end], merge=end != "forgotten")])

    world = make(through=lambda name, port: Meanwhile(port, happens) if name == "bus" else port)
    worlds.append(world)
    given = grant(world, waiver(world))
    ids.append(given.id)
    run_id = world.request()
    run = world.run(run_id)
    assert run["state"] == "failed"
    assert f"{LIB} was admitted by {given.id}, which " in run["reason"]
    ending = {
        "expired": "ended at",
        "revoked": "was revoked by bob",
        "forgotten": "is not known",
        "garbled": "cannot",
    }
    assert f"{given.id}, which {ending[end]}" in run["reason"]
    assert world.repositories()["dmz-python"] == []


def test_a_replay_of_the_verdicts_does_not_ship_by_what_was_revoked(world: World) -> None:
    world.inner = lambda _: None
    given = grant(world, waiver(world))
    run_id = world.request()
    assert world.run(run_id)["state"] == "running"
    revoke(world, given.id)
    written = next(each for each in world.bus.published if each.type == "verdicts-written")
    world.bus.send("verdicts-written", written.body(), {"replay-id": "again"})
    world.quiet()
    assert "was revoked by bob@example.org" in world.run(run_id)["reason"]


def test_a_verdict_that_needs_no_waiver_needs_none_of_the_store(world: World) -> None:
    run_id = world.request()
    found = verdict(world, run_id, LIB).model_copy(update={"waivers": ("waiver-0123456789ab",)})
    waivers.check_still([found], world.store, world.clock())  # it is blocked, so nothing is shipped by it
    named = waiver(world)
    assert waivers.leaned_on([found.model_copy(update={"waivers": (named.id,)})], [named]) == []
    allowed = found.model_copy(update={"decision": "allow"})
    with pytest.raises(Permanent, match="waiver-0123456789ab, which is not known any more"):
        waivers.check_still([allowed], world.store, world.clock())
