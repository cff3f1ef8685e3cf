"""The two ways in which work fails: for good, or for now.

A message is one sentence for a person: what is wrong, where, and what to do.
"""


class DmzError(Exception):
    """Base of all failures that this project raises on purpose."""


class Permanent(DmzError):
    """Trying again cannot help: record it, keep the event with its reason, acknowledge it."""


class Transient(DmzError):
    """The same call may succeed later: raise it, and Pub/Sub delivers the event again."""


class Untrusted(Permanent):
    """An event that is not from whom it says, or not about what it names: keep it, and leave the run alone."""
