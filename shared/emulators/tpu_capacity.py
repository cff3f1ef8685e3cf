"""Who may have a TPU now: zones that have none left, reservations and what is taken of them. Changes while it runs."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.emulators.tpu_errors import no_capacity, no_reserved_capacity


@dataclass(frozen=True)
class Terms:
    """How a node is paid for. `reservation`: which one, empty for any of the zone's; only with `reserved`."""

    reserved: bool = False
    reservation: str = ""


class Capacity:
    """Safe to call from any thread."""

    def __init__(
        self, no_capacity_zones: Collection[str], reservations: Mapping[str, Mapping[str, int]]
    ) -> None:
        self._empty = frozenset(no_capacity_zones)
        self._reservations = reservations
        self._taken: dict[str, tuple[str, str]] = {}  # node to zone and reservation
        self._lock = threading.Lock()

    def set_empty(self, zones: Collection[str]) -> None:
        """From now on exactly these zones have nothing left; what runs in them runs on."""
        self._empty = frozenset(zones)

    def exists(self, zone: str, terms: Terms) -> bool:
        """Whether there can ever be a place: nobody waits for a reservation that is not there."""
        known = self._reservations.get(zone, {})
        return not terms.reserved or (terms.reservation in known if terms.reservation else bool(known))

    def take(self, node: str, zone: str, terms: Terms) -> None:
        """A place for `node`. ApiError, code 8, if there is none; reserved places are there whatever the zone has."""
        if not terms.reserved:
            if zone in self._empty:
                raise no_capacity(zone)
            return
        with self._lock:
            if node in self._taken:
                return
            for name, size in self._reservations.get(zone, {}).items():
                used = sum(place == (zone, name) for place in self._taken.values())
                if terms.reservation in ("", name) and used < size:
                    self._taken[node] = (zone, name)
                    return
        raise no_reserved_capacity()

    def give_back(self, node: str) -> None:
        """Nothing happens if it has no reserved place."""
        with self._lock:
            self._taken.pop(node, None)
