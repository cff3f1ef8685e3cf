"""How the command line publishes: to a deployment with its user's own rights, or to the platform of this machine."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from functions.local import platform
from functions.local.layout import Layout
from functions.local.project import bypass
from functions.local.sending import send_event
from shared.errors import Permanent
from shared.events import Event

LOCAL = "local"
Publish = Callable[[Event], None]


def publisher(to: str, layout: Layout) -> Publish:
    """Publishes to the Google Cloud project `to`, or to the local platform; Permanent if that is not up."""
    if to != LOCAL:
        # Google's libraries take a second to import.
        from shared.gcp.pubsub import PubSubBus

        return PubSubBus(to).publish
    up = platform.read(layout.platform)
    if not up:
        raise Permanent("The local platform is not up, so nothing can be published to it: ./dmz up.")
    os.environ.update(bypass(os.environ))
    return functools.partial(send_event, up)
