"""The part of the Compute Engine API that launches a Confidential Space VM.

https://cloud.google.com/compute/docs/reference/rest/v1: instances insert, get, list, aggregatedList, delete and
getSerialPortOutput; zoneOperations get, list and wait; zones and projects as far as gcloud asks for them. One project
and one zone exist. As on Google Cloud an insert succeeds when the VM is made: why a workload was not launched stands on
its serial port, and the instance goes from STAGING to TERMINATED.
"""

import base64
import datetime
import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.emulators import tokens
from shared.emulators.confidential_space import problems, request
from shared.emulators.confidential_space.machine import Running, Status, World
from shared.emulators.confidential_space.operations import Operations
from shared.emulators.registry.http import Reply, Request
from shared.emulators.vm.spec import Identity, Place
from shared.errors import Permanent

_BODY_LIMIT = 2 * 2**20
_GRACE_SECONDS = 5.0
_P = r"(?:/compute/v1)?/projects/(?P<project>[^/]+)"
_Z = rf"{_P}/zones/(?P<zone>[^/]+)"
_I = rf"{_Z}/instances/(?P<name>[^/]+)"
_O = rf"{_Z}/operations/(?P<name>[^/]+)"
Parts = dict[str, str]


@dataclass(frozen=True)
class Settings:
    project: str
    project_number: int
    zone: str
    identities: Mapping[str, Identity]
    """Service accounts that a VM may run as."""
    operators: frozenset[str]
    """Service accounts that may call this API."""


@dataclass
class _Instance:
    body: dict[str, Any]
    number: int
    created: str
    running: Running


class Compute:
    """Answers requests; `close` ends all VMs."""

    def __init__(self, settings: Settings, world: World) -> None:
        self._settings, self._world = settings, world
        self._operations = Operations()
        self._instances: dict[str, _Instance] = {}
        self._lock = threading.Lock()
        routes: list[tuple[str, str, str, Callable[[Request, str, Parts], Any]]] = [
            ("GET", _P, "compute.projects.get", self._project),
            ("GET", rf"{_P}/zones", "compute.zones.list", self._zones),
            ("GET", rf"{_P}/aggregated/instances", "compute.instances.list", self._aggregated),
            ("GET", _Z, "compute.zones.get", lambda request, _email, _parts: self._zone(request)),
            ("POST", rf"{_Z}/instances", "compute.instances.create", self._insert),
            ("GET", rf"{_Z}/instances", "compute.instances.list", self._list),
            ("GET", _I, "compute.instances.get", self._get),
            ("DELETE", _I, "compute.instances.delete", self._delete),
            ("GET", rf"{_I}/serialPort", "compute.instances.getSerialPortOutput", self._serial),
            ("GET", rf"{_Z}/operations", "compute.zoneOperations.list", self._list_operations),
            ("GET", _O, "compute.zoneOperations.get", self._operation),
            ("POST", rf"{_O}/wait", "compute.zoneOperations.get", self._wait),
        ]
        self._routes = [
            (method, re.compile(path), permission, serve) for method, path, permission, serve in routes
        ]

    def __call__(self, request: Request) -> Reply:
        if request.path == "/healthz":
            return Reply(content_type="text/plain", content=b"ok\n")
        email = self._caller(request)
        for method, pattern, permission, serve in self._routes:
            match = pattern.fullmatch(request.path)
            if match and request.method.replace("HEAD", "GET") == method:
                parts = match.groupdict()
                self._check(email, permission, request.path, parts)
                return Reply(content=json.dumps(serve(request, email, parts), indent=1).encode())
        raise problems.ComputeProblem(
            404, "The requested URL was not found on this server.", reason="notFound"
        )

    def close(self) -> None:
        """End all VMs at once."""
        with self._lock:
            running = [instance.running for instance in self._instances.values()]
            self._instances.clear()
        threads = [threading.Thread(target=each.stop, args=(1.0,)) for each in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _caller(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise problems.unauthenticated("Expected OAuth 2 access token.")
        try:
            return tokens.verify(self._world.token_key, token.strip(), time.time())
        except (Permanent, ValueError, TypeError, LookupError) as error:
            raise problems.unauthenticated(str(error)) from None

    def _check(self, email: str, permission: str, path: str, parts: Parts) -> None:
        """(1) the caller is an operator and the project is ours: one answer, as Google hides which; (2) the zone."""
        if email not in self._settings.operators or parts["project"] != self._settings.project:  # 1
            raise problems.forbidden(permission, path.removeprefix("/compute/v1/").lstrip("/"))
        if parts.get("zone", self._settings.zone) != self._settings.zone:  # 2
            raise problems.invalid(f"Invalid value for field 'zone': '{parts['zone'][:80]}'. Unknown zone.")

    def _insert(self, sent: Request, email: str, _parts: Parts) -> dict[str, Any]:
        try:
            body = json.loads(sent.body.read_all(_BODY_LIMIT) or b"{}")
        except (ValueError, RecursionError):
            raise problems.invalid("Invalid JSON payload received. Unable to parse.") from None
        number = secrets.randbelow(2**62) + 2**60
        place = Place(self._settings.project, self._settings.project_number, self._settings.zone, number)
        machine = request.machine(body, place, self._settings.identities)
        with self._lock:
            if machine.name in self._instances:
                raise problems.exists(self._resource(machine.name))
            made = _Instance(body, number, _now(), Running(machine, self._world))
            self._instances[machine.name] = made
        return self._operations.done("insert", self._link(sent, machine.name), email, str(number))

    def _get(self, sent: Request, _email: str, parts: Parts) -> dict[str, Any]:
        return self._shown(sent, parts["name"], self._find(parts["name"]))

    def _list(self, sent: Request, _email: str, _parts: Parts) -> dict[str, Any]:
        with self._lock:
            found = sorted(self._instances.items())
        return {
            "kind": "compute#instanceList",
            "id": f"projects/{self._settings.project}/zones/{self._settings.zone}/instances",
            "items": [self._shown(sent, name, each) for name, each in found],
            "selfLink": self._link(sent, "").rstrip("/"),
        }

    def _aggregated(self, sent: Request, email: str, parts: Parts) -> dict[str, Any]:
        found = self._list(sent, email, parts)["items"]
        return {
            "kind": "compute#instanceAggregatedList",
            "id": f"projects/{self._settings.project}/aggregated/instances",
            "items": {f"zones/{self._settings.zone}": {"instances": found} if found else {}},
            "selfLink": f"{_base(sent)}/projects/{self._settings.project}/aggregated/instances",
        }

    def _delete(self, sent: Request, email: str, parts: Parts) -> dict[str, Any]:
        instance = self._find(parts["name"])

        def work() -> None:
            instance.running.stop(_GRACE_SECONDS)
            with self._lock:
                if self._instances.get(parts["name"]) is instance:
                    del self._instances[parts["name"]]

        link = self._link(sent, parts["name"])
        return self._operations.start("delete", link, email, str(instance.number), work)

    def _serial(self, sent: Request, _email: str, parts: Parts) -> dict[str, Any]:
        start = sent.query.get("start", "0")
        if not (start.isascii() and start.isdigit() and len(start) < 19):
            raise problems.invalid(f"Invalid value for field 'start': '{start[:40]}'.")
        said, begin, end = self._find(parts["name"]).running.console.read(int(start))
        return {
            "kind": "compute#serialPortOutput",
            "selfLink": f"{self._link(sent, parts['name'])}/serialPort",
            "contents": said.decode("utf-8", "replace"),
            "start": str(begin),
            "next": str(end),
        }

    def _operation(self, _sent: Request, _email: str, parts: Parts) -> dict[str, Any]:
        return self._operations.get(parts["name"])

    def _wait(self, _sent: Request, _email: str, parts: Parts) -> dict[str, Any]:
        return self._operations.wait(parts["name"])

    def _list_operations(self, _sent: Request, _email: str, _parts: Parts) -> dict[str, Any]:
        return {"kind": "compute#operationList", "items": self._operations.all()}

    def _project(self, sent: Request, _email: str, _parts: Parts) -> dict[str, Any]:
        name = self._settings.project
        return {
            "kind": "compute#project",
            "id": str(self._settings.project_number),
            "name": name,
            "selfLink": f"{_base(sent)}/projects/{name}",
            "commonInstanceMetadata": {"kind": "compute#metadata"},
        }

    def _zones(self, sent: Request, _email: str, _parts: Parts) -> dict[str, Any]:
        return {"kind": "compute#zoneList", "items": [self._zone(sent)]}

    def _zone(self, sent: Request) -> dict[str, Any]:
        zone = self._settings.zone
        place = f"{_base(sent)}/projects/{self._settings.project}"
        region = zone.rpartition("-")[0]
        return {
            "kind": "compute#zone",
            "name": zone,
            "status": "UP",
            "region": f"{place}/regions/{region}",
            "selfLink": f"{place}/zones/{zone}",
        }

    def _find(self, name: str) -> _Instance:
        with self._lock:
            if name not in self._instances:
                raise problems.not_found(self._resource(name[:100]))
            return self._instances[name]

    def _resource(self, name: str) -> str:
        return f"projects/{self._settings.project}/zones/{self._settings.zone}/instances/{name}"

    def _link(self, sent: Request, name: str) -> str:
        return f"{_base(sent)}/{self._resource(name)}"

    def _shown(self, sent: Request, name: str, instance: _Instance) -> dict[str, Any]:
        """The resource as it was posted, with what the server adds."""
        body, running = instance.body, instance.running
        metadata = body.get("metadata") or {}
        nic = (body.get("networkInterfaces") or [{}])[0]
        print_of = base64.b64encode(hashlib.sha256(json.dumps(metadata).encode()).digest()[:8]).decode()
        return {
            **body,
            "kind": "compute#instance",
            "id": str(instance.number),
            "creationTimestamp": instance.created,
            "status": running.status.value,
            "zone": f"{_base(sent)}/projects/{self._settings.project}/zones/{self._settings.zone}",
            "selfLink": self._link(sent, name),
            "metadata": {**metadata, "kind": "compute#metadata", "fingerprint": print_of},
            # The ports that the image exposes answer on this address of the host's loopback; where another program
            # has such a port, on the one beside it in `localPorts`, which Compute Engine does not have.
            "networkInterfaces": [{**nic, "name": "nic0", "networkIP": running.address}],
            "localPorts": running.ports,
            **({"lastStopTimestamp": _now()} if running.status is Status.TERMINATED else {}),
        }


def _base(sent: Request) -> str:
    return f"http://{sent.authority}/compute/v1"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
