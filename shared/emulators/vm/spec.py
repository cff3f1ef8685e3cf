"""What a VM is asked to be. Plain values; the engine knows nothing of TPUs or of Google's API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import Permanent

METADATA_ADDRESS = "169.254.169.254"
# restricted.googleapis.com, https://docs.cloud.google.com/vpc/docs/configure-private-google-access#domain-options
RESTRICTED_ADDRESSES = ("199.36.153.4", "199.36.153.5", "199.36.153.6", "199.36.153.7")
PUBSUB_HOST = "pubsub.googleapis.com"
METADATA_HOST = "metadata.google.internal"

# RFC 1035 labels; the real rule for TPU node ids is the same.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MIB = 1024 * 1024


@dataclass(frozen=True)
class Identity:
    """The service account that the metadata server speaks for, the only topics it may publish to
    (`projects/P/topics/T`) and the only subscriptions it may pull (`projects/P/subscriptions/S`)."""

    email: str
    topics: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)
    subscriptions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Network:
    """`internet`: a way out through user-mode networking, never to the host's loopback. Without it `lo` is all there
    is. `hosts`: Google host names (a leading `*.` matches one or more labels) that lead to backends on the host:
    `http://127.0.0.1:PORT` or `unix:/path`."""

    internet: bool
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """Bytes of memory (tmpfs and page cache count, in a cgroup), number of processes, bytes of serial log."""

    memory: int = 16 * 1024 * MIB
    processes: int = 4096
    serial_log: int = 32 * MIB


@dataclass(frozen=True)
class Place:
    """Where the instance says it stands."""

    project: str
    numeric_project: int
    zone: str
    instance_id: int


@dataclass(frozen=True)
class Container:
    """One program in a root of its own, in place of the engine's image and its first process."""

    root: Path
    """Unpacked, with the guest's ids; read-only by agreement, several may share it."""
    argv: tuple[str, ...]
    """A name without a slash is looked up in the environment's PATH."""
    environment: Mapping[str, str]
    workdir: str = "/"
    home: str = "/"
    """HOME, where `environment` has none."""
    user: tuple[int, int] = (0, 0)
    groups: tuple[int, ...] = ()
    shared: Mapping[str, Path] = field(default_factory=dict)
    """Directories of the host that it sees read-only, by their place below /run."""
    tmpfs: tuple[tuple[str, int], ...] = ()
    """Further file systems in memory: where, and their size in bytes (0: half of the memory)."""
    shm: int = 0
    """Bytes of /dev/shm; 0: half of the memory."""
    console: bool = True
    """What it prints goes to the serial log; else nowhere."""


@dataclass(frozen=True)
class VmSpec:
    """One VM. `attributes` are the instance's metadata attributes; `startup-script` among them is run at boot, unless
    the VM is a `container`."""

    name: str
    network: Network
    identity: Identity
    place: Place
    attributes: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    container: Container | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Permanent(
                f"The VM name {self.name!r} is not valid: use at most 63 lowercase letters, digits and hyphens, "
                "beginning with a letter."
            )


@dataclass(frozen=True)
class Platform:
    """What all VMs of one engine share: the unpacked root image (None: it runs containers alone), where VMs are kept,
    the key that signs tokens, the Pub/Sub endpoint behind the publish relay (`http://HOST:PORT`, None for none) and
    the CA bundle of the host."""

    root: Path | None
    state: Path
    token_key: bytes
    pubsub: str | None = None
    host_bundle: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    journal: Path | None = None
    """Where what VMs publish is written down (`shared.journal`); None for nowhere."""
