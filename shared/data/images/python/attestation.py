"""Proves, whenever it is asked, which image this service runs. Standard library only: copy it into your own service.

It runs in Confidential Space (https://cloud.google.com/confidential-computing/confidential-space/docs). A message
on the service's Pub/Sub subscription brings a nonce. The launcher, over its unix socket, turns it into a token that
Google signed: this hardware, this image, this nonce. The token goes to the topic `attestation-requested`, where it is
appraised.

    attestation.start(os.environ)        # beside whatever the service does; does nothing unless it is configured

    DMZ_SERVICE       this service's name
    DMZ_PROJECT       the Google Cloud project of topic and subscription
    DMZ_SUBSCRIPTION  the subscription, which no one else pulls

The service account needs roles/pubsub.subscriber on the subscription and roles/pubsub.publisher on the topic.
A token is a credential: it goes to the topic and nowhere else, no log line holds it.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import logging
import random
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOPIC = "attestation-requested"
MAX_ANSWER = 1 << 20
"""Bytes; a longer answer of any server is refused."""
_PULL_SECONDS = 120  # Pub/Sub holds an empty pull open for up to 90 s
_SECONDS = 30
_IDLE, _LONGEST_PAUSE = 0.5, 60.0
_TRIES = 5
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_STATUS = re.compile(r"[A-Z_]{1,40}", re.ASCII)

log = logging.getLogger("attestation")


class Failed(Exception):
    """A step failed; trying again may help. One sentence without any secret."""


class Refused(Exception):
    """A message that no other try makes better."""


@dataclass(frozen=True)
class Endpoints:
    """Where Google's servers are; other values are for tests."""

    metadata: str = "http://metadata.google.internal"
    pubsub: str = "https://pubsub.googleapis.com"
    launcher: str = "/run/container_launcher/teeserver.sock"


@dataclass(frozen=True)
class Settings:
    service: str
    project: str
    subscription: str

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Settings | None:
        """None if nothing is configured. ValueError if a part is missing, or is no plain name."""
        names = ("DMZ_SERVICE", "DMZ_PROJECT", "DMZ_SUBSCRIPTION")
        values = [env.get(name, "") for name in names]
        if not any(values):
            return None
        for name, value in zip(names, values, strict=True):
            if not re.fullmatch(r"[a-z][\w.:-]{0,254}", value, re.ASCII):
                raise ValueError(
                    f"{name} is missing or no plain name: set {', '.join(names)}, or none of them."
                )
        return cls(*values)


@dataclass(frozen=True)
class Challenge:
    """The event nonce-issued: what a token is to be asked for."""

    run_id: str
    service: str
    nonce_id: str
    nonce: str
    audience: str
    token_type: str
    expires: int
    """Unix time in seconds."""

    @classmethod
    def read(cls, data: bytes) -> Challenge:
        """Refused unless each field is there and what the launcher takes."""
        try:
            given = json.loads(data)
            challenge = cls(**{name: given[name] for name in cls.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refused(f"it is no nonce-issued event ({type(error).__name__})") from None
        *texts, expires = (getattr(challenge, name) for name in cls.__dataclass_fields__)
        if not all(isinstance(text, str) for text in texts) or type(expires) is not int:
            raise Refused("a field has the wrong type")
        if not 10 <= len(challenge.nonce.encode()) <= 74:
            raise Refused("its nonce has not 10 to 74 bytes")
        if not 1 <= len(challenge.audience.encode()) <= 512 or challenge.token_type not in ("OIDC", "PKI"):
            raise Refused("its audience or token type is not one that the launcher takes")
        return challenge

    def check(self, service: str, now: float) -> None:
        """Refused unless it is for `service` and still good."""
        if self.service != service:
            raise Refused("it is for another service")
        if self.expires <= now:
            raise Refused("it has expired")


class Attester:
    """Pulls challenges and answers each with a token."""

    def __init__(self, settings: Settings, endpoints: Endpoints = Endpoints()) -> None:
        self._settings, self._endpoints = settings, endpoints
        self._answered: deque[str] = deque(maxlen=1000)
        # Straight to Google: no proxy that the environment names, and no redirect, gets to see a token.
        self._web = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; a failure is logged and followed by a pause that doubles up to a minute."""
        pause = _IDLE
        while not stop.is_set():
            try:
                found = self.once()
            except Failed as error:
                log.warning("%s", error)
                stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads retries, no secret
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as error:  # a thread that ends would leave the service mute
                log.error("Attesting failed unexpectedly: %s.", type(error).__name__)  # noqa: TRY400 - a token may be near
                stop.wait(_LONGEST_PAUSE)
            else:
                pause = _IDLE
                if not found:
                    stop.wait(_IDLE)

    def once(self) -> bool:
        """Pull one message and answer it; whether there was one."""
        answer = self._pubsub(
            f"subscriptions/{self._settings.subscription}:pull", {"maxMessages": 1}, _PULL_SECONDS
        )
        messages = answer.get("receivedMessages", [])
        for received in messages:
            self._answer(base64.b64decode(received["message"].get("data", "")))
            # Only now: a message whose answer failed comes again.
            self._pubsub(
                f"subscriptions/{self._settings.subscription}:acknowledge", {"ackIds": [received["ackId"]]}
            )
        return bool(messages)

    def _answer(self, data: bytes) -> None:
        try:
            challenge = Challenge.read(data)
            challenge.check(self._settings.service, time.time())
        except Refused as error:
            log.warning("A message is left out: %s.", error)
            return
        if challenge.nonce_id in self._answered:  # a nonce is good for one token
            return
        request = {
            "run_id": challenge.run_id,
            "service": challenge.service,
            "nonce_id": challenge.nonce_id,
            "token": self._token(challenge),
        }
        self._publish(json.dumps(request, sort_keys=True, separators=(",", ":")).encode())
        self._answered.append(challenge.nonce_id)
        log.info("A %s token was handed in for nonce %s.", challenge.token_type, challenge.nonce_id)

    def _publish(self, body: bytes) -> None:
        """The same bytes under the same event id each time, so that a second copy counts as the first."""
        event_id = hashlib.sha256(body).hexdigest()[:32]
        message = {"data": base64.b64encode(body).decode(), "attributes": {"ce-id": event_id}}
        for left in reversed(range(_TRIES)):
            try:
                self._pubsub(f"topics/{TOPIC}:publish", {"messages": [message]})
            except Failed:
                if not left:
                    raise
                time.sleep(_IDLE * 2 ** (_TRIES - left - 1))
            else:
                return

    def _token(self, challenge: Challenge) -> str:
        """A token of the launcher, with our nonce and audience in it
        (https://cloud.google.com/confidential-computing/confidential-space/docs/connect-external-resources).
        """
        request = {
            "audience": challenge.audience,
            "token_type": challenge.token_type,
            "nonces": [challenge.nonce],
        }
        connection = _Launcher(self._endpoints.launcher)
        try:
            connection.request("POST", "/v1/token", json.dumps(request), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"The launcher gave no token: {type(error).__name__}.") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise Failed(f"The launcher gave no token: it answered {answer.status}.")
        token = body.decode("ascii", "replace").strip()
        if len(body) > MAX_ANSWER or not _JWT.fullmatch(token):
            raise Failed("The launcher gave no token: its answer is none.")
        return token

    def _pubsub(self, path: str, body: object, seconds: float = _SECONDS) -> dict[str, Any]:
        """https://cloud.google.com/pubsub/docs/reference/rest"""
        url = f"{self._endpoints.pubsub}/v1/projects/{self._settings.project}/{path}"
        headers = {"Authorization": f"Bearer {self._access_token()}", "Content-Type": "application/json"}
        return self._json(url, headers, json.dumps(body).encode(), seconds)

    def _access_token(self) -> str:
        """Of the VM's service account. Asked for each time: the metadata server keeps it until it is old."""
        url = f"{self._endpoints.metadata}/computeMetadata/v1/instance/service-accounts/default/token"
        token = self._json(url, {"Metadata-Flavor": "Google"}, None, _SECONDS).get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise Failed("The metadata server's answer holds no access token.")
        return token

    def _json(
        self, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float
    ) -> dict[str, Any]:
        """The JSON object that GET, or POST of `body`, answers. Failed says where and why, never what was sent."""
        request = urllib.request.Request(url, body, dict(headers))  # noqa: S310 - the URLs are our own
        try:
            with self._web.open(request, timeout=seconds) as answer:
                content = json.loads(answer.read(MAX_ANSWER))
        except urllib.error.HTTPError as error:
            raise Failed(f"{url} answered {error.code}{_status(error)}.") from None
        except urllib.error.URLError as error:
            raise Failed(f"{url} cannot be reached: {error.reason}.") from None
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            raise Failed(f"{url} gave no proper answer: {type(error).__name__}.") from None
        if not isinstance(content, dict):
            raise Failed(f"{url} gave no proper answer: no JSON object.")
        return content


class _Launcher(http.client.HTTPConnection):
    """HTTP over the launcher's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def start(env: Mapping[str, str], endpoints: Endpoints = Endpoints()) -> threading.Event | None:
    """Attest in the background until the event that comes back is set; None if `env` configures nothing."""
    settings = Settings.read(env)
    if settings is None:
        log.info("Not attesting: DMZ_SERVICE, DMZ_PROJECT and DMZ_SUBSCRIPTION are not set.")
        return None
    stop = threading.Event()
    attester = Attester(settings, endpoints)
    threading.Thread(target=attester.run, args=(stop,), name="attestation", daemon=True).start()
    log.info("Attesting as %s by subscription %s.", settings.service, settings.subscription)
    return stop


def _status(error: urllib.error.HTTPError) -> str:
    """Google's name of the error (https://google.aip.dev/193): its text may quote what was sent."""
    try:
        status = json.loads(error.read(MAX_ANSWER))["error"]["status"]
        return f" {status}" if _STATUS.fullmatch(status) else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError, http.client.HTTPException):
        return ""
