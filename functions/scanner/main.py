"""Cloud Run function `scanner`: manifest-published -> verdicts -> verdicts-written."""

from __future__ import annotations

import functools
import time

import functions_framework
from cloudevents.http import CloudEvent

from functions.scanner.stage import Ports, handle_event, sweep
from shared import judgement
from shared.delivery import Desk
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.pubsub import PubSubBus
from shared.ports.store import Bus
from shared.serving import entry_point
from shared.settings import Settings
from shared.upstream import connect


def wire(settings: Settings) -> Desk:
    """The stage over Google's services, as `settings` names them."""
    ports = Ports(
        store=FirestoreStore(settings.project),
        blobs=FirestoreBlobs(settings.project),
        advisories=judgement.advisories(settings, "scanner"),
        policy=judgement.policy(settings),
        clock=time.time,
        facts=functools.partial(connect.facts, settings),
    )
    return desk(ports, PubSubBus(settings.project), settings)


def desk(ports: Ports, bus: Bus, settings: Settings) -> Desk:
    return Desk(
        stage="scanner",
        store=ports.store,
        bus=bus,
        handle=lambda event: handle_event(event, ports),
        sweep=lambda event: sweep(event, ports),
        lease=float(settings.lease_seconds),
        clock=ports.clock,
    )


_handle = entry_point("scanner", wire)


@functions_framework.cloud_event
def handle(cloud_event: CloudEvent) -> None:
    """Acknowledges by returning; asks for another delivery by 503."""
    _handle(cloud_event)
