"""What every page about one run begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.console import chain
from functions.console.asked import Asked, NotHere
from functions.console.packages import Rows, Shelf
from shared.errors import Permanent
from shared.model.value import printable
from shared.readings import Readings


@dataclass(frozen=True)
class Run:
    """One run, as far as every page about it needs."""

    id: str
    fields: Mapping[str, Any]
    rows: Rows | None
    """None before its packages are judged, or when the verdicts cannot be read any more."""
    lacking: str
    """Why there are no rows although there were verdicts."""

    @property
    def ended(self) -> bool:
        return self.fields.get("state") in chain.ENDED


def read(readings: Readings, shelf: Shelf, asked: Asked) -> Run:
    id = asked.names["run"]
    fields = readings.get("runs", id)
    if fields is None:
        raise NotHere(
            f"There is no run {printable(id, 80)} here: it may have been removed, or is not known yet."
        )
    rows, lacking = None, ""
    if digest := fields.get("verdicts"):
        try:
            rows = shelf.rows(str(digest), readings.content)
        except Permanent as error:
            lacking = str(error)
    return Run(id, fields, rows, lacking)
