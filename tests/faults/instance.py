"""What stands between a stage's process and its world: relays in the places of the services, a metadata server, and a
clock that jumps.

The supervisor serves `main.py` of a directory that `write` makes; it prepares its process and becomes the stage.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from google.auth import _helpers

from functions.local.layout import CHECKOUT
from functions.local.project import CONSOLE, STAGES

_MAIN = """\
from pathlib import Path

from tests.faults import instance

instance.prepare(Path(__file__).resolve().parent)

from functions.{stage}.main import handle
"""
_OFFSET = struct.Struct("d")
_RELAYS, _CLOCK = "relays.json", "clock"
CLOCK = "TESTS_FAULTS_CLOCK"
"""Variable of a second instance's environment: its clock's name. It need not jump with the first one's."""


def write(directory: Path, relays: Mapping[str, str], own: Mapping[str, Mapping[str, str]]) -> None:
    """The sources of all stages below `directory`.

    `relays`: variables of the environment that lead to relays; `own`: those of one stage alone.
    """
    for stage in STAGES:
        (directory / stage).mkdir(parents=True)
        (directory / stage / "main.py").write_text(_MAIN.format(stage=stage))
        (directory / stage / _RELAYS).write_text(json.dumps({**relays, **own[stage]}))
        set_clock(directory, stage, 0.0)
    (directory / CONSOLE).symlink_to(CHECKOUT / "functions" / CONSOLE)


def set_clock(directory: Path, stage: str, seconds: float, name: str = _CLOCK) -> None:
    """From now on the stage's clock is ahead of the machine's by so much, or behind."""
    path = directory / stage / name
    if not path.exists():
        path.write_bytes(_OFFSET.pack(0.0))
    with path.open("r+b") as file:
        file.write(_OFFSET.pack(seconds))


def prepare(place: Path) -> None:
    """In the stage's process, before anything of the stage is imported: it keeps the clock that it finds."""
    os.environ.update(json.loads((place / _RELAYS).read_text()))
    with (place / os.environ.get(CLOCK, _CLOCK)).open("rb") as file:
        offset = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + _OFFSET.unpack_from(offset)[0]
    time.time_ns = lambda: now_ns() + int(_OFFSET.unpack_from(offset)[0] * 1e9)
    # google-auth asks the operating system by another way.
    utcnow = _helpers.utcnow
    _helpers.utcnow = lambda: utcnow() + timedelta(seconds=_OFFSET.unpack_from(offset)[0])
