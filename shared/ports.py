"""What the stages need from the world, each a small Protocol in the field's words.

Adapters stand in `shared.gcp` (Google's services), `shared.upstream` (package indexes) and `shared.memory` (the
in-process twins). An adapter turns foreign exceptions into `Permanent` or `Transient`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from shared.errors import Permanent, Transient
from shared.events import Event
from shared.model import case
from shared.model.apt_source import AptPin
from shared.model.lock import LockedArchive, LockedPython
from shared.model.package import Package, Release
from shared.model.publisher import Publisher
from shared.model.value import Digest
from shared.model.verdict import Known
from shared.model.workload import Provisioning

Document = dict[str, Any]
FactKind = case.FactKind


# --- delivery: documents, claims, outbox, bus -------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """The right of one worker to handle one event, until its lease ends."""

    key: str
    state: Literal["won", "busy", "done"]
    attempt: int
    """1 for the first try; counts takeovers and failures."""
    generation: int
    """The fence: a batch with an older generation is refused."""


@dataclass(frozen=True)
class Put:
    """Write of a whole document, or of the given fields only (`merge`)."""

    collection: str
    id: str
    fields: Mapping[str, Any]
    merge: bool = False


@dataclass(frozen=True)
class Create:
    """Write of a document that must not exist yet. Fails the batch if it does."""

    collection: str
    id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Increment:
    """Addition to a counter field; stands in one batch with the `Create` of what it counts."""

    collection: str
    id: str
    field: str
    by: int


Write = Put | Create | Increment

MAX_ID = 1000
"""Bytes of a document's id. Firestore ends at 1,500 (https://cloud.google.com/firestore/quotas), of which an id that
it forbids takes four for three."""


def checked_id(name: str) -> str:
    """`name` if a document may have it as its id; Permanent if it may not."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise Permanent("A document's id holds half a surrogate pair, which is no text.") from error
    if size > MAX_ID:
        raise Permanent(
            f"A document's id has {size} bytes; the store takes {MAX_ID} bytes at most: shorten the name."
        )
    return name


MAX_INDEXED = 1400
"""Bytes of a text by which a document can be found. Firestore cuts what it indexes at 1,500, and refuses a query by
more (https://cloud.google.com/firestore/quotas#indexes)."""


def checked_key(equals: Any) -> Any:
    """What `Store.find` compares with; Permanent if it is text that no index holds whole."""
    if isinstance(equals, str) and len(equals.encode(errors="surrogatepass")) > MAX_INDEXED:
        raise Permanent(
            f"Documents are found by text of at most {MAX_INDEXED} bytes: look for a hash of what is longer."
        )
    return equals


class Store(Protocol):
    """Documents, claims and the outbox. Every method but `put_many` is atomic on its own.

    A document holds None, booleans, 64-bit integers, floats, text, bytes, lists and maps with named fields; a list
    holds no list, and the whole ends at 1 MiB. Tuples become lists. What the store cannot hold is Permanent.
    Documents end as `shared.retention` says, counted from their last write.
    """

    def claim(self, key: str, now: float, lease: float) -> Claim: ...
    def renew(self, claim: Claim, until: float) -> bool:
        """Extend the lease; False if somebody else has taken over."""
        ...

    def release(self, claim: Claim, reason: str) -> None:
        """Give the claim back after a failed attempt, with the reason."""
        ...

    def finish(self, claim: Claim, writes: Sequence[Write], outbox: Sequence[Event], now: float) -> None:
        """One batch, fenced by the claim's generation: writes, outbox, done mark.

        Transient if the fence is lost or a `Create` finds its document there: nothing was written then.
        """
        ...

    def outbox(self, key: str) -> Sequence[Event]:
        """Events of a finished claim that nobody has published yet."""
        ...

    def stale_outbox(self, before: float) -> Sequence[tuple[str, Event]]:
        """(claim key, event) of every finished claim's outbox that has waited since before `before`."""
        ...

    def sent(self, key: str, event_id: str) -> None: ...
    def get(self, collection: str, id: str) -> Document | None: ...
    def put(self, writes: Sequence[Write]) -> None:
        """One unfenced batch: for documents under content-derived names and for progress."""
        ...

    def put_many(self, collection: str, documents: Mapping[str, Document]) -> None:
        """Bulk write under content-derived ids; order and atomicity are not promised."""
        ...

    def find(self, collection: str, field: str, equals: Any) -> Sequence[tuple[str, Document]]:
        """(id, document) of all whose field equals that, by id. `a.b` is the field b of the map a.

        Permanent if it is text of more than `MAX_INDEXED` bytes."""
        ...


class Blobs(Protocol):
    """Content-addressed bytes up to some megabytes: manifests, verdicts, locks, plans.

    They end as `shared.retention` says, counted from the last `put`: whoever names content puts it, there or not.
    """

    def put(self, data: bytes, lasting: bool = False) -> Digest:
        """`lasting`: without an end, whoever else puts the same for a while."""
        ...

    def get(self, digest: Digest) -> bytes:
        """Permanent if there is no such content or it does not have that digest."""
        ...


class Bus(Protocol):
    def publish(self, event: Event) -> None: ...
    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        """Keep what cannot be handled, with the reason, for an operator to see."""
        ...


# --- judgement --------------------------------------------------------------------------------------------------


class Advisories(Protocol):
    """What is publicly known of packages."""

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Transient only if nothing at all could be asked; what lacks for some packages is `lacking` of those."""
        ...


class Facts(Protocol):
    """What an index itself says of versions: when they were uploaded, whether they were withdrawn, their licences."""

    def of(
        self,
        packages: Sequence[Package],
        wanted: Collection[FactKind],
        files: Mapping[str, Collection[Digest]] = ...,
    ) -> Mapping[str, case.Facts]:
        """By purl, for packages of PyPI; of other ecosystems nothing is known. Never raises: `lacking` says why.

        `files`: by purl, the sha256 of those of the version's files that count; without an entry all of them do.
        """
        ...


# --- upstream ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IndexFile:
    """One file of a project's simple page (https://packaging.python.org/en/latest/specifications/simple-repository-api/)."""

    filename: str
    url: str
    sha256: Digest
    requires_python: str
    yanked: bool
    uploaded: str = ""
    """RFC 3339 (PEP 700); empty where the index does not say."""
    yank_reason: str = ""
    metadata: str | None = None
    """sha256 of the METADATA that the index serves beside the file (PEP 658), as 64 hexadecimal digits; empty where it
    serves one but gives no hash; None where it does not say that it serves one."""
    provenance: str = ""
    """Where the index says that its attestations are (PEP 740), unchecked; empty where it names none."""


class PythonIndex(Protocol):
    def files(self, name: str) -> tuple[IndexFile, ...]:
        """Every file with a sha256; empty if the project is unknown. Transient if the index cannot be reached."""
        ...

    def prefetch(self, names: Iterable[str]) -> None:
        """Read many projects' pages at once, so that `files` answers from memory."""
        ...

    def provenance(self, filename: str, url: str) -> bytes:
        """What the index serves at `url` as provenance of one of its files (PEP 740); nothing of it is proved yet.

        Permanent if it is not the index itself that `url` leads to, or if nothing is there; Transient if it cannot be
        reached.
        """
        ...


@dataclass(frozen=True)
class Archive:
    """One stanza of a signed Packages index, with what vouches for it."""

    name: str
    version: str
    architecture: str
    source_name: str
    source_version: str
    url: str
    sha256: Digest
    size: int
    suite: str
    depends: str
    """Depends and Pre-Depends, joined by a comma."""
    provides: str
    priority: str = ""
    """Debian policy 2.5, like `required`; some archives give none."""
    source: AptPin | None = None
    """The repository that lists it, if that is not the distribution's."""


class AptIndex(Protocol):
    def archives(self, release: Release) -> Mapping[tuple[str, str], tuple[Archive, ...]]:
        """(name, architecture) to its versions over the release's suites, newest first; signatures verified."""
        ...

    def as_of(self, release: Release, moment: float) -> Mapping[tuple[str, str], tuple[Archive, ...]]:
        """The same of the distribution's own suites as they were at `moment`, in seconds since the epoch."""
        ...


class Gone(Permanent):
    """The source says that it does not have the file, or does not have it any more."""


class Downloads(Protocol):
    """Fetches a file to a path, hashing on the way."""

    def fetch(
        self, url: str, sha256: Digest, to: Path, size: int | None = None, by_workload: bool = False
    ) -> int:
        """Bytes written. Permanent if the content has another hash or size, Gone if there is none; Transient if it
        cannot be reached.

        `by_workload`: no index or mirror named the URL, but a workload or a VM; it must lead to the public internet.
        """
        ...


@dataclass(frozen=True)
class Pin:
    """One result of a resolution."""

    name: str
    version: str


DEFAULT_PLATFORM = "manylinux_2_28_x86_64"
"""What every supported release can run."""


class Resolver(Protocol):
    """A real Python resolver over the upstream index."""

    def resolve(
        self,
        requirements: Sequence[str],
        preferences: Sequence[Pin],
        forbidden: Sequence[str],
        python: str,
        absent: Sequence[str] = (),
        platform: str = DEFAULT_PLATFORM,
    ) -> tuple[Pin, ...]:
        """Versions that fit together for Python `python`, staying with `preferences` where they fit.

        `forbidden` are constraints like `jinja2!=3.1.2`; `absent` are names that the index is not to be asked for,
        whoever requires them. `platform` is the best wheel platform of the machine (PEP 600). Permanent with the
        resolver's explanation if nothing fits.
        """
        ...


class Proof(Protocol):
    """Shows that fetched bytes are what the lock names and the outer VM had; Permanent says what gave them away."""

    def wheel(self, file: LockedPython, path: Path) -> None:
        """A wheel or a source distribution."""
        ...

    def publishers(self, file: LockedPython, served: bytes) -> tuple[Publisher, ...]:
        """Who published it: from the attestations that the index serves."""
        ...

    def archive(self, file: LockedArchive, path: Path) -> None: ...


@dataclass(frozen=True)
class Upstream:
    """Everything outside that packages come from. Indexes are read anew for each plan."""

    index: PythonIndex
    apt: AptIndex
    downloads: Downloads
    resolver: Resolver
    proof: Proof
    build_requirements: Callable[[IndexFile], Sequence[str]]
    """A source distribution's build requirements, read from its own files without running them."""
    record: Callable[[LockedPython], Digest]
    """A wheel's canonical RECORD digest after every proof of its bytes; fetches it."""
    unmet: Callable[[Sequence[Archive], Mapping[tuple[str, str], str]], str]
    """(locked archives, everything installed) to the first dependency that does not hold; empty if all do."""
    facts: Facts
    """Of the same moment as `index`."""
    snapshot: Callable[[str, float], str] = lambda _url, _moment: ""
    """(URL of an archive, seconds since the epoch) to where the distribution keeps what lay there at that moment."""


# --- machines and repositories ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class VmSpec:
    """A VM to create."""

    name: str
    kind: Literal["outer", "inner"]
    accelerator_type: str
    runtime_version: str
    metadata: Mapping[str, str]
    labels: Mapping[str, str]
    zone: str = ""
    """Empty: the zone that the settings name."""
    provisioning: Provisioning = "on-demand"
    reservation: str = ""
    """Name of the reservation, for `reserved`; empty: any of the project's."""
    queue_minutes: int = 0
    """How long the request may wait for capacity as a queued resource; 0: it is met at once or refused."""


@dataclass(frozen=True)
class Vm:
    """A VM, or the request for one that still waits in a queue."""

    name: str
    state: str
    """As the TPU API names it: CREATING, READY, DELETING, PREEMPTED, … A request in a queue without its VM has its own
    state: WAITING_FOR_RESOURCES, FAILED, SUSPENDED, …"""
    labels: Mapping[str, str]
    zone: str = ""
    workers: int = 1
    """Hosts of the slice; each boots with the same metadata."""


@dataclass(frozen=True)
class Progress:
    """What has become of the request for a VM."""

    state: Literal["waiting", "made", "failed", "unknown"]
    """`unknown`: the service does not remember it."""
    reason: str = ""
    """Why it failed, as the service says."""
    elsewhere: bool = False
    """It failed for want of capacity, or of quota: another zone may have some."""


class NoCapacity(Permanent):
    """The zone has no capacity for the VM, or the project no quota there: another zone may."""


class Unreachable(Transient):
    """Some places could not be looked at: what is there is not known, and not gone."""

    def __init__(self, message: str, found: Sequence[Vm]) -> None:
        super().__init__(message)
        self.found = tuple(found)
        """What the places that answered hold."""


class Vms(Protocol):
    """TPU VMs of one project, in any of its zones; a name is unique in its zone only.

    Written for the Cloud TPU API, and meant to outlive it: newer TPU types come as Compute Engine machine types. An
    adapter for those reads `VmSpec.accelerator_type` (whose text is the adapter's to understand) as the machine type,
    `runtime_version` as an image or its family, and gives `metadata`, `labels`, network and service account to an
    instance of that name, of the provisioning model STANDARD, SPOT or RESERVATION_BOUND; `create` returns the zonal
    operation, whose error ZONE_RESOURCE_POOL_EXHAUSTED or QUOTA_EXCEEDED is `Progress.elsewhere`; a queue is a resize
    request of an instance group; `all` is an aggregated list over zones, by label. It translates the states: RUNNING is
    READY, and a preempted instance is PREEMPTED as long as it is listed. `hosts` reads its own types. Nothing above
    this port names an API.
    """

    def hosts(self, accelerator_type: str) -> int:
        """Hosts of a slice of that type, each of which reports. Permanent if the adapter cannot tell. Asks nobody."""
        ...

    def create(self, spec: VmSpec) -> str:
        """Starts the creation and returns by what `progress` knows the request.

        Empty if a VM of that name is in that zone already, and nothing more is known. NoCapacity if the zone has none.
        """
        ...

    def progress(self, request: str) -> Progress: ...
    def get(self, name: str, zone: str) -> Vm | None:
        """None if the zone says that there is none; Transient if the zone does not answer."""
        ...

    def all(self) -> Sequence[Vm]:
        """VMs and waiting requests of all zones; Unreachable if one did not answer: what is there is not known."""
        ...

    def delete(self, name: str, zone: str) -> None:
        """Starts the deletion of the VM and of its request, and returns; what does not exist is not an error."""
        ...


@dataclass(frozen=True)
class Stored:
    """One file in a private repository."""

    repository: str
    name: str
    """Python and apt: the file's name; generic: `package:version:filename`."""
    sha256: Digest
    size: int
    owner: str = ""
    """Resource name of the version that it belongs to: what is deleted as one."""


class NotPermitted(Permanent):
    """The stage's account lacks the right: whoever deploys has decided so."""


class Registry(Protocol):
    """The private repositories of Artifact Registry."""

    def stored(self, repository: str) -> Sequence[Stored]: ...
    def delete_version(self, owner: str) -> None:
        """Deletes every file of a version (`Stored.owner`) and waits; what is not there is gone. NotPermitted."""
        ...

    def upload_python(self, repository: str, file: LockedPython, path: Path) -> None: ...
    def upload_apt(self, repository: str, file: LockedArchive, path: Path) -> None: ...
    def upload_generic(self, repository: str, package: str, version: str, filename: str, path: Path) -> None:
        """An upload of what is already there with the same bytes succeeds; with other bytes it is Permanent."""
        ...

    def download_generic(
        self, repository: str, package: str, version: str, filename: str, to: Path
    ) -> None: ...
