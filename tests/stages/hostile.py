"""A hostile outer machine, and how a run ends that it spoils."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from tests.stages import guests
from tests.stages.world import World
from tests.support.claims import environment


def failed(world: World, run_id: str) -> str:
    run = world.run(run_id)
    assert run["state"] == "failed", run
    assert len(world.events("run-failed")) == 1
    assert world.vms.all() == []
    assert run["reason"].isprintable()
    assert len(run["reason"]) < 2500
    return str(run["reason"])


def raw(world: World) -> dict[str, Any]:
    """The manifest as JSON, for a VM that does not care for our types."""
    return dict(json.loads(world.claim().model_dump_json()))


def told(world: World, text: bytes) -> str:
    """The reason with which a run fails whose outer VM sends `text` as its manifest."""
    packed = base64.b64encode(gzip.compress(text)).decode()
    world.outer = lambda config: guests.common(config) | {"claim": packed}
    return failed(world, world.request())


def with_python(world: World, *packages: Any, keep: bool = True) -> None:
    """The claim of the outer VM with other packages in its environment."""
    names = {each.name for each in packages}
    kept = [each for each in world.environments[0].packages if keep and each.name not in names]
    world.environments = (environment(*kept, *packages),)
