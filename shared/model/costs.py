"""What the VMs of a run cost: estimated before, counted after. Pure; money is Decimal, rounded up, never float.

Only TPU chips are counted, which bring their host with them (https://cloud.google.com/tpu/pricing); disks, traffic and
taxes are not. Cloud TPU charges while a VM is READY. What is counted is its whole life, from the request to the
deletion, so every sum here is an upper limit and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Annotated, Any

from pydantic import Field

from shared.errors import Permanent
from shared.model import accelerators
from shared.model.prices import Prices, region
from shared.model.value import Part
from shared.model.workload import Provisioning, Workload

_CENT = Decimal("0.01")
_HOUR = Decimal(3600)
BETWEEN_LOOKS = 120.0
"""Seconds: twice what lies between two ticks of the watchdog, which notes that a VM is there after it has come."""
Money = Annotated[str, Field(pattern=r"^[0-9]{1,15}(\.[0-9]{1,12})?$")]
"""An amount as text: a document of the store holds floating-point numbers, and no decimal ones."""


class Terms(Part):
    """By what the VMs of a run are paid for: kept in the run's document, so that no later price list changes it."""

    currency: str
    date: str
    url: str
    accelerator_type: str
    chips: int
    """0: there is no such accelerator type as far as this project knows."""
    provisioning: Provisioning
    reservation: str
    zones: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where a VM may be asked for, in this order."""
    rates: dict[str, Money]
    """What one VM costs in an hour, by region."""

    def rate(self, zone: str) -> Decimal | None:
        """What one VM in `zone` costs in an hour; None if that is not known."""
        found = self.rates.get(region(zone))
        return None if found is None else Decimal(found)

    def unknown(self, zone: str) -> str:
        """Why there is no rate in `zone`; empty if there is one."""
        if self.provisioning == "reserved":
            return f"paid for by the reservation {self.reservation}".rstrip()
        if self.rate(zone) is not None:
            return ""
        return f"no price known for {self.accelerator_type}, {self.provisioning}, in {region(zone)}; see {self.url}"


@dataclass(frozen=True)
class Cost:
    """What one VM costs, or has cost."""

    amount: Decimal | None
    """An upper limit; None if it is not known, or paid for otherwise."""
    rate: Decimal | None
    """An hour more."""
    why: str
    """Why there is no amount; empty if there is."""


def terms(workload: Workload, zone: str, prices: Prices) -> Terms:
    """For the VMs of `workload`; `zone` counts if it names none itself."""
    kind = workload.accelerator_type
    try:
        chips, rates = accelerators.chips(kind), prices.rates(kind, workload.provisioning)
    except Permanent:  # a type that is newer than this project has no price, and may well be created
        chips, rates = 0, {}
    return Terms(
        currency=prices.currency,
        date=prices.date,
        url=prices.url,
        accelerator_type=kind,
        chips=chips,
        provisioning=workload.provisioning,
        reservation=workload.reservation,
        zones=workload.zones or (zone,),
        rates={name: f"{amount:f}" for name, amount in rates.items()},
    )


def vm(terms: Terms, zone: str, asked: float, until: float) -> Cost:
    """What a VM in `zone` costs that was asked for at `asked` and lived, or lives, `until`; seconds since 1970."""
    rate = terms.rate(zone)
    if rate is None:
        return Cost(None, None, terms.unknown(zone))
    return Cost(rate * Decimal(max(0, math.ceil(until - asked))) / _HOUR, rate, "")


def total(costs: Sequence[Cost]) -> Cost:
    """Of several VMs. Known only if each is; the rate is that of all together."""
    for each in costs:
        if each.amount is None:
            return each
    amounts = (each.amount for each in costs if each.amount is not None)
    rates = (each.rate for each in costs if each.rate is not None)
    return Cost(sum(amounts, Decimal(0)), sum(rates, Decimal(0)), "")


def estimate(terms: Terms, seconds: float) -> Cost:
    """Of both VMs of a run, of which each reports, or is deleted, within `seconds`: in the dearest zone."""
    each = [total([vm(terms, zone, 0, seconds)] * 2) for zone in terms.zones]
    return max(each, key=lambda cost: (cost.amount is None, cost.amount or 0))


def estimated(terms: Terms, seconds: float, kept: bool) -> str:
    """The estimate as a sentence without its full stop; `kept`: the inner VM stays when the run has completed."""
    cost = estimate(terms, seconds)
    if cost.amount is None or cost.rate is None:
        return cost.why
    where = " or ".join(dict.fromkeys(region(zone) for zone in terms.zones))
    chips = f"{terms.chips} chip{'s' if terms.chips != 1 else ''}"
    each = f"{terms.accelerator_type} ({chips}), {terms.provisioning} in {where}"
    minutes = math.ceil(seconds / 60)
    text = f"at most {money(cost.amount, terms)} for two VMs: {each}, at most {minutes} minutes each"
    if terms.provisioning == "spot" and len(terms.zones) > 1:
        text += ", and as much for each that is preempted and asked for again"
    if kept:
        text += f"; from then on {rate(cost.rate / 2, terms)} while the inner VM is kept"
    return f"{text} (prices of {terms.date})"


# --- in the documents of the store: run.cost is {terms, estimate, vms: {outer, inner}} --------------------------------


def begun(terms: Terms, seconds: float, kept: bool) -> dict[str, Any]:
    """`cost` of the run's document as it begins."""
    return {"terms": terms.model_dump(mode="json"), "estimate": estimated(terms, seconds, kept)}


def of_run(run: Mapping[str, Any]) -> Terms | None:
    """The terms in a run's document; None if it has none, or in a form that is not read here (any more).

    To count what a VM costs must never stand in the way of deleting it.
    """
    try:
        return Terms.check(run["cost"]["terms"], "The terms in the run's document")
    except (Permanent, KeyError, TypeError):
        return None


def of_record(terms: Terms, record: Mapping[str, Any], now: float) -> Cost:
    """Of the VM whose record in `vms` this is, until its end or `now`, and of those that were preempted before it."""
    lives = list(record.get("lives", {}).values())
    spans = [(str(each["zone"]), float(each["since"]), float(each["until"])) for each in lives]
    zone = zone_of(terms, record)
    preempted = {each["asked"] for each in lives}
    if record["asked"] not in preempted:  # the last one may be among them
        spans.append((zone, _since(record), float(record.get("ended") or now)))
    whole = total([vm(terms, *span) for span in spans])
    return Cost(whole.amount, terms.rate(zone), whole.why)


def life(record: Mapping[str, Any], now: float) -> dict[str, Any]:
    """One of the record's `lives`: of a VM that is given up at `now`, as another may take its place."""
    return {"zone": record["zone"], "asked": record["asked"], "since": _since(record), "until": now}


def _since(record: Mapping[str, Any]) -> float:
    """When the VM may have begun to cost something: not while its request waited in a queue."""
    seen = record.get("seen", {}).get(str(len(record.get("tried", ()))))
    asked = float(record["asked"])
    return asked if seen is None else max(asked, float(seen) - BETWEEN_LOOKS)


def zone_of(terms: Terms, record: Mapping[str, Any]) -> str:
    return str(record.get("zone") or terms.zones[0])


def billed(run: Mapping[str, Any], record: Mapping[str, Any], now: float) -> dict[str, Any]:
    """One of `cost.vms`: what the VM has cost until its end or `now`; empty if nothing is known of its terms."""
    terms = of_run(run)
    if terms is None:
        return {}
    cost = of_record(terms, record, now)
    amount = "" if cost.amount is None else money(cost.amount, terms)
    hour = "" if cost.rate is None else rate(cost.rate, terms)
    until = float(record.get("ended") or now)
    return {
        "zone": zone_of(terms, record),
        "until": until,
        "at_most": amount,
        "rate": hour,
        "why": cost.why,
    }


def cents(amount: Decimal) -> Decimal:
    """Rounded up, as an upper limit is."""
    return amount.quantize(_CENT, ROUND_UP)


def money(amount: Decimal, terms: Terms) -> str:
    """In cents, like `1.20 USD`."""
    return f"{cents(amount):f} {terms.currency}"


def rate(amount: Decimal, terms: Terms) -> str:
    """An hour's price to the last digit, cents at least."""
    plain = amount.normalize()
    exponent = plain.as_tuple().exponent
    short = plain if isinstance(exponent, int) and exponent <= -2 else plain.quantize(_CENT)
    return f"{short:f} {terms.currency} an hour"
