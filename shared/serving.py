"""How a stage's `main` meets functions-framework: one CloudEvent in, acknowledged or asked for again.

Pub/Sub push takes 2xx as an acknowledgement and everything else as a request for another delivery
(https://cloud.google.com/pubsub/docs/push#receive_push).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from cloudevents.http import CloudEvent
from werkzeug.exceptions import ServiceUnavailable

from shared import journal, logs
from shared.delivery import Desk
from shared.errors import Permanent, Transient
from shared.events import receive
from shared.gcp.tokens import access_token
from shared.otlp import Exporter
from shared.settings import Settings, read

_GOOGLE = "telemetry.googleapis.com"
_DRAIN = 0.5
"""Seconds that an answer may wait for its spans."""


def entry_point(stage: str, wire: Callable[[Settings], Desk]) -> Callable[[CloudEvent], None]:
    """A CloudEvent function. `wire` makes the desk with its clients on the first event."""
    lock = threading.Lock()

    @functools.cache
    def made() -> tuple[Desk, Settings]:
        settings = read(os.environ)
        desk = wire(settings)
        if place := journal.directory(os.environ):
            desk = replace(desk, bus=journal.Journalled(desk.bus, place))
        if settings.traces:
            desk = replace(desk, export=_exporter(stage, settings))
        return desk, settings

    def take(cloud_event: CloudEvent) -> None:
        with lock:
            desk, settings = made()
        try:
            delivery = receive(cloud_event)
        except Permanent as error:
            desk.bus.dead_letter(b"", {"ce-id": str(cloud_event.get("id", ""))}, str(error))
            return
        try:
            with logs.of_project(settings.project):
                desk.deliver(delivery)
        finally:
            if settings.traces and isinstance(desk.export, Exporter):
                # Between requests Cloud Run gives an instance no time.
                desk.export.drain(_DRAIN)

    def handle(cloud_event: CloudEvent) -> None:
        try:
            take(cloud_event)
        except Transient as error:
            logs.line("delivery-postponed", "WARNING", str(error), stage)
            raise ServiceUnavailable(str(error)) from None
        except Permanent as error:
            # Only a mistake in the service's own configuration gets here; the event must outlive it.
            logs.line("stage-misconfigured", "ERROR", str(error), stage)
            raise ServiceUnavailable(str(error)) from None

    return handle


def _exporter(stage: str, settings: Settings) -> Exporter:
    """Sends spans where the settings say; to Google's own endpoint as the stage's account, and to nobody else."""
    host = urlsplit(settings.traces).hostname or ""
    if host != _GOOGLE:
        return Exporter(settings.traces, stage, settings.project)
    token = access_token()
    return Exporter(
        settings.traces,
        stage,
        settings.project,
        lambda: {"Authorization": f"Bearer {token()}", "x-goog-user-project": settings.project},
    )
