"""What VMs cost, how a kept one is entered and what seals it, as a person reads it. Pure.

`paid` is False on a platform of this machine: there the sums are what Google Cloud would ask, and nobody pays them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from shared.model import costs, prices
from shared.model.value import printable
from shared.model.workload import Workload
from shared.ports.machines import Vm
from shared.settings import Settings

Note = tuple[str, str]
"""A line of the summary: its name and its text."""
_ENDED = ("PREEMPTED", "SUSPENDED", "TERMINATED", "STOPPED", "DELETING")
_AWAITED = ("ACCEPTED", "WAITING_FOR_RESOURCES")
"""States of a queued request that costs nothing yet."""


def estimate(workload: Workload, settings: Settings, paid: bool) -> str:
    """What the run's VMs will cost at most. Permanent if the price list cannot be read."""
    terms = costs.terms(workload, settings.zone, prices.read(settings.prices))
    seconds = workload.install_minutes * 60 + float(settings.report_grace_seconds)
    return _said(costs.estimated(terms, seconds, workload.after == "keep"), paid, "is")


def spent(
    run: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], now: float, paid: bool, kept: bool
) -> str:
    """What the run's VMs have cost, from their `records` by kind; empty if that cannot be said.

    `kept`: the inner VM stays, and goes on costing money.
    """
    terms = costs.of_run(run)
    if terms is None or not records:
        return ""
    each = {kind: costs.of_record(terms, record, now) for kind, record in records.items()}
    whole = costs.total(list(each.values()))
    if whole.amount is None:
        return _said(whole.why, paid, "was")
    parts = {kind: costs.cents(cost.amount) for kind, cost in each.items() if cost.amount is not None}
    listed = ", ".join(f"{kind} VM {costs.money(amount, terms)}" for kind, amount in parts.items())
    # The sum of what is shown: two amounts that do not add up would be taken for a mistake.
    whole_said = costs.money(sum(parts.values(), Decimal(0)), terms)
    text = f"at most {whole_said} ({listed}; prices of {terms.date})"
    inner = each.get("inner")
    if kept and inner and inner.rate is not None and not records["inner"].get("ended"):
        text += f"; from now on {costs.rate(inner.rate, terms)} until the inner VM is deleted"
    return _said(text, paid, "was")


def notes(run: Mapping[str, Any], cost: str) -> Iterator[Note]:
    """What the summary says below everything else."""
    inner = run.get("inner") or {}
    if "sealed_by" in inner:
        sealed = printable(str(inner["sealed_by"]), 200)
        yield "seal", sealed or "not known; the inner stage has no setting sealed_by"
    if cost:
        yield "cost", cost


def enter(run: Mapping[str, Any]) -> str:
    """The command that opens a shell in the run's kept VM; empty if there is none."""
    return printable(str((run.get("inner") or {}).get("enter", "")), 500)


def shown(
    vm: Vm, record: Mapping[str, Any] | None, run: Mapping[str, Any], now: float, paid: bool
) -> Iterator[str]:
    """A VM as `./dmz status` lists it: nobody shall forget a TPU that costs money."""
    words = [printable(f"VM {vm.name} {vm.state}", 200)]
    if record is None:
        yield f"  {words[0]}: no run that is known here asked for it; delete it if nobody needs it."
        return
    terms = costs.of_run(run)
    zone = vm.zone or str(record.get("zone", "")) or (costs.zone_of(terms, record) if terms else "")
    words += [zone, terms.provisioning if terms else ""]
    words.append(f"{age(now - float(record['asked']))} old")
    kept = (run.get("state"), run.get("after"), record.get("kind")) == ("completed", "keep", "inner")
    words.append(f"{'kept' if kept else 'at work'} (after: {run.get('after', 'unknown')})")
    line = "  " + printable(", ".join(filter(None, words)), 400)
    yield f"{line}: {_so_far(vm, record, terms, now, paid)}"
    if kept and vm.state == "READY" and (command := enter(run)):
        yield f"    enter it with {command}"


def of_run(run: Mapping[str, Any], paid: bool) -> str:
    """What `./dmz status` says of a run's cost: the estimate while it goes on, then what its VMs have cost."""
    cost = run.get("cost") or {}
    if run.get("state") == "running":
        return f"cost: {_said(printable(str(cost['estimate']), 1000), paid, 'is')}" if cost else ""
    kept = (run.get("state"), run.get("after")) == ("completed", "keep") and not _lost(run)
    said = [
        f"{kind} VM {_billed(each)}{' until it was ready' if kept and kind == 'inner' else ''}"
        for kind, each in sorted(cost.get("vms", {}).items(), reverse=True)
    ]
    return f"cost: {_said(', '.join(said), paid, 'was')}" if said else ""


def _lost(run: Mapping[str, Any]) -> bool:
    return bool((run.get("machines") or {}).get("inner", {}).get("lost"))


def _billed(vm: Mapping[str, Any]) -> str:
    amount = printable(str(vm.get("at_most", "")), 100)
    return f"at most {amount}" if amount else printable(str(vm.get("why", "")), 500)


def _so_far(vm: Vm, record: Mapping[str, Any], terms: costs.Terms | None, now: float, paid: bool) -> str:
    if terms is None:
        return "what it costs is not known."
    cost = costs.of_record(terms, {**record, "zone": vm.zone or record.get("zone", "")}, now)
    if cost.amount is None or cost.rate is None:
        return _said(cost.why, paid, "is") + "."
    if vm.state in _AWAITED:
        return _said(f"nothing so far, {costs.rate(cost.rate, terms)} once it is there", paid, "is") + "."
    more = "" if vm.state in _ENDED else f", {costs.rate(cost.rate, terms)} from now on"
    return _said(f"at most {costs.money(cost.amount, terms)} so far{more}", paid, "is") + "."


def _said(text: str, paid: bool, tense: str) -> str:
    return text if paid else f"on Google Cloud {text}; nothing {tense} paid here"


def age(seconds: float) -> str:
    """Like `3 h 12 min` or `2 d 4 h`."""
    minutes = max(0, math.floor(seconds / 60))
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
