"""A second look at what a plan rests on: between the verdicts, the upload and the close lie minutes, or a replay.

1. Every waiver by which something of the plan was admitted counts still. What was judged on the way to the lock and is
   not in it does not matter.
2. What has been judged again since, and was refused for this workload, is not brought in: a late shard would put back
   what was just taken out. What was refused before the verdict is no matter: the verdict knew more.
3. What was there when the plan was made, and was taken out since, ends the run: nobody brings it.

Each is Permanent with one sentence; run again, the workload is judged by what is known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from shared import held_files, waivers
from shared.errors import Permanent
from shared.held import holdings
from shared.held.reevaluation import STANDING, standing_id
from shared.model.case import Case
from shared.model.lock import Lock
from shared.model.plan import Planned, Transfer
from shared.model.value import Digest, printable
from shared.model.verdict import Verdict, Verdicts
from shared.model.workload import Workload
from shared.ports.store import Blobs, Document, Store
from shared.settings import Settings

_QUESTIONS = 8
"""Documents that are asked for at once."""


@dataclass(frozen=True)
class Basis:
    """The stored verdicts by which a lock was made: first those about the manifest, then those on the way to it."""

    lock: Lock
    workload: Workload
    judged: tuple[Verdicts, ...]

    @classmethod
    def read(cls, lock: Lock, workload: Workload, judged: Sequence[Digest], blobs: Blobs) -> Basis:
        """Permanent if nobody says by which verdicts, or one cannot be read."""
        if not judged:
            raise Permanent(
                f"Nobody says by which verdicts the lock {lock.digest} was made; run the workload again."
            )
        found = (Verdicts.read(blobs.get(each), f"The verdicts {each}") for each in judged)
        return cls(lock, workload, tuple(found))

    def check_waivers(self, settings: Settings, store: Store, now: float) -> None:  # 1
        waivers.check_leaning(self.leaning(settings), store, now)

    def leaning(self, settings: Settings) -> Mapping[str, str]:
        """The waivers by which something of the lock was admitted, each with one such package."""
        first, *others = self.judged
        chosen: list[Verdict] = []
        if any(each.waivers for some in others for each in some.verdicts):
            names = {self.purl(transfer) for transfer in holdings.wanted(self.lock, settings)}
            chosen = [each for some in others for each in some.verdicts if each.package.purl in names]
        return waivers.admitting((*first.verdicts, *chosen))

    def check_gone(self, absent: Iterable[Transfer], store: Store) -> None:  # 3
        """Of what the repositories do not list: late is one thing, taken out another."""
        for transfer in absent:
            name = held_files.record_id(transfer.repository, transfer.sha256)
            if (store.get(held_files.RECORDS, name) or {}).get("evicted"):
                raise Permanent(f"{self.purl(transfer)} was refused meanwhile; run the workload again.")

    def purl(self, transfer: Transfer) -> str:
        return held_files.subject(transfer, self.lock, self.workload).package.purl

    @cached_property
    def cases(self) -> Mapping[str, tuple[Digest, ...]]:
        """By purl: the cases by which it was admitted."""
        found: dict[str, dict[Digest, None]] = {}
        for some in self.judged:
            for each in some.verdicts:
                if each.decision == "allow":
                    found.setdefault(each.package.purl, {})[some.case] = None
        return {purl: tuple(cases) for purl, cases in found.items()}


def check_standing(workload: str, todo: Iterable[Planned], store: Store, blobs: Blobs) -> None:  # 2
    """Of what is to be uploaded for this workload."""
    about = {held_files.key(each.subject): each for each in todo}
    names = sorted(about)
    with ThreadPoolExecutor(_QUESTIONS, thread_name_prefix="standing") as pool:
        found = list(pool.map(lambda key: store.get(STANDING, standing_id(key)) or {}, names))
    for key, stands in zip(names, found, strict=True):
        each = about[key]
        if _refused(stands, workload) and float(stands["since"]) > _judged_at(each.cases, blobs):
            why = printable(str(stands.get("reason")), 500)
            raise Permanent(
                f"{each.subject.package.purl} was refused meanwhile ({why}); run the workload again."
            )


def _refused(stands: Document, workload: str) -> bool:
    """For this workload; by what stands for all where it was not asked about this one."""
    own = [each["decision"] for each in stands.get("by_workload", ()) if each["workload"] == workload]
    decision: str = own[0] if own else stands.get("decision", "allow")
    return decision != "allow"


def _judged_at(cases: Iterable[Digest], blobs: Blobs) -> float:
    """When the youngest verdict of these cases was given, seconds since 1970; 0 if there is none."""
    moments = [Case.read(blobs.get(case), f"The case {case}").at for case in cases]
    return max((datetime.fromisoformat(at).timestamp() for at in moments), default=0.0)
