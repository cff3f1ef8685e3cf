"""What the workers of one slice report, kept one by one until the last is in.

A multi-host slice is one VM to the TPU API and several machines to whoever installs on it. Each of them reports; its
result is `workers/<vm>-<number>`, written once, in one batch with the count of such results, `slices/<vm>`. A result
that is delivered again is the one that is there. What closes the slice (its run goes on or ends) writes
`slices/<vm>-closed` in the same batch: of several deliveries that see the last result, one closes.

How many must report is known by us: by the accelerator type when the VM is asked for, and by the TPU API's answer. A
slice of one host needs none of this, and has none of these documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import Untrusted
from shared.ports.machines import Vm
from shared.ports.store import Create, Document, Increment, Store

_NAMED = 8
"""Workers that a sentence names one by one."""


def expected(record: Document, vm: Vm | None) -> int:
    """How many workers must report: the more of what its type has and of what the API names.

    While a VM is made, the API names too few; and should our table of types be wrong, a run waits for a worker too
    many, which is seen, rather than complete with one too few.
    """
    return max(int(record.get("workers", 1)), vm.workers if vm else 1)


@dataclass(frozen=True)
class Slice:
    """The workers of one VM."""

    store: Store
    vm: str
    hosts: int
    """How many there are, and must report."""

    def check(self, worker: int) -> None:
        """Untrusted if there is no such worker."""
        if not 0 <= worker < self.hosts:
            raise Untrusted(
                f"A report names worker {worker} of the VM {self.vm}, which has {self.hosts}, counted from 0: it "
                "was not made by one of them."
            )

    def gather(self, worker: int, result: Document) -> dict[int, Document]:
        """Keep a worker's result; what is known by number: every result if all are in or this one says `reason`.

        The first result of a worker counts: a delivery that comes again changes nothing.
        """
        if self.hosts == 1:
            return {worker: result}
        name = _name(self.vm, worker)
        kept = self.store.get("workers", name)
        if kept is None:
            kept = {**result, "vm": self.vm, "worker": worker}
            self.store.put([Create("workers", name, kept), Increment("slices", self.vm, "reported", 1)])
        counted = (self.store.get("slices", self.vm) or {}).get("reported", 0)
        if counted < self.hosts and not kept["reason"]:
            return {worker: kept}
        return results(self.store, self.vm)

    def is_closed(self) -> bool:
        return self.hosts > 1 and self.store.get("slices", _closed(self.vm)) is not None

    def closing(self) -> tuple[Create, ...]:
        """Stands in the batch that goes on from here."""
        return (Create("slices", _closed(self.vm), {"hosts": self.hosts}),) if self.hosts > 1 else ()


def results(store: Store, vm: str) -> dict[int, Document]:
    """Every result that is in, by the worker's number."""
    found = {int(fields["worker"]): fields for _, fields in store.find("workers", "vm", vm)}
    return dict(sorted(found.items()))


def absent(store: Store, name: str, record: Document, vm: Vm | None) -> str:
    """Which workers have not reported, as part of a sentence; empty for a single host."""
    count = expected(record, vm)
    if count == 1:
        return ""
    known = results(store, name)
    missing = [number for number in range(count) if number not in known]
    return f" ({_numbers(missing)} of its {count} workers, counted from 0, did not report)"


def said(reason: str, worker: int, workers: int) -> str:
    """`reason` with the worker that it is about; as it is for a single host."""
    return reason if workers == 1 else f"Worker {worker} (of 0 to {workers - 1}): {reason}"


def _numbers(numbers: Sequence[int]) -> str:
    more = len(numbers) - _NAMED
    named = [str(number) for number in numbers[:_NAMED]] + ([f"{more} more"] if more > 0 else [])
    return " and ".join((", ".join(named[:-1]), named[-1])) if len(named) > 1 else "".join(named)


def _name(vm: str, worker: int) -> str:
    return f"{vm}-{worker}"


def _closed(vm: str) -> str:
    return f"{vm}-closed"
