"""Waivers over the store in memory and over Firestore: what two workers at once can and cannot do to one."""

from __future__ import annotations

import pytest

from shared import waivers
from shared.delivery import Outcome
from shared.errors import Permanent, Transient
from shared.events import Event, Payload, SweepRequested, WaiverGranted, WaiverRevoked
from shared.model.waiver import Waiver
from shared.ports.store import Store

NOW = 1_795_341_600.0  # 2026-11-22T10:00:00Z
GIVEN = Waiver(
    advisory="CVE-2024-56326",
    package="pkg:pypi/jinja2@*",
    workload="quickstart",
    reason="only trusted templates are rendered",
    approver="Ada Löf",
    granted="2026-11-22T10:00:00.000Z",
    expires="2026-11-25T10:00:00.000Z",
    until_fixed=True,
)
GRANT = WaiverGranted(waiver=GIVEN)
REVOKE = WaiverRevoked(waiver=GIVEN.id, reason="a mistake", by="Bob")


def event(topic: str, data: Payload, id: str = "1") -> Event:
    return Event(topic, id, "/package-dmz/operator", "2026-11-22T10:00:00Z", data)


def grant(store: Store, id: str = "1") -> Outcome:
    return waivers.granted(event("waiver-granted", GRANT, id), GRANT, store, NOW)


def revoke(store: Store, id: str = "1") -> Outcome:
    return waivers.revoked(event("waiver-revoked", REVOKE, id), REVOKE, store, NOW)


def done(store: Store) -> list[str]:
    lines = (line for _, line in store.find("waiver_history", "waiver", GIVEN.id))
    return sorted(str(line["what"]) for line in lines)


def test_it_comes_back_as_it_was_granted(store: Store) -> None:
    assert waivers.in_force(store) == ()
    store.put(grant(store).writes)
    assert waivers.in_force(store) == (GIVEN,)
    assert grant(store, "2") == Outcome()


def test_of_two_workers_with_one_grant_one_is_too_late(store: Store) -> None:
    """And the late one cannot bring back what was revoked meanwhile."""
    early, late = grant(store, "1"), grant(store, "2")
    store.put(early.writes)
    store.put(revoke(store).writes)
    with pytest.raises(Transient):
        store.put(late.writes)
    assert waivers.in_force(store) == ()
    with pytest.raises(Permanent, match="was revoked by Bob, and an old waiver does not come back"):
        grant(store, "2")
    assert done(store) == ["granted", "revoked"]


def test_of_two_revocations_one_is_too_late_and_then_has_nothing_to_do(store: Store) -> None:
    store.put(grant(store).writes)
    early, late = revoke(store, "1"), revoke(store, "2")
    store.put(early.writes)
    with pytest.raises(Transient):
        store.put(late.writes)
    assert revoke(store, "2") == Outcome()


def test_two_sweeps_at_once_find_one_end(store: Store) -> None:
    store.put(grant(store).writes)
    tick, later = event("sweep-requested", SweepRequested()), NOW + 4 * 86_400
    ((first, early),), ((second, late),) = (list(waivers.expired(tick, store, later)) for _ in range(2))
    assert (first, early.events[0].id) == (second, late.events[0].id)
    store.put(early.writes)
    with pytest.raises(Transient):
        store.put(late.writes)
    assert list(waivers.expired(tick, store, later)) == []
    assert waivers.in_force(store) == ()
    assert done(store) == ["expired", "granted"]
