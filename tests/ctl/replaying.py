"""Verdicts of a small world, replayed by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import verdict as command
from functions.ctl.stored import Records
from shared.model.value import canonical
from shared.ports.store import Document, Put
from tests.stages.world import World


def replayed(
    world: World, id: str, capsys: pytest.CaptureFixture[str], advisories: Path | None = None
) -> tuple[int, Document]:
    """Exit code, and what is said as JSON with the sentence for people beside it."""
    records = Records(world.store, world.blobs)
    code = command.again(records, id, advisories, True)
    document: Document = json.loads(capsys.readouterr().out)
    assert command.again(records, id, advisories, False) == code
    return code, document | {"sentence": capsys.readouterr().out.strip()}


def differs(world: World, id: str, capsys: pytest.CaptureFixture[str], advisories: Path | None = None) -> str:
    code, said = replayed(world, id, capsys, advisories)
    assert (code, said["same"]) == (1, False)
    assert said["sentence"].startswith("Not the same: ")
    assert said["difference"].rstrip(".") in said["sentence"]
    return str(said["difference"])


def renamed(world: World, run_id: str, **changed: str) -> None:
    """The run's document names other content."""
    world.store.put([Put("runs", run_id, changed, merge=True)])


def edited(world: World, digest: str, change: Callable[[Any], None]) -> str:
    """The digest of content as `change` makes it: well-formed, and under its right name."""
    content = json.loads(world.blobs.get(digest))
    change(content)
    return world.blobs.put(canonical(content))
