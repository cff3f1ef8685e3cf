"""The report of a VM: one Pub/Sub message with what was installed, or with the last lines before it failed."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any

from shared.guest import web
from shared.guest.config import Config
from shared.guest.console import Console
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

HOST = "https://pubsub.googleapis.com"
MAX_CLAIM = 7_000_000
"""Bytes of a compressed inventory: as base64 and with the rest of the report it stays under Pub/Sub's 10,000,000
(https://cloud.google.com/pubsub/quotas#resource_limits)."""
_PATIENCE = 600.0


def pack(inventory: dict[str, Any]) -> str:
    """An inventory as it travels: base64 of gzip of JSON. GuestError if it is too large for a message."""
    text = json.dumps(inventory, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    packed = gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)
    if len(packed) > MAX_CLAIM:
        raise GuestError(
            f"The inventory of this machine has {len(packed)} bytes compressed; a report holds {MAX_CLAIM}."
        )
    return base64.b64encode(packed).decode()


def body(config: Config, state: str, console: Console, seconds: dict[str, float]) -> dict[str, Any]:
    """What every report says, whatever its role."""
    return {
        "run_id": config.run_id,
        "report_token": config.report_token,
        "state": state,
        "tail": console.tail(),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def publish(config: Config, metadata: Metadata, payload: dict[str, Any]) -> None:
    """Publish a report, trying for ten minutes. GuestError if it cannot be delivered.

    https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish
    """
    message = {
        "data": base64.b64encode(
            json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
        ).decode(),
        "attributes": dict(config.attributes)
        | {
            "ce-id": config.event_id,
            "ce-type": config.event_type,
            "ce-source": config.event_source,
            "ce-specversion": "1.0",
            "ce-time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "content-type": "application/json",
        },
    }
    data = json.dumps({"messages": [message]}).encode()
    url = f"{HOST}/v1/projects/{config.events_project or config.project}/topics/{config.topic}:publish"
    end, pause = time.monotonic() + _PATIENCE, 1.0
    while True:
        try:
            # A right granted a moment ago can take minutes to be seen, so a refusal is tried again as well.
            headers = metadata.authorization() | {"Content-Type": "application/json"}
            web.request(url, headers, data, patience=60)
        except GuestError:
            if time.monotonic() + pause > end:
                raise
            time.sleep(pause)
            pause = min(pause * 2, 30)
        else:
            return
