"""Cloud Run function `inner`: sync-completed -> sealed VM; inner-install-completed -> run-completed."""

from __future__ import annotations

import secrets
import time

import functions_framework
from cloudevents.http import CloudEvent

from functions.inner.stage import Ports, handle_event, sweep
from shared.delivery import Desk
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.pubsub import PubSubBus
from shared.gcp.tpu import TpuVms
from shared.ports import Bus
from shared.serving import entry_point
from shared.settings import Settings


def wire(settings: Settings) -> Desk:
    """The stage over Google's services, as `settings` names them."""
    ports = Ports(
        store=FirestoreStore(settings.project),
        blobs=FirestoreBlobs(settings.project),
        vms=TpuVms(settings),
        settings=settings,
        clock=time.time,
        secret=lambda: secrets.token_hex(24),
    )
    return desk(ports, PubSubBus(settings.project))


def desk(ports: Ports, bus: Bus) -> Desk:
    return Desk(
        stage="inner",
        store=ports.store,
        bus=bus,
        handle=lambda event: handle_event(event, ports),
        sweep=lambda event: sweep(event, ports),
        clock=ports.clock,
        lease=float(ports.settings.lease_seconds),
    )


_handle = entry_point("inner", wire)


@functions_framework.cloud_event
def handle(cloud_event: CloudEvent) -> None:
    """Acknowledges by returning; asks for another delivery by 503."""
    _handle(cloud_event)
