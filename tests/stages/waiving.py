"""Waivers granted and revoked in the small world, and what it recorded of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from shared.events import WaiverGranted, WaiverRevoked, timestamp
from shared.model.verdict import Verdict, Verdicts
from shared.model.waiver import Waiver
from shared.ports.store import Document
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
