"""Documents, claims, the outbox, content-addressed bytes and the bus: what delivery needs from the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.errors import Permanent
from shared.events import Event
from shared.model.value import Digest

Document = dict[str, Any]

_LONGEST_REST = 30.0
"""Seconds."""


@dataclass(frozen=True)
class Claim:
    """The right of one worker to handle one event, until its lease ends."""

    key: str
    state: Literal["won", "busy", "resting", "done"]
    """`busy`: another holds it. `resting`: the last try failed a moment ago."""
    attempt: int
    """1 for the first try; counts takeovers and failures."""
    generation: int
    """The fence: a batch with an older generation is refused."""


@dataclass(frozen=True)
class Put:
    """Write of a whole document, or of the given fields only (`merge`)."""

    collection: str
    id: str
    fields: Mapping[str, Any]
    merge: bool = False


@dataclass(frozen=True)
class Create:
    """Write of a document that must not exist yet. Fails the batch if it does."""

    collection: str
    id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Increment:
    """Addition to a counter field; stands in one batch with the `Create` of what it counts."""

    collection: str
    id: str
    field: str
    by: int


@dataclass(frozen=True)
class AtLeast:
    """Raising of a number to `value`: what is as high stays, whoever writes at the same moment."""

    collection: str
    id: str
    field: str
    value: int


Write = Put | Create | Increment | AtLeast

MAX_ID = 1000
"""Bytes of a document's id. Firestore ends at 1,500 (https://cloud.google.com/firestore/quotas), of which an id that
it forbids takes four for three."""


def checked_id(name: str) -> str:
    """`name` if a document may have it as its id; Permanent if it may not."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise Permanent("A document's id holds half a surrogate pair, which is no text.") from error
    if size > MAX_ID:
        raise Permanent(
            f"A document's id has {size} bytes; the store takes {MAX_ID} bytes at most: shorten the name."
        )
    return name


MAX_INDEXED = 1400
"""Bytes of a text by which a document can be found. Firestore cuts what it indexes at 1,500, and refuses a query by
more (https://cloud.google.com/firestore/quotas#indexes)."""


def checked_key(equals: Any) -> Any:
    """What `Store.find` compares with; Permanent if it is text that no index holds whole."""
    if isinstance(equals, str) and len(equals.encode(errors="surrogatepass")) > MAX_INDEXED:
        raise Permanent(
            f"Documents are found by text of at most {MAX_INDEXED} bytes: look for a hash of what is longer."
        )
    return equals


def is_held(until: float, now: float, lease: float) -> bool:
    """Whether a claim's lease, which ends at `until`, keeps others out.

    One that would run for longer than any lease does was written by a clock that is wrong: nobody need wait that long,
    as the generation keeps the result of whoever may still be at work from counting twice.
    """
    return now < until <= now + 2 * lease


def is_resting(until: float, now: float) -> bool:
    """Whether a claim that was released rests; by a clock that is wrong, not for longer than any rest is."""
    return now < until <= now + _LONGEST_REST


class Store(Protocol):
    """Documents, claims and the outbox. Every method but `put_many` is atomic on its own.

    A document holds None, booleans, 64-bit integers, floats, text, bytes, lists and maps with named fields; a list
    holds no list, and the whole ends at 1 MiB. Tuples become lists. What the store cannot hold is Permanent.
    Documents end as `shared.retention` says, counted from their last write.
    """

    def claim(self, key: str, now: float, lease: float) -> Claim: ...
    def renew(self, claim: Claim, until: float) -> bool:
        """Extend the lease; False if somebody else has taken over."""
        ...

    def release(self, claim: Claim, reason: str, until: float = 0.0) -> None:
        """Give the claim back after a failed attempt, with the reason; it rests `until` then."""
        ...

    def finish(self, claim: Claim, writes: Sequence[Write], outbox: Sequence[Event], now: float) -> None:
        """One batch, fenced by the claim's generation: writes, outbox, done mark.

        Transient if the fence is lost or a `Create` finds its document there: nothing was written then.
        """
        ...

    def outbox(self, key: str) -> Sequence[Event]:
        """Events of a finished claim that nobody has published yet."""
        ...

    def stale_outbox(self, before: float) -> Sequence[tuple[str, Event]]:
        """(claim key, event) of every finished claim's outbox that has waited since before `before`."""
        ...

    def sent(self, key: str, event_id: str) -> None: ...
    def get(self, collection: str, id: str) -> Document | None: ...
    def put(self, writes: Sequence[Write]) -> None:
        """One unfenced batch: for documents under content-derived names and for progress."""
        ...

    def put_many(self, collection: str, documents: Mapping[str, Document]) -> None:
        """Bulk write under content-derived ids; order and atomicity are not promised."""
        ...

    def find(
        self, collection: str, field: str, equals: Any, by: str = "", limit: int = 0
    ) -> Sequence[tuple[str, Document]]:
        """(id, document) of all whose field equals that, by id. `a.b` is the field b of the map a.

        With `by`, a field that holds a number in all that have it: those alone, the lowest first. With `limit`, no
        more than so many. Both fields together need an index (`terraform/outer/database.tf`).

        Permanent if it is text of more than `MAX_INDEXED` bytes."""
        ...


class Blobs(Protocol):
    """Content-addressed bytes up to some megabytes: manifests, verdicts, locks, plans.

    They end as `shared.retention` says, counted from the last `put`: whoever names content puts it, there or not.
    """

    def put(self, data: bytes, lasting: bool = False) -> Digest:
        """`lasting`: without an end, whoever else puts the same for a while."""
        ...

    def get(self, digest: Digest) -> bytes:
        """Permanent if there is no such content or it does not have that digest."""
        ...


class Bus(Protocol):
    def publish(self, event: Event) -> None: ...
    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        """Keep what cannot be handled, with the reason, for an operator to see."""
        ...
