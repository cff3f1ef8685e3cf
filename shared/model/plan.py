"""The sync plan: what the repositories lack, split into shards. Data: printable, testable, the same in a dry run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.model.lock import Lock, LockedArchive, LockedGeneric, LockedPython
from shared.model.value import Digest, Value, sha256


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

    @property
    def weight(self) -> int:
        """Bytes, or a guess where the index does not say."""
        return _GUESS if isinstance(self.file, LockedPython) else self.file.size


class Plan(Value):
    lock: Digest
    shards: Annotated[tuple[tuple[Transfer, ...], ...], Field(min_length=1)]


_GUESS = 3 << 20
"""Bytes: PyPI's HTML pages carry no sizes; the mean over MaxText's 239 files is 2.7 MB."""


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


def shard(missing: tuple[Transfer, ...], limit: int) -> tuple[tuple[Transfer, ...], ...]:
    """Shards of at most `limit` bytes, heaviest files first; at least one shard, so that somebody closes the run."""
    shards: list[list[Transfer]] = []
    weights: list[int] = []
    for one in sorted(missing, key=lambda t: (-t.weight, t.sha256)):
        place = next((i for i, weight in enumerate(weights) if weight + one.weight <= limit), None)
        if place is None:
            shards.append([one])
            weights.append(one.weight)
        else:
            shards[place].append(one)
            weights[place] += one.weight
    return tuple(tuple(each) for each in shards) or ((),)
