"""What the TPU API stand-in knows of its project."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.emulators.vm.spec import Limits

MAX_HOSTS = 8


@dataclass(frozen=True)
class LocalNetwork:
    """A VPC network's stand-in. `outer` is the kind with a way to the internet, for nodes with an external address;
    `internet` false cuts that way, as a firewall rule would, and leaves the `hosts`."""

    outer: bool
    hosts: Mapping[str, str] = field(default_factory=dict)
    internet: bool = True


@dataclass(frozen=True)
class Settings:
    """`topics`: service account to the topics it may publish to. `quotas`: zone to the number of nodes it may hold,
    those of queued resources included. `no_capacity_zones`: zones where nothing is left, to begin with.
    `reservations`: zone to reservations, each with the number of nodes it holds. `offered`: zone to the accelerator
    types it has; a zone that is not named has all. `max_hosts`: VMs that one request may ask for."""

    project: str
    networks: Mapping[str, LocalNetwork]
    topics: Mapping[str, frozenset[str]]
    no_capacity_zones: frozenset[str] = frozenset()
    quotas: Mapping[str, int] = field(default_factory=dict)
    reservations: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    offered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    max_hosts: int = MAX_HOSTS
    limits: Limits = field(default_factory=Limits)

    @property
    def project_number(self) -> int:
        return 100_000_000_000 + int(hashlib.sha256(self.project.encode()).hexdigest()[:8], 16)
