"""Cloud Run function `inner`: sync-completed -> sealed VM; its report and appraised services -> run-completed."""

from __future__ import annotations

import functions_framework
from cloudevents.http import CloudEvent

from functions.inner.stage import handle_event, sweep
from shared import vm_stages
from shared.delivery import Desk
from shared.gcp.pubsub import PubSubBus
from shared.ports.store import Bus
from shared.serving import entry_point
from shared.settings import Settings


def wire(settings: Settings) -> Desk:
    """The stage over Google's services, as `settings` names them."""
    return desk(vm_stages.google(settings, "inner"), PubSubBus(settings.project))


def desk(ports: vm_stages.Ports, bus: Bus) -> Desk:
    return vm_stages.desk("inner", handle_event, sweep, ports, bus)


_handle = entry_point("inner", wire)


@functions_framework.cloud_event
def handle(cloud_event: CloudEvent) -> None:
    """Acknowledges by returning; asks for another delivery by 503."""
    _handle(cloud_event)
