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
    """The service account that the metadata server speaks for, and the only topics it may publish to
    (`projects/P/topics/T`)."""

    email: str
    topics: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)


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
class VmSpec:
    """One VM. `attributes` are the instance's metadata attributes; `startup-script` among them is run at boot."""

    name: str
    network: Network
    identity: Identity
    place: Place
    attributes: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Permanent(
                f"The VM name {self.name!r} is not valid: use at most 63 lowercase letters, digits and hyphens, "
                "beginning with a letter."
            )


@dataclass(frozen=True)
class Platform:
    """What all VMs of one engine share: the unpacked root image, where VMs are kept, the key that signs tokens, the
    Pub/Sub endpoint behind the publish relay (`http://HOST:PORT`, None for none) and the CA bundle of the host."""

    root: Path
    state: Path
    token_key: bytes
    pubsub: str | None = None
    host_bundle: Path = Path("/etc/ssl/certs/ca-certificates.crt")
