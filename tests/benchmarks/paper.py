"""On paper: what a run costs on Google Cloud at list price, how long it takes at the least, which quota bites first.

Pure. Amounts follow from the number of artifacts and of bytes; the coefficients of `PER` are what
`tests.benchmarks.tally` counts, and a test holds the two together. Prices are in US dollars without the free tiers, in
us-central1, as of 2026-11; Firestore's are those of its US multi-region, twice a region's. Sources, read as of 2026-11:

- Cloud Run, request-based billing: https://cloud.google.com/run/pricing
- Pub/Sub, at least 1,000 bytes a request, by TiB: https://cloud.google.com/pubsub/pricing
- Firestore, by document: https://cloud.google.com/firestore/pricing
- Artifact Registry, by GB and month; transfer within a region is free: https://cloud.google.com/artifact-registry/pricing
- quotas: https://cloud.google.com/artifact-registry/quotas, https://cloud.google.com/pubsub/quotas,
  https://cloud.google.com/run/quotas, https://cloud.google.com/firestore/quotas and, for one document,
  https://cloud.google.com/firestore/docs/best-practices

Not counted: VMs, the outer VM's own download, networks between regions, logs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.model.plan import MOST_FILES
from shared.settings import Settings

MEAN_BYTES = 667_000_000 / 239
"""Of MaxText's files."""
INSTANCES, VCPUS, GIB = 40, 2, 4
"""Of the sync service (terraform/outer/stages.tf)."""


@dataclass(frozen=True)
class Speed:
    """Of one instance: seconds for each file however small, and bytes a second beside."""

    file_seconds: float
    bytes_second: float

    def seconds(self, load: Load) -> float:
        return load.artifacts * self.file_seconds + load.bytes / self.bytes_second


@dataclass(frozen=True)
class Load:
    artifacts: int
    bytes: float

    @property
    def shards(self) -> int:
        by_bytes = math.ceil(self.bytes / Settings.shard_bytes)
        return max(1, by_bytes, math.ceil(self.artifacts / MOST_FILES))


@dataclass(frozen=True)
class Coefficients:
    """What one run asks for at all, each of its shards, and each of its files."""

    run: float
    shard: float
    file: float

    def of(self, load: Load) -> float:
        return self.run + self.shard * load.shards + self.file * load.artifacts


PER = {
    "reads": Coefficients(105, 15, 1),
    "writes": Coefficients(105, 12, 3),
    "deletes": Coefficients(3, 1, 0),
    "stored": Coefficients(151_000, 1_300, 3_700),
    "messages": Coefficients(4, 1, 0),
    "delivered": Coefficients(3, 1, 0),
}
"""Documents; bytes; messages."""


@dataclass(frozen=True)
class Line:
    """One position of the bill."""

    service: str
    what: str
    amount: float
    unit: str
    price: float
    """Dollars for one unit."""
    monthly: bool = False

    @property
    def dollars(self) -> float:
        return self.amount * self.price


def bill(load: Load, speed: Speed) -> tuple[Line, ...]:
    """Every position, in the order of the services."""
    used = {name: each.of(load) for name, each in PER.items()}
    seconds = speed.seconds(load)
    sent = used["messages"] + used["delivered"]
    return (
        Line("Cloud Run", "processors", VCPUS * seconds, "vCPU-s", 0.000024),
        Line("Cloud Run", "memory", GIB * seconds, "GiB-s", 0.0000025),
        Line("Cloud Run", "requests", used["delivered"], "requests", 0.40 / 1e6),
        Line("Pub/Sub", "messages in and out, of 1,000 bytes", sent, "messages", 40 * 1000 / 2**40),
        Line("Firestore", "documents read", used["reads"], "reads", 0.06 / 1e5),
        Line("Firestore", "documents written", used["writes"], "writes", 0.18 / 1e5),
        Line(
            "Firestore",
            "documents deleted, at their end too",
            used["deletes"] + used["writes"],
            "deletes",
            0.02 / 1e5,
        ),
        Line("Firestore", "stored", used["stored"] / 2**30, "GiB", 0.18, monthly=True),
        Line("Artifact Registry", "stored", load.bytes / 1e9, "GB", 0.10, monthly=True),
    )


def once(lines: Sequence[Line]) -> float:
    """Dollars for one run."""
    return sum(line.dollars for line in lines if not line.monthly)


def monthly(lines: Sequence[Line]) -> float:
    """Dollars for each month that the run and its files are kept."""
    return sum(line.dollars for line in lines if line.monthly)


@dataclass(frozen=True)
class Quota:
    """What may pass in a minute, and what one run wants."""

    what: str
    minute: float
    wanted: float
    source: str

    @property
    def seconds(self) -> float:
        """It takes at least so long."""
        return 60 * self.wanted / self.minute


def quotas(load: Load) -> tuple[Quota, ...]:
    """Those that a run comes near, the one that holds it up the longest first.

    An upload is one request to write. Every shard asks what the repository holds: by pages of 1,000 files, or for each
    file of its own where those are fewer (`functions.sync.decide`).
    """
    used = {name: each.of(load) for name, each in PER.items()}
    asked = min(load.shards * math.ceil(load.artifacts / 1000), load.artifacts)
    registry = "https://cloud.google.com/artifact-registry/quotas"
    found = (
        Quota("Artifact Registry: write requests, project and region", 18_000, load.artifacts, registry),
        Quota(
            "Artifact Registry: all requests, project and region", 60_000, load.artifacts + asked, registry
        ),
        Quota(
            "Pub/Sub: kB published, region",
            12_000_000,
            used["messages"],
            "https://cloud.google.com/pubsub/quotas",
        ),
    )
    return tuple(sorted(found, key=lambda each: -each.seconds))


def least_seconds(load: Load, speed: Speed) -> float:
    """All instances at work, and no quota passed."""
    return max(speed.seconds(load) / INSTANCES, quotas(load)[0].seconds)


def counter_rate(load: Load, speed: Speed) -> float:
    """Writes a second to the one document that counts the shards that have ended."""
    return load.shards / least_seconds(load, speed)


def crowd(load: Load, speed: Speed) -> float:
    """How many instances together reach the first quota."""
    first = quotas(load)[0]
    return speed.seconds(load) / first.seconds


def _dollars(value: float) -> str:
    if value < 0.00005:
        return "below $0.0001"
    return f"${value:.4f}" if value < 0.1 else f"${value:,.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def bill_table(load: Load, speed: Speed) -> str:
    """The bill in Markdown."""
    lines = bill(load, speed)
    rows = [
        f"| {line.service} | {line.what} | {_number(line.amount)} {line.unit} | {_dollars(line.dollars)}"
        f"{' a month' if line.monthly else ''} |"
        for line in lines
    ]
    total = f"| | **all** | | **{_dollars(once(lines))}, and {_dollars(monthly(lines))} a month** |"
    return "\n".join(("| service | what | amount | at list price |", "|---|---|---|---|", *rows, total))


def quota_table(load: Load) -> str:
    """The quotas in Markdown."""
    rows = [
        f"| [{each.what}]({each.source}) | {each.minute:,.0f} | {each.wanted:,.0f} | {each.seconds:.1f} s |"
        for each in quotas(load)
    ]
    return "\n".join(("| quota | in a minute | wanted | takes at least |", "|---|---|---|---|", *rows))
