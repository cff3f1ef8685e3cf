"""What a TPU chip costs in an hour: a price list, Google's or the user's own, and the one price that applies.

Money is Decimal throughout. A price that the list does not have is never guessed: it is a sentence that says so.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from shared.model import accelerators, yaml_file
from shared.model.package import HttpsUrl
from shared.model.value import Part, Value
from shared.model.workload import Provisioning

BUILT_IN = Path(__file__).parent.parent / "data" / "prices" / "google-cloud-tpu.yaml"
_MOST_CHIPS = 100_000


def _date(text: str) -> str:
    said = "a date is like 2026-11-22"
    try:
        found = datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError(said) from None
    if found.isoformat() != text:  # ISO 8601 has further forms, like 20261122
        raise ValueError(said)
    return text


def _family(name: str) -> str:
    if name not in accelerators.FAMILIES:
        raise ValueError(f"there is no such family of TPUs: write one of {', '.join(accelerators.FAMILIES)}")
    return name


Amount = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$")]
"""Money as text, like `"1.20"`: YAML would make a floating-point number of what stands without quotation marks."""


class Price(Part):
    """One line of the list: of a family, in a region, a chip and hour."""

    family: Annotated[str, AfterValidator(_family)]
    """As accelerator types begin: v5litepod, not v5e."""
    region: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    above_chips: Annotated[int, Field(ge=0, le=_MOST_CHIPS)] = 0
    up_to_chips: Annotated[int, Field(ge=1, le=_MOST_CHIPS)] = _MOST_CHIPS
    """The line counts for slices of more than `above_chips` and at most so many chips."""
    on_demand: Amount | None = None
    spot: Amount | None = None

    @model_validator(mode="after")
    def _some(self) -> Price:
        if self.on_demand is None and self.spot is None:
            raise ValueError("this line has no price: give on_demand, spot or both")
        if self.above_chips >= self.up_to_chips:
            raise ValueError("no slice is larger than above_chips and not larger than up_to_chips")
        return self

    def counts_for(self, family: str, chips: int) -> bool:
        return self.family == family and self.above_chips < chips <= self.up_to_chips


class Prices(Value):
    """A price list. No two of its lines count for the same slice in the same region."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """ISO 4217."""
    date: Annotated[str, AfterValidator(_date)]
    """When it was read, or from when on it counts."""
    url: HttpsUrl
    """Where it is published, for whoever misses a price in it."""
    prices: Annotated[tuple[Price, ...], Field(min_length=1, max_length=2000)]

    @model_validator(mode="after")
    def _once(self) -> Prices:
        lines = sorted(self.prices, key=lambda line: (line.family, line.region, line.above_chips))
        for one, other in pairwise(lines):
            same = (one.family, one.region) == (other.family, other.region)
            if same and other.above_chips < one.up_to_chips:
                raise ValueError(
                    f"two lines give a price for {one.family} in {one.region} and the same number of chips: keep one"
                )
        return self

    def rates(self, accelerator_type: str, provisioning: Provisioning) -> dict[str, Decimal]:
        """What the whole slice costs in an hour, by region; empty for `reserved`, which the reservation pays for.

        Permanent if there is no such accelerator type.
        """
        chips, family = accelerators.chips(accelerator_type), accelerators.family(accelerator_type)
        found: dict[str, Decimal] = {}
        for line in self.prices:
            amount = {"on-demand": line.on_demand, "spot": line.spot, "reserved": None}[provisioning]
            if amount is not None and line.counts_for(family, chips):
                found[line.region] = chips * Decimal(amount)
        return found


def read(path: str) -> Prices:
    """The list at `path`, or the one that comes with the project if that is empty; Permanent with line and mistake."""
    return _read(Path(path)) if path else _built_in()


@cache  # every request for a run asks for it
def _built_in() -> Prices:
    return _read(BUILT_IN)


def _read(path: Path) -> Prices:
    return yaml_file.read(path, Prices, "price list", "currency, date, url and prices")


def region(zone: str) -> str:
    """`us-central1` of `us-central1-a`."""
    return zone.rpartition("-")[0]
