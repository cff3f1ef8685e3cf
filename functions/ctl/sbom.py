"""`./dmz sbom`: the papers of a run's approved set, as they were stored (docs/sbom.md)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Records, Unreachable, records
from functions.local.layout import Layout
from shared.errors import Permanent, Transient
from shared.model.value import printable


def sbom(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    if arguments.out:
        _check_writable(arguments.out)
    try:
        content = document(
            records(layout, arguments.project), arguments.run, "vex" if arguments.vex else "sbom"
        )
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    if arguments.out:
        arguments.out.write_bytes(content)
        return 0
    sys.stdout.flush()
    sys.stdout.buffer.write(content + (b"\n" if sys.stdout.isatty() else b""))
    return 0


def document(stored: Records, run_id: str, kind: str) -> bytes:
    """`kind`: `sbom` or `vex`. Permanent if the run has none."""
    run = stored.run(run_id)
    if not run.get(kind):
        ended = run.get("state") == "failed"
        why = (
            "it failed before"
            if ended
            else "it is not there yet"
            if run.get("state") == "running"
            else "it is older"
        )
        raise Permanent(
            f"The run {printable(run_id, 60)} has no {kind.upper()}: it is written when the repositories hold every "
            f"file of the lock, and {why}."
        )
    return stored.content(str(run[kind]), kind.upper())


def _check_writable(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise BadInput(
            f"{printable(str(path), 300)} cannot be written: name a file in a directory that you may write to."
        )
