"""Cloud Run function `sync`: verdicts-written -> lock, shards; sync-shard-planned -> proved bytes."""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path

import functions_framework
from cloudevents.http import CloudEvent

from functions.sync.stage import Ports, handle_event, settle, sweep
from shared import judgement
from shared.delivery import Desk
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.pubsub import PubSubBus
from shared.gcp.registry import ArtifactRegistry
from shared.ports.store import Bus
from shared.serving import entry_point
from shared.settings import Settings
from shared.upstream import connect
from shared.upstream.release_dates import ReleaseDates


def wire(settings: Settings) -> Desk:
    """The stage over Google's services and the upstream indexes, as `settings` names them."""
    store = FirestoreStore(settings.project)
    ports = Ports(
        store=store,
        blobs=FirestoreBlobs(settings.project),
        registry=ArtifactRegistry(settings, store),
        advisories=judgement.advisories(settings, "sync"),
        policy=judgement.policy(settings),
        upstream=functools.partial(connect.upstream, settings, dates=ReleaseDates(store)),
        settings=settings,
        clock=time.time,
        scratch=Path(tempfile.gettempdir()),
    )
    return desk(ports, PubSubBus(settings.project))


def desk(ports: Ports, bus: Bus) -> Desk:
    return Desk(
        stage="sync",
        store=ports.store,
        bus=bus,
        handle=lambda event: handle_event(event, ports),
        settle=lambda event: settle(event, ports),
        sweep=lambda event: sweep(event, ports),
        lease=float(ports.settings.lease_seconds),
        clock=ports.clock,
    )


_handle = entry_point("sync", wire)


@functions_framework.cloud_event
def handle(cloud_event: CloudEvent) -> None:
    """Acknowledges by returning; asks for another delivery by 503."""
    _handle(cloud_event)
