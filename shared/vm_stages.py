"""What the two stages that own VMs, outer and inner, are wired with."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.creation import Creation, Kind
from shared.delivery import Desk, Outcome, Settle, nothing_to_settle
from shared.events import Event
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.tpu import TpuVms
from shared.machines import Machines
from shared.notices import Sink
from shared.ports.machines import Vms
from shared.ports.store import Blobs, Bus, Store
from shared.settings import Settings


@dataclass(frozen=True)
class Ports:
    """What such a stage needs from the world."""

    store: Store
    blobs: Blobs
    vms: Vms
    settings: Settings
    clock: Callable[[], float]
    secret: Callable[[], str]
    sink: Sink | None = None
    """Who is told of what people wait for; None: nobody."""

    def machines(self, kind: Kind) -> Machines:
        grace = float(self.settings.report_grace_seconds)
        return Machines(kind, self.store, self.vms, self.clock, self.creation(kind), grace)

    def creation(self, kind: Kind) -> Creation:
        grace, home = float(self.settings.report_grace_seconds), self.settings.zone
        return Creation(kind, self.store, self.blobs, self.vms, self.clock, self.secret, home, grace)


def google(settings: Settings, kind: Kind) -> Ports:
    """Google's services, as `settings` names them, for the stage of the outer or inner VMs."""
    return Ports(
        store=FirestoreStore(settings.project),
        blobs=FirestoreBlobs(settings.project),
        vms=TpuVms(settings.machines(kind)),
        settings=settings,
        clock=time.time,
        secret=lambda: secrets.token_hex(24),
    )


def desk(
    stage: Kind,
    handle: Callable[[Event, Ports], Outcome],
    sweep: Callable[[Event, Ports], Iterable[tuple[str, Outcome]]],
    ports: Ports,
    bus: Bus,
    settle: Settle = nothing_to_settle,
) -> Desk:
    return Desk(
        stage=stage,
        store=ports.store,
        bus=bus,
        handle=lambda event: handle(event, ports),
        settle=settle,
        sweep=lambda event: sweep(event, ports),
        clock=ports.clock,
        lease=float(ports.settings.lease_seconds),
    )
