"""How a stage's `main` meets functions-framework: one CloudEvent in, acknowledged or asked for again.

Pub/Sub push takes 2xx as an acknowledgement and everything else as a request for another delivery
(https://cloud.google.com/pubsub/docs/push#receive_push).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable

from cloudevents.http import CloudEvent
from werkzeug.exceptions import ServiceUnavailable

from shared import logs
from shared.delivery import Desk
from shared.errors import Permanent, Transient
from shared.events import receive
from shared.settings import Settings, read


def entry_point(stage: str, wire: Callable[[Settings], Desk]) -> Callable[[CloudEvent], None]:
    """A CloudEvent function. `wire` makes the desk with its clients on the first event."""
    lock = threading.Lock()

    @functools.cache
    def made() -> Desk:
        return wire(read(os.environ))

    def handle(cloud_event: CloudEvent) -> None:
        try:
            with lock:
                desk = made()
            try:
                delivery = receive(cloud_event)
            except Permanent as error:
                desk.bus.dead_letter(b"", {"ce-id": str(cloud_event.get("id", ""))}, str(error))
                return
            desk.deliver(delivery)
        except Transient as error:
            logs.line("delivery-postponed", "WARNING", str(error), stage)
            raise ServiceUnavailable(str(error)) from None
        except Permanent as error:
            # Only a mistake in the service's own configuration gets here; the event must outlive it.
            logs.line("stage-misconfigured", "ERROR", str(error), stage)
            raise ServiceUnavailable(str(error)) from None

    return handle
