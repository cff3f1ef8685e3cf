"""How far each apt repository has come: a verified Release never goes back behind one that was seen before.

A Release without Valid-Until, as Debian's stable suites have it and most vendors, is signed for ever: who stands
between could show last year's, and with it hide every update since. So the newest Date is remembered for each suite at
its address and under its keys, and an older one is refused; the same one again is what it is most of the time.

It is refused for now, not for ever: the servers of one mirror may be minutes apart, and the next try meets another.
"""

from __future__ import annotations

from datetime import UTC, datetime

from shared.errors import Transient
from shared.model.value import sha256
from shared.ports.store import AtLeast, Store


class ReleaseDates:
    """The newest Date of each suite, in a store that all who read indexes share."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, root: str, keys: str, date: datetime, what: str) -> None:
        """Remember `date`, that of a verified Release; Transient if a later one was seen of the same suite.

        `root`: the folder of the Release; `keys`: what says whose signature counted.
        """
        key = sha256(f"{root} {keys}".encode())[7:39]
        found, seconds = self._store.get("releases", key) or {}, int(date.timestamp())
        newest = int(found.get("date", 0))
        if seconds < newest:
            seen = datetime.fromtimestamp(newest, UTC)
            raise Transient(
                f"{what} is dated {date:%Y-%m-%d %H:%M:%S} UTC, and one of {seen:%Y-%m-%d %H:%M:%S} UTC was seen "
                "before: the mirror is behind, or somebody replays an old state; it is refused."
            )
        if seconds > newest:
            self._store.put([AtLeast("releases", key, "date", seconds)])
