"""The parts of a watchdog's round, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.delivery import Outcome
from shared.errors import DmzError, Transient


def in_turn(*rounds: Iterable[tuple[str, Outcome]]) -> Iterator[tuple[str, Outcome]]:
    """One part of a sweep after the other; one that fails keeps none back. Transient at the end if any did."""
    troubles: list[DmzError] = []
    for each in rounds:
        try:
            yield from each
        except DmzError as error:
            troubles.append(error)
    if troubles:
        raise Transient(" ".join(str(error) for error in troubles))
