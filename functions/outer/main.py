"""Cloud Run function `outer`: run-requested -> outer VM; outer-install-completed -> manifest-published."""

from __future__ import annotations

from dataclasses import replace

import functions_framework
from cloudevents.http import CloudEvent

from functions.outer.stage import handle_event, settle, sweep
from shared import vm_stages
from shared.delivery import Desk
from shared.gcp.pubsub import PubSubBus
from shared.model import prices
from shared.ports.store import Bus
from shared.serving import entry_point
from shared.settings import Settings
from shared.upstream.sink import HttpSink


def wire(settings: Settings) -> Desk:
    """The stage over Google's services, as `settings` names them. Permanent if the price list is not one."""
    prices.read(settings.prices)
    ports = vm_stages.google(settings, "outer")
    if settings.notify:
        ports = replace(ports, sink=HttpSink(settings.notify))
    return desk(ports, PubSubBus(settings.project))


def desk(ports: vm_stages.Ports, bus: Bus) -> Desk:
    return vm_stages.desk("outer", handle_event, sweep, ports, bus, lambda event: settle(event, ports))


_handle = entry_point("outer", wire)


@functions_framework.cloud_event
def handle(cloud_event: CloudEvent) -> None:
    """Acknowledges by returning; asks for another delivery by 503."""
    _handle(cloud_event)
