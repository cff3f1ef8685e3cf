"""What a VM may say to the platform: publish to its own topic, and pull its own subscription if it has one.

Stands for the IAM bindings `roles/pubsub.publisher` on one topic and `roles/pubsub.subscriber` on one subscription.
Methods and errors: https://docs.cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish and
…/projects.subscriptions/pull. Checks, in this order:
1. POST, and exactly the path /v1/projects/P/topics/T:publish, without query; or, for a service account that has
   subscriptions, /v1/projects/P/subscriptions/S: with pull, acknowledge or modifyAckDeadline;
2. a bearer token of this platform, unexpired, minted for this VM's own service account;
3. a topic that this service account may publish to, or a subscription of its own;
4. a body of at most 10 MB of messages, in base64 with its JSON around.
What is published is written down before, where the emulator behind may die: a VM's last `MESSAGES` requests.
"""

import io
import re
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from shared import journal
from shared.emulators import tokens
from shared.emulators.vm.backend import Backend
from shared.emulators.vm.http1 import Exchange, Refused
from shared.emulators.vm.spec import Identity
from shared.errors import Permanent

_NAME = "[A-Za-z][A-Za-z0-9._~+%-]{2,254}"
_PATH = re.compile(rf"/v1/(projects/[a-z0-9-]+/topics/{_NAME}):publish")
_PULL = re.compile(rf"/v1/(projects/[a-z0-9-]+/subscriptions/{_NAME}):(?:pull|acknowledge|modifyAckDeadline)")
# https://docs.cloud.google.com/pubsub/quotas#resource_limits: 10 MB a request; base64 makes 4 of 3 bytes.
BODY_LIMIT = 10_000_000 * 4 // 3 + 65_536
MESSAGES = 100
"""A VM owes one report, a data service a token for each run; what else a VM sends must not fill the disk."""


@dataclass(frozen=True)
class PublishRelay:
    """For one VM. `pubsub` is the endpoint behind it; None refuses everything."""

    identity: Identity
    token_key: bytes
    pubsub: Backend | None
    journal: Path | None = None
    """Where messages are written down (`shared.journal`); None for nowhere."""
    _kept: deque[str] = field(default_factory=deque)

    def serve(self, exchange: Exchange) -> None:
        allowed, match = self.identity.topics, _PATH.fullmatch(exchange.path)
        also = " and pull its own subscription" if self.identity.subscriptions else ""
        if also and not match:
            allowed, match = self.identity.subscriptions, _PULL.fullmatch(exchange.path)
        if exchange.command != "POST" or not match or "%" in exchange.path:  # check 1
            raise Refused(403, f"This network lets a VM publish to its own topic{also} and nothing else.")
        resource = match[1]
        self._authenticate(exchange.headers.get_all("Authorization") or [])
        if resource not in allowed:  # check 3
            raise Refused(403, f"User not authorized to perform this action on {resource}.")
        if exchange.body_length > BODY_LIMIT:  # check 4
            raise Refused(413, f"Request payload size exceeds the limit: {BODY_LIMIT} bytes.")
        if self.pubsub is None:
            raise Refused(502, "No Pub/Sub endpoint is configured.")
        if not self.journal or not _PATH.fullmatch(exchange.path):
            return self.pubsub.serve(exchange)
        request, connection = exchange.read_body(BODY_LIMIT), exchange.rfile
        self._keep(self.journal, resource.rsplit("/", 1)[-1], request)
        exchange.rfile = io.BytesIO(request)
        try:
            self.pubsub.serve(exchange)
        finally:
            exchange.rfile = connection  # the next request comes by it

    def _keep(self, place: Path, topic: str, request: bytes) -> None:
        name = journal.keep_request(place, topic, request)
        if name not in self._kept:
            self._kept.append(name)
        while len(self._kept) > MESSAGES:
            (place / self._kept.popleft()).unlink(missing_ok=True)

    def _authenticate(self, headers: list[str]) -> None:  # check 2
        if len(headers) != 1 or not headers[0].startswith("Bearer "):
            raise Refused(403, "The request needs one bearer token; fetch it from the metadata server.")
        try:
            email = tokens.verify(self.token_key, headers[0].removeprefix("Bearer ").strip(), time.time())
        except Permanent as error:
            raise Refused(403, str(error)) from None
        except (ValueError, TypeError, LookupError):  # not even the shape of a token
            raise Refused(403, "The bearer token is malformed; fetch one from the metadata server.") from None
        if email != self.identity.email:
            raise Refused(403, f"The token belongs to {email}, not to this VM's service account.")
