"""A small world under the advisories of a test, and what its scanner made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.errors import DmzError
from shared.model.verdict import Verdict, Verdicts
from shared.ports.judgement import Advisories
from tests.advisories.build import HIGH, affected, events, record, zipped
from tests.stages.world import World

Make = Callable[..., World]
MEBIBYTE = 1 << 20
LONG = "1" * 10_000
"""Of digits: more than Python makes an integer of."""


def advisories(directory: Path, *records: dict[str, Any]) -> Path:
    """Sound zips: one flaw of lib 1.0, one of a Debian package that nobody has, and the `records`, PyPI's."""
    lib = affected(events(("introduced", "0"), ("fixed", "1.1")), name="lib")
    zipped(directory, "PyPI", record("GHSA-lib", lib, severity=[HIGH]), *records)
    other = affected(events(("introduced", "0"), ("fixed", "1")), name="zlib", ecosystem="Debian:13")
    return zipped(directory, "Debian", record("DEBIAN-CVE-1", other))


def under(make: Make, source: Advisories) -> World:
    return make(through=lambda name, port: source if name == "advisories" else port)


def judged(world: World, run_id: str) -> dict[str, Verdict]:
    """By name: what the scanner said. No stage died, or tried what cannot succeed until it gave up."""
    strange = [error for error in world.raised if not isinstance(error, DmzError)]
    assert strange == []
    run = world.run(run_id)
    assert run["state"] in ("completed", "failed")
    assert "defect" not in run.get("reason", "")
    verdicts = Verdicts.read(world.blobs.get(run["verdicts"]), "The verdicts").verdicts
    return {verdict.package.name: verdict for verdict in verdicts}


def held(verdicts: dict[str, Verdict]) -> dict[str, str]:
    """By name: the sentence by which the advisories' state holds a package."""
    return {
        name: rule.reason
        for name, verdict in verdicts.items()
        for rule in verdict.rules
        if rule.rule == "advisory_data" and rule.answer != "allow"
    }
