"""What the events of the chain carry."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from shared.model.package import key_of
from shared.model.value import Digest, Value
from shared.model.verdict import Decision
from shared.model.waiver import Line, Waiver
from shared.model.workload import Workload

RunId = Annotated[str, Field(pattern=r"^run-[0-9a-f]{12}$", description="The run that the event belongs to.")]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""As large as every JSON reader keeps exact (RFC 8259, section 6)."""


def _shown(text: str) -> str:
    """`text` without what a terminal or a log would obey; as long as before."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


Tail = Annotated[str, Field(max_length=16_384), AfterValidator(_shown)]
"""Lines that a VM wrote: people read them on a terminal."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Purl = Annotated[str, Field(max_length=8000, pattern=r"^pkg:[!-~]+$")]
"""Of every package that a manifest may name: that of a file by URL has the last part of the URL, each byte as three."""
MAX_WORKERS = 10_000
"""More than the largest slice has hosts; how many a slice has, the stage knows."""


class Payload(Value):
    """What one event carries."""

    entry: ClassVar[bool] = False
    """Sent by somebody outside the chain: without an id of its own, sending it twice is two events."""

    @property
    def subject(self) -> str:
        """What tells two events of one type in one run apart."""
        return ""

    @property
    def marks(self) -> dict[str, str]:
        """Pub/Sub attributes by which a subscription may choose (https://cloud.google.com/pubsub/docs/filtering)."""
        return {}

    def kept(self) -> bytes:
        """The body as a dead letter may hold it."""
        return self.canonical()


class RunRequested(Payload):
    """A run begins: somebody wants a workload in the inner network."""

    entry: ClassVar[bool] = True

    workload: Annotated[
        Annotated[Name, Tag("name")] | Annotated[Workload, Tag("workload")],
        Discriminator(lambda given: "name" if isinstance(given, str) else "workload"),
    ]
    """Name of a built-in workload, or a whole workload."""


class FromVm(Payload):
    run_id: RunId
    report_token: Annotated[str, Field(min_length=16, max_length=128)]
    """The secret that this run's VM was created with: a report without it is about another run."""
    state: Literal["installed", "failed"]
    """Whether the install script came to its end."""
    tail: Tail
    """The last lines of the serial console."""
    seconds: Annotated[dict[Annotated[str, Field(pattern=r"^[ -~]{1,60}$")], float], Field(max_length=100)]
    """Seconds that each step took."""

    @property
    def subject(self) -> str:
        """A VM's report is told by its secret: a forged one must not take the place of the true one."""
        return hashlib.sha256(self.report_token.encode()).hexdigest()


class OuterInstallCompleted(FromVm):
    """The outer VM is done, well or badly. From a hostile machine: what it says is a claim."""

    claim: str | None
    """base64 of gzip of the JSON of a ClaimedManifest."""


class Smoke(Value):
    """What became of the workload's smoke test."""

    exit_code: Annotated[int, Field(ge=-255, le=255)]
    seconds: float
    tail: Tail


class EgressProbe(Value):
    """One attempt of the inner VM to reach the outside, and what came of it."""

    probe: Annotated[str, Field(max_length=100), AfterValidator(_shown)]
    target: Annotated[str, Field(max_length=200), AfterValidator(_shown)]
    open: bool
    """True if it came through."""
    outcome: Annotated[str, Field(max_length=500), AfterValidator(_shown)]
    """What it met, in words for people; nothing is decided by them."""


class InnerInstallCompleted(FromVm):
    """A host of the inner VM is done, well or badly: what it holds, whether the workload works, what it could reach."""

    installed: str | None
    """base64 of gzip of the JSON of a ClaimedManifest: the inner inventory."""
    smoke: Smoke | None
    """What became of the workload's smoke test; null if the install failed before it."""
    egress: Literal["denied", "open"]
    """`open` if any attempt to reach the outside succeeded."""
    egress_probes: Annotated[tuple[EgressProbe, ...], Field(max_length=200)]
    """The attempts, one by one."""
    worker: Annotated[int, Field(ge=0, lt=MAX_WORKERS)] = 0
    """The host's number in its slice, from 0; each of them reports."""

    @property
    def subject(self) -> str:
        """Each worker owes a report of its own; the one of worker 0 is told as that of a single host is."""
        return f"{super().subject} {self.worker}" if self.worker else super().subject


class ManifestPublished(Payload):
    """What the outer VM claims to have installed is stored as a manifest."""

    run_id: RunId
    manifest: Digest
    """The stored manifest."""


class VerdictsWritten(Payload):
    """Every package of the manifest has its verdict."""

    run_id: RunId
    manifest: Digest
    """The stored manifest that was judged."""
    verdicts: Digest
    """The stored verdicts, one for each package."""
    allow: Count
    """Packages that may enter."""
    hold: Count
    """Packages that wait for a human."""
    block: Count
    """Packages that may not enter."""


class SyncShardPlanned(Payload):
    """One part of what the private repositories lack, small enough for one delivery."""

    run_id: RunId
    plan: Digest
    """The stored plan that the shard is part of."""
    shard: Count
    """Its number in the plan, from 0."""

    @property
    def subject(self) -> str:
        return f"{self.plan} {self.shard}"


class SyncCompleted(Payload):
    """The private repositories hold every file of the lock."""

    run_id: RunId
    lock: Digest
    """The stored lock: the files that the inner VM installs."""


class RunCompleted(Payload):
    """The workload is installed in the inner network and works."""

    run_id: RunId
    lock: Digest
    """The stored lock: the files that were installed."""
    inner_vm: Annotated[str, Field(max_length=63)]
    """Name of the VM that stays READY; empty if it was deleted."""


class RunFailed(Payload):
    """The run ended without a workload in the inner network."""

    run_id: RunId
    stage: Name
    """Where it ended."""
    reason: Annotated[str, Field(max_length=20_000)]
    """What was wrong, where, and what to do."""
    tail: Tail = ""
    """The last lines of the VM's serial console, if a VM was the reason."""


class AdvisoriesRefreshed(Payload):
    """There may be news of packages: what the repositories hold is judged again."""

    entry: ClassVar[bool] = True

    reason: Annotated[str, Field(max_length=500), AfterValidator(_shown)] = ""
    """Why, for people."""


class HoldingsListed(Payload):
    """What the private repositories hold was listed, to be judged again."""

    holdings: Digest
    """The stored list."""
    refresh: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Tells which refresh asked for it: the same holdings are judged again by newer data."""

    @property
    def subject(self) -> str:
        return f"{self.holdings} {self.refresh}"


class VerdictChanged(Payload):
    """The verdict about a package is another one than before."""

    purl: Purl
    """The package."""
    before: Decision
    """What was decided until now."""
    after: Decision
    """What is decided from now on."""
    reason: Annotated[str, Field(max_length=20_000), AfterValidator(_shown)]
    """What was answered, in words."""
    verdicts: Digest
    """The stored verdicts, of which this is one."""
    own_wheel: bool = False
    """True if it is about wheels of the workloads' owners; a package of the index may have the same name."""

    @property
    def subject(self) -> str:
        return f"{self.verdicts} {self.key}"

    @property
    def key(self) -> str:
        return key_of(self.purl, self.own_wheel)


class PackageEvicted(Payload):
    """The private repositories do not hold a package any more, or keep it for a stated reason."""

    purl: Purl
    """The package."""
    repository: Annotated[str, Field(max_length=200)]
    """Name of the private repository."""
    files: Count
    """Files that are verified gone."""
    reason: Annotated[str, Field(max_length=2000), AfterValidator(_shown)] = ""
    """Why it was kept; empty if it is gone."""
    verdicts: Digest
    """The stored verdicts that led to it."""
    own_wheel: bool = False
    """True if it is about wheels of the workloads' owners; a package of the index may have the same name."""

    @property
    def subject(self) -> str:
        return f"{self.verdicts} {self.repository} {key_of(self.purl, self.own_wheel)}"


class WaiverGranted(Payload):
    """A responsible person overrules a verdict."""

    entry: ClassVar[bool] = True

    waiver: Waiver
    """What is overruled, why, by whom and until when."""


class WaiverRevoked(Payload):
    """A waiver ends before its time."""

    entry: ClassVar[bool] = True

    waiver: Annotated[str, Field(pattern=r"^waiver-[0-9a-f]{12}$")]
    """Its id."""
    reason: Line
    """Why it ends."""
    by: Line
    """Who ends it."""


class CancelRequested(Payload):
    """Somebody wants a run that goes on to end: it ends as failed, and its VMs go."""

    entry: ClassVar[bool] = True

    run_id: RunId
    reason: Line
    """Why, for whoever reads of it later."""
    by: Line
    """Who ends it."""


class DeadLetterDropped(Payload):
    """A person has looked at a dead letter, and nothing is to be done about it any more."""

    message: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Pub/Sub's id of the dead letter."""
    topic: Annotated[str, Field(max_length=300), AfterValidator(_shown)]
    """Where it could not be handled."""
    run: Annotated[str, Field(pattern=r"^(run-[0-9a-f]{12})?$")]
    """The run that it was about; empty if none is known."""
    body: Digest
    """Of what was kept of its body."""
    failure: Annotated[str, Field(max_length=2000), AfterValidator(_shown)]
    """Why it could not be handled."""
    reason: Line
    """Why nothing is to be done."""
    by: Line
    """Who decided so."""

    @property
    def subject(self) -> str:
        return self.message


class SweepRequested(Payload):
    """The watchdog's tick (Cloud Scheduler): end what never reports, publish what was left unpublished."""

    entry: ClassVar[bool] = True
