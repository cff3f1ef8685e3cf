"""The two ways in which work fails: for good, or for now.

A message is one sentence for a person: what is wrong, where, and what to do.
"""

from typing import Literal


class DmzError(Exception):
    """Base of all failures that this project raises on purpose."""


class Permanent(DmzError):
    """Trying again cannot help: record it, keep the event with its reason, acknowledge it."""


class Transient(DmzError):
    """The same call may succeed later: raise it, and Pub/Sub delivers the event again."""


class Untrusted(Permanent):
    """An event that is not from whom it says, or not about what it names: keep it, and leave the run alone."""


class Inaccessible(Permanent):
    """A service that does not know who asks, does not let him in, or has no such place; `said`: its words say which."""

    def __init__(self, message: str, why: Literal["nobody", "forbidden", "absent", "said"]) -> None:
        super().__init__(message)
        self.why = why
