"""The sync plan: what the repositories lack, split into shards. Data: printable, testable, the same in a dry run.

Each shard is a value of its own, with all that its worker has to know, so that the work of a shard grows with the shard
and not with the lock.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.model.case import Subject
from shared.model.lock import Lock, LockedArchive, LockedGeneric, LockedPython
from shared.model.package import Release
from shared.model.value import Digest, Part, Value, sha256


class Transfer(Value):
    """One file to fetch, prove and upload to one repository. Exactly one of the three kinds is given."""

    repository: str
    python: LockedPython | None = None
    archive: LockedArchive | None = None
    generic: LockedGeneric | None = None

    @property
    def file(self) -> LockedPython | LockedArchive | LockedGeneric:
        found = self.python or self.archive or self.generic
        if found is None:
            raise ValueError("a transfer names a file")
        return found

    @property
    def sha256(self) -> Digest:
        return self.file.sha256

    @property
    def proof(self) -> str:
        """Name of what stands for 'this URL gave these bytes'; empty where an index vouches for the file's hash."""
        return sha256(f"{self.generic.url} {self.generic.sha256}".encode())[7:] if self.generic else ""


class Size(Part):
    """How large a file is said to be. The file itself has the last word, when its bytes are counted."""

    count: Annotated[int, Field(ge=0)]
    """Bytes."""
    promised: bool
    """By who vouches for its hash: another size is refused. Else it is its host's word, or a guess."""


GUESS = Size(count=3 << 20, promised=False)
"""Where nobody says: the mean over MaxText's 239 files is 2.7 MB."""


class Planned(Part):
    """A file of a shard."""

    transfer: Transfer
    size: Size
    subject: Subject
    cases: tuple[Digest, ...]
    """By which it was admitted: a younger refusal keeps it out."""


class Shard(Value):
    """A part of a plan, for one delivery."""

    format: Literal["package-dmz/shard/v1"] = "package-dmz/shard/v1"
    lock: Digest
    workload: str
    release: Release
    files: tuple[Planned, ...]
    leaning: dict[str, str]
    """Waivers by which something of the lock was admitted, each with the purl of one such package."""
    holding: dict[str, int]
    """Of each repository of the shard: so many files it lists once the whole plan is carried out."""


class Plan(Value):
    """What is to be brought for a lock, in shards: at least one, so that somebody closes the run."""

    lock: Digest
    parts: tuple[Digest, ...] = ()
    """The stored shards."""
    shards: tuple[tuple[Transfer, ...], ...] = ()
    """In place of `parts`, in a plan that was made before shards were stored one by one."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if bool(self.parts) == bool(self.shards):
            raise ValueError("a plan has either parts or shards")
        return self

    @property
    def count(self) -> int:
        return len(self.parts) or len(self.shards)


def transfers(lock: Lock, python: str, apt: str, generic: str) -> tuple[Transfer, ...]:
    """Everything that a lock needs, in the lock's order: each content once per repository, and by URL once per URL.

    Nobody vouches for a file by URL but the URL itself: the same bytes from another one prove nothing.
    """
    found: dict[tuple[str, str, str], Transfer] = {}

    def add(one: Transfer) -> None:
        found.setdefault((one.repository, one.sha256, one.proof), one)

    for environment in lock.environments:
        for package in environment.packages:
            add(Transfer(repository=python, python=package.model_copy(update={"build": ()})))
            for needed in package.build:
                add(Transfer(repository=python, python=needed))
    for archive in lock.debian:
        add(Transfer(repository=apt, archive=archive))
    for file in lock.generic:
        add(Transfer(repository=generic, generic=file))
    return tuple(found.values())


MOST_FILES = 100
"""Of one shard: a file costs some time however small it is, and a delivery ends after ten minutes."""


def split(sizes: Sequence[tuple[Transfer, int]], limit: int) -> tuple[tuple[Transfer, ...], ...]:
    """Shards of at most `limit` bytes and MOST_FILES files, about equally heavy; at least one.

    A file of more than `limit` is a shard of its own. Heaviest first, each into the lightest shard: O(n log n).
    """
    ordered = sorted(sizes, key=lambda one: (-one[1], one[0].sha256, one[0].repository, one[0].proof))
    alone = [(one,) for one, weight in ordered if weight > limit]
    rest = [(one, weight) for one, weight in ordered if weight <= limit]
    few = max(math.ceil(sum(weight for _, weight in rest) / limit), math.ceil(len(rest) / MOST_FILES))
    shards: list[list[Transfer]] = [[] for _ in range(few)]
    open_ = [(0, number) for number in range(few)]
    for one, weight in rest:
        if not open_ or open_[0][0] + weight > limit:  # what does not fit into the lightest fits nowhere
            heapq.heappush(open_, (0, len(shards)))
            shards.append([])
        taken, number = heapq.heappop(open_)
        shards[number].append(one)
        if len(shards[number]) < MOST_FILES:
            heapq.heappush(open_, (taken + weight, number))
    return (*alone, *(tuple(each) for each in shards if each)) or ((),)
