"""Waivers from the event to the store: recorded once, refused with a reason, over when they end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import waivers
from shared.events import WaiverRevoked
from shared.ports.store import Put
from tests.stages.waiving import DAY, LIB, Make, grant, history, refreshed, refused, revoke, waiver
from tests.stages.world import World

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
