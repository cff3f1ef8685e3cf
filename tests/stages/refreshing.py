"""Refreshes of the advisories in the small world, and what the stages made of what is held."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.held.reevaluation import standing_id
from shared.ports.store import Document
from tests.stages.world import World

TOOL, LIB = "pkg:pypi/tool@1.0", "pkg:pypi/lib@1.1"


def refresh(world: World, id: str) -> None:
    world.bus.send("advisories-refreshed", b"{}", {"ce-id": id})
    world.quiet()


def changes(world: World) -> list[tuple[str, str, str]]:
    return [(each.purl, each.before, each.after) for each in world.events("verdict-changed")]


def evictions(world: World) -> list[tuple[str, int, str]]:
    return [(each.purl, each.files, each.reason) for each in world.events("package-evicted")]


def standing(world: World, purl: str) -> Document:
    return world.store.get("standing", standing_id(purl)) or {}


def alarms(world: World, kind: str) -> list[Document]:
    return [fields for _, fields in world.store.find("alarms", "kind", kind) if fields["open"]]


def offer(world: World, name: str, **changes: Any) -> None:
    """From now on the index says something else about the files of `name`."""
    world.market.projects[name] = [replace(file, **changes) for file in world.market.projects[name]]


def cooling(world: World, days: int) -> None:
    """From now on a version waits for so many days."""
    pypi = world.policy.pypi
    rules = pypi.model_copy(update={"cooldown": pypi.cooldown.model_copy(update={"days": days})})
    world.policy = world.policy.model_copy(update={"pypi": rules})
