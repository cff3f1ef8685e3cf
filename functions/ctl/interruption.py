"""Ctrl-C, SIGTERM and a terminal that hangs up, while a command follows its run: the run is cancelled.

It ends as `./dmz cancel` ends it: the outer stage writes why, its VMs go, and whoever wants to be told is told. The
first signal asks for that, the second one leaves at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, TypeVar

from functions.ctl.ending import Desk, ask, login
from functions.ctl.follow import KINDS
from functions.ctl.inputs import BadInput
from shared.delivery import ENDED
from shared.errors import Transient
from shared.events import CancelRequested
from shared.machines import vm_name
from shared.notices import COLLECTION
from shared.ports.store import Document

PATIENCE = 20.0
"""Seconds for each of these: the run's document, its end, and what an end brings."""
_T = TypeVar("_T")
_WORDS = {
    signal.SIGINT: "interrupted at the terminal by Ctrl-C",
    signal.SIGTERM: "the command that followed it was ended by SIGTERM",
    signal.SIGHUP: "the terminal of the command that followed it hung up",
}


class Heard:
    """The signals that have come."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ends_anyway = False
        """The command is putting things in order: the first signal asks for what is being done already."""
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Until `rest`."""
        for number in _WORDS:
            if signal.getsignal(number) != signal.SIG_IGN:  # under nohup a terminal may hang up
                self._before[number] = signal.signal(number, self._hear)

    def rest(self) -> None:
        """Signals do again what they did before."""
        while self._before:
            signal.signal(*self._before.popitem())

    @property
    def why(self) -> str:
        """Of the first one."""
        return _WORDS.get(signal.Signals(self.numbers[0]), "interrupted") if self.numbers else "interrupted"

    def _hear(self, number: int, _frame: object) -> None:
        self.numbers.append(number)
        if not self.ends_anyway or len(self.numbers) > 1:
            raise KeyboardInterrupt


def cancelled(desk: Desk, run_id: str, why: str, told: bool) -> Document:
    """The run's document when it has ended and its VMs are gone; {} if nobody has ever heard of it.

    `told`: there is a sink, which hears of it before this returns. Transient if it does not end in time.
    """
    run = _eventually(desk, lambda: _known(desk, run_id)) or {}
    if run and run.get("state") not in ENDED:
        run = ask(desk, CancelRequested(run_id=run_id, reason=why, by=_by()), PATIENCE)
        if run.get("state") not in ENDED:
            raise Transient(
                f"{run_id} was asked to end, and has not in {PATIENCE:.0f} s; if the platform goes on: ./dmz status."
            )
    if run.get("state") == "failed":
        _eventually(desk, lambda: _settled(desk, run_id, told) or None)
    return run


def _settled(desk: Desk, run_id: str, told: bool) -> bool:
    documents = desk.stored.documents
    records = [documents.get("vms", vm_name(kind, run_id)) for kind in KINDS]
    if any(record and record.get("state") != "ended" for record in records):
        return False
    notices = [fields for _, fields in documents.find(COLLECTION, "data.run_id", run_id)] if told else []
    return not told or any(fields["state"] != "waiting" or fields["tries"] for fields in notices)


def _known(desk: Desk, run_id: str) -> Document | None:
    return desk.stored.documents.get("runs", run_id)


def _eventually(desk: Desk, look: Callable[[], _T | None]) -> _T | None:
    deadline = desk.clock() + PATIENCE
    while (found := look()) is None and desk.clock() < deadline:
        desk.sleep(0.1)
    return found


def _by() -> str:
    try:
        return login()
    except BadInput:
        return "its operator"
