"""Asks the outer stage to end a run, and waits until it has."""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from functions.ctl.inputs import BadInput
from functions.ctl.publishing import Publish
from functions.ctl.stored import Records
from shared.delivery import ENDED
from shared.events import CancelRequested, Event, timestamp
from shared.ports.store import Document


@dataclass(frozen=True)
class Desk:
    """Where runs are read, and how they are ended."""

    stored: Records
    publish: Publish
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def ask(desk: Desk, data: CancelRequested, patience: float) -> Document:
    """The run's document, once the outer stage has ended it or `patience` seconds are over."""
    desk.publish(
        Event("cancel-requested", uuid.uuid4().hex, "/package-dmz/ctl", timestamp(desk.clock()), data)
    )
    deadline = desk.clock() + patience
    while (run := desk.stored.run(data.run_id)).get("state") not in ENDED and desk.clock() <= deadline:
        desk.sleep(0.3)
    return run


def login() -> str:
    """Who sits here, as far as this machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise BadInput(
            "--by is missing, and this machine does not know your name: whoever reads of it later must."
        ) from error
