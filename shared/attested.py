"""Attestations of what is held: who published it when it came in, and whether the index still says so. Else an alarm.

Compared is each file whose record names publishers, with what the index says of the same file now:
1. It names no attestations any more, or has none where it says that they are.
2. What it serves does not verify.
3. It verifies, and others have published the file.
4. For some weeks after a file came in: an older version that is held was attested, and this one is not, or by others.

5. A file came in before anybody asked, or before the index had attestations of it, and it has them now: they are proved
   and noted, as if they had been there. If they do not hold, that is an alarm, too.

An index does none of the first three by itself: attestations come with their file, and stay. The fourth is what a
stolen password looks like, and a release by hand, and a project that moved. Nothing is evicted for any of it; the
bytes are the ones that were proved, and a person has to find out what has become of the index or the project.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from packaging.version import Version

from shared import alarms
from shared.errors import DmzError, Permanent, Transient
from shared.held_files import RECORDS, record_id, recorded
from shared.model.holdings import HeldFile, Holdings
from shared.model.lock import LockedPython
from shared.model.plan import Transfer
from shared.model.publisher import Publisher
from shared.model.value import Digest, sha256
from shared.ports.store import Document, Put, Store
from shared.ports.upstream import PythonIndex
from shared.upstream.tags import version_of

_PARALLEL = 8
_LOUD = 200
_NEWS = 30 * 86_400.0
"""Seconds for which a change of hands is an alarm: what nobody minded for so long is borne."""
_DOWN = 5
"""Questions in a row without an answer, after which the index counts as down."""
Prove = Callable[[LockedPython, bytes], tuple[Publisher, ...]]


# --- when a file comes in ---


def noted(store: Store, transfer: Transfer, publishers: Iterable[Publisher], served: bytes) -> Iterator[Put]:
    """What stays known of the publishers of a file: whoever it was at its first coming.

    A later answer never takes that place: it would end the very alarm that it is the reason for.
    """
    name = record_id(transfer.repository, transfer.sha256)
    if not (store.get(RECORDS, name) or {}).get("attested"):
        named = [each.model_dump(mode="json") for each in publishers]
        fields = {"attested": True, "publishers": named, "provenance": sha256(served)}
        yield Put(RECORDS, name, fields, merge=True)


def publishers(record: Document) -> tuple[Publisher, ...]:
    """Whom a record names; Permanent if it cannot be read."""
    named = record.get("publishers") or ()
    return tuple(Publisher.check(each, "The record of a held file") for each in named)


def named(wanted: Iterable[Transfer], store: Store) -> dict[Digest, tuple[Publisher, ...]]:
    """By sha256: the noted publishers of those files that the index says it has attestations of."""

    def of(one: Transfer) -> tuple[Digest, tuple[Publisher, ...]]:
        with suppress(Permanent):  # of a record that cannot be read, an alarm says so
            return one.sha256, publishers(store.get(RECORDS, record_id(one.repository, one.sha256)) or {})
        return one.sha256, ()

    asked = [one for one in wanted if one.python is not None and one.python.provenance]
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="attested") as pool:
        return {digest: found for digest, found in pool.map(of, asked) if found}


# --- while it is held ---


@dataclass(frozen=True)
class _File:
    """One attested file that is held."""

    subject: str
    came: float
    file: LockedPython
    publishers: tuple[Publisher, ...]
    provenance: str
    """sha256 of what was served: while it is the same, nothing need be verified."""


def watch(holdings: Holdings, index: PythonIndex, prove: Prove, store: Store, now: float) -> None:
    """Sound an alarm for each file, and end those that are over. What could not be asked may still be so."""
    files = list(_attested(holdings, store))
    asker = _Asker(index, prove)
    late = asker.belated(holdings, {file.subject for file in files}, store)  # 5
    if asker.learnt:
        files = list(_attested(holdings, store))
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="attested") as pool:
        told = list(pool.map(asker.ask, files))
    lost = dict(_passed_on(holdings, files, store, now))  # 4
    lost |= {subject: why for subject, why in late.items() if why}
    lost |= {file.subject: why for file, why in zip(files, told, strict=True) if why}
    dark = {file.subject for file, why in zip(files, told, strict=True) if why is None}
    dark |= {subject for subject, why in late.items() if why is None}
    for subject, why in sorted(lost.items())[:_LOUD]:
        alarms.sound(store, "attestation", subject, why, now, "sync")
    alarms.still(store, "attestation", {*lost, *dark}, now)
    if dark:
        words = f"The attestations of {len(dark)} held files, {min(dark)} among them, could not be compared."
        alarms.sound(store, "no-data", "attestations", words, now, "sync")
    else:
        alarms.over(store, "no-data", "attestations", now)


def _attested(holdings: Holdings, store: Store) -> Iterator[_File]:
    held = {(file.repository, file.sha256) for each in holdings.held for file in each.files}
    for _, record in store.find(RECORDS, "attested", True):
        try:
            transfer, named = recorded(record)[2], publishers(record)
        except Permanent:
            continue  # it is a stray as well, and an alarm says so
        if transfer.python is None or (transfer.repository, transfer.sha256) not in held:
            continue
        subject = f"{transfer.repository} {transfer.python.filename}"
        served = str(record.get("provenance", ""))
        yield _File(subject, float(record.get("came", 0)), transfer.python, named, served)


def _passed_on(
    holdings: Holdings, attested: Sequence[_File], store: Store, now: float
) -> Iterator[tuple[str, str]]:
    """(subject, what is to be asked) of files whose project was somebody else's in the version before."""
    versions: dict[str, dict[Version, set[Publisher]]] = {}
    for one in attested:
        if (version := version_of(one.file.filename)) is not None:
            versions.setdefault(one.file.name, {}).setdefault(version, set()).update(one.publishers)
    for one in (*attested, *_unattested(holdings, versions, {each.subject for each in attested}, store)):
        its = version_of(one.file.filename)
        older = [version for version in versions.get(one.file.name, ()) if its is not None and version < its]
        if not older or one.came < now - _NEWS:
            continue
        before, by = max(older), versions[one.file.name][max(older)]
        if by.isdisjoint(one.publishers):
            yield (
                one.subject,
                f"{one.file.filename} came in attested to be published by {_names(one.publishers)}, and {before}, "
                f"the version before it, by {_names(sorted(by, key=str))}: find out whether the project knows of it.",
            )


def _unattested(
    holdings: Holdings, projects: Container[str], known: Container[str], store: Store
) -> Iterator[_File]:
    """The other files of those projects, if the index was asked for attestations when they came in."""
    for held in holdings.held:
        package = held.subject.package
        if package.ecosystem != "pypi" or package.name not in projects or held.subject.own_wheel:
            continue
        for file in held.files:
            subject = f"{file.repository} {file.name}"
            if subject in known:
                continue
            record = store.get(RECORDS, record_id(file.repository, file.sha256)) or {}
            try:
                transfer = recorded(record)[2]
            except Permanent:
                continue  # a stray: an alarm says so
            if transfer.python and "provenance" in transfer.python.model_fields_set:
                yield _File(subject, float(record.get("came", 0)), transfer.python, (), "")


@dataclass
class _Asker:
    """Asks the index about one file after the other, and stops when nobody answers."""

    index: PythonIndex
    prove: Prove
    silent: int = 0
    """Questions in a row that had no answer."""
    learnt: bool = False
    """Publishers of some file were noted belatedly."""

    def ask(self, one: _File) -> str | None:
        """What is wrong with the file's attestations today; empty if nothing is, None if that cannot be told."""
        if self.silent >= _DOWN:
            return None
        was = f"When {one.file.filename} came in, it was attested to be published by {_names(one.publishers)}; now"
        try:
            said = self._answer(one)
        except Transient:
            self.silent += 1
            return None
        except DmzError as error:  # 1, 2
            said = f"its attestations do not hold: {error}"
        self.silent = 0
        return f"{was} {said}" if said else said

    def belated(self, holdings: Holdings, known: Container[str], store: Store) -> dict[str, str | None]:
        """By subject of a file of which nobody is on record: as `ask`, once its publishers are noted if it has any."""
        unknown = [
            (held.subject.package.name, file)
            for held in holdings.held
            if held.subject.package.ecosystem == "pypi" and not held.subject.own_wheel
            for file in held.files
            if f"{file.repository} {file.name}" not in known
        ]
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="attested") as pool:
            told = pool.map(lambda each: self._learn(each[0], each[1], store), unknown)
            return {
                f"{file.repository} {file.name}": why for (_, file), why in zip(unknown, told, strict=True)
            }

    def _learn(self, name: str, file: HeldFile, store: Store) -> str | None:
        if self.silent >= _DOWN:
            return None
        try:
            # The page has been read already, to see whether the file is still the same: most files end here.
            offered = {each.filename: each for each in self.index.files(name)}.get(file.name)
            if offered is not None and offered.sha256 == file.sha256 and offered.provenance:
                self._note(file, offered.provenance, store)
        except Transient:
            self.silent += 1
            return None
        except DmzError as error:
            return f"The index has attestations of {file.name} now, and they do not hold: {error}"
        self.silent = 0
        return ""

    def _note(self, file: HeldFile, where: str, store: Store) -> None:
        record = store.get(RECORDS, record_id(file.repository, file.sha256)) or {}
        try:
            transfer = recorded(record)[2]
        except Permanent:
            return  # a stray: an alarm says so
        if transfer.python is not None:
            served = self.index.provenance(file.name, where)
            store.put([*noted(store, transfer, self.prove(transfer.python, served), served)])
            self.learnt = True

    def _answer(self, one: _File) -> str | None:
        file = one.file
        offered = {each.filename: each for each in self.index.files(file.name)}.get(file.filename)
        if offered is None or offered.sha256 != file.sha256:
            return ""  # that is drift itself: an alarm of its own, and a sterner one
        if not offered.provenance:  # 1
            return "the index names no attestations of it: find out why they were taken back."
        served = self.index.provenance(file.filename, offered.provenance)  # 1
        if sha256(served) == one.provenance:
            return ""
        found = self.prove(file, served)  # 2
        if set(found) != set(one.publishers):  # 3
            return f"it is {_names(found)}: find out which of them the project trusts."
        return ""


def _names(some: Iterable[Publisher]) -> str:
    return ", ".join(map(str, some)) or "nobody"
