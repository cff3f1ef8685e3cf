"""Cloud Run function `attestation`: image-built -> reference values; attestation-requested -> attestation-appraised."""

from __future__ import annotations

import secrets
import time

import functions_framework
from cloudevents.http import CloudEvent

from functions.attestation.stage import Ports, handle_event, settle
from shared import trust
from shared.delivery import Desk
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.pubsub import PubSubBus
from shared.ports.store import Blobs, Bus, Store
from shared.serving import entry_point
from shared.settings import Settings


def wire(settings: Settings) -> Desk:
    """The stage over Google's services, as `settings` names them."""
    made = ports(settings, FirestoreStore(settings.project), FirestoreBlobs(settings.project))
    return desk(made, PubSubBus(settings.project))


def ports(settings: Settings, store: Store, blobs: Blobs) -> Ports:
    return Ports(
        store=store,
        blobs=blobs,
        policies=trust.policies(settings),
        builders=trust.builders(settings),
        keys=trust.keys(settings),
        signer=trust.signer(settings),
        settings=settings,
        clock=time.time,
        secret=lambda: secrets.token_hex(24),
    )


def desk(ports: Ports, bus: Bus) -> Desk:
    return Desk(
        stage="attestation",
        store=ports.store,
        bus=bus,
        handle=lambda event: handle_event(event, ports),
        settle=lambda event: settle(event, ports),
        lease=float(ports.settings.lease_seconds),
        clock=ports.clock,
    )


_handle = entry_point("attestation", wire)


@functions_framework.cloud_event
def handle(cloud_event: CloudEvent) -> None:
    """Acknowledges by returning; asks for another delivery by 503."""
    _handle(cloud_event)
