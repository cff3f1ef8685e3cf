"""`./dmz lock diff`: what a run's lock changed, against what the outer VM had or against another run's lock."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Records, Unreachable, records
from functions.local.layout import Layout
from shared.errors import Permanent, Transient
from shared.locking import difference
from shared.locking.difference import Row
from shared.model.lock import Lock
from shared.model.value import printable, sha256

Stored = Callable[[], Records]
"""Where runs are kept; asked only for what is no file."""


def lock(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    try:
        found = diff(arguments.run, arguments.other, lambda: records(layout, arguments.project))
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    if arguments.json:
        print(json.dumps([row.document() for row in found], ensure_ascii=False, indent=1))
    else:
        print("\n".join(shown(found, arguments.run, arguments.other)))
    return 0


def diff(first: str, second: str, stored: Stored) -> tuple[Row, ...]:
    """What the lock of `first` changed; with a second run, what its lock has otherwise."""
    one = read(first, stored)
    return difference.between(one, read(second, stored)) if second else difference.rows(one.changes)


def shown(found: Sequence[Row], first: str, second: str) -> list[str]:
    """For a person."""
    name, other = printable(first, 200), printable(second, 200)
    against = f"The lock of {other} against that of {name}" if second else f"The lock of {name}"
    if not found:
        return [f"{against} changes nothing."]
    return [f"{against}: {difference.counts(found)}.", *difference.lines(found)]


def read(run: str, stored: Stored) -> Lock:
    """The lock of a run, or of a file; the bytes of a store are held to the digest that the run names."""
    if "/" in run or run.endswith(".json"):
        return _file(Path(run))
    from_store = stored()
    document = from_store.run(run)
    digest = document.get("lock")
    if not digest:
        why = document.get("reason")
        said = f": {printable(str(why), 1000)}" if why else "; it has not come that far."
        raise Permanent(f"The run {printable(run, 60)} has no lock{said}")
    content = from_store.blobs.get(str(digest))
    if (found := sha256(content)) != digest:
        raise Permanent(f"The stored lock {digest} has been changed: its content has {found}.")
    return Lock.read(content, f"The stored lock {digest}")


def _file(path: Path) -> Lock:
    try:
        return Lock.read(path.read_bytes(), f"The lock {printable(str(path), 200)}")
    except OSError as error:
        raise BadInput(
            f"The lock {printable(str(path), 200)} cannot be read: {error.strerror}; give a run's id or another path."
        ) from error
    except Permanent as error:
        raise BadInput(str(error)) from error
