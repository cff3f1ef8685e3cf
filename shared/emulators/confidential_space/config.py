"""The emulator's configuration file: one JSON object, read strictly.

listen              "127.0.0.1:0": the Compute Engine API; port 0 takes a free one
issuer_listen       "127.0.0.1:0": the attestation service's keys and root
port_file, issuer_port_file   optional: where the ports are written once both answer
state_dir           containers, unpacked images; belongs to one process and survives nothing
ca_dir              the root of PKI tokens, kept: confidential_space_root.pem is what appraisers pin
token_key           file with the key of shared.emulators.tokens; made if missing
project, zone       the only ones that exist
project_number      optional
service_accounts    {"EMAIL": {"publish": ["projects/P/topics/T"], "pull": ["projects/P/subscriptions/S"]}}: who a VM
                    may run as, and what its relay lets it do
operators           ["EMAIL"]: who may call the API
registries          {"HOST": "http://127.0.0.1:PORT" | "layout:DIRECTORY"}: where images come from
backends            optional: {"HOST": "http://127.0.0.1:PORT" | "unix:/path"}: what else containers reach by HTTPS
pubsub              optional: "http://HOST:PORT" behind pubsub.googleapis.com
swversion           optional: of the VM image, "250800"
support_attributes  optional: of a production image, ["LATEST", "STABLE", "USABLE"]
memory_bytes, processes   optional: limits of each container
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.emulators.ca import ZONES
from shared.emulators.confidential_space.compute import Settings
from shared.emulators.vm.spec import Identity, Limits
from shared.errors import Permanent

_REQUIRED = {
    "state_dir": str,
    "ca_dir": str,
    "token_key": str,
    "project": str,
    "zone": str,
    "service_accounts": dict,
    "operators": list,
    "registries": dict,
}
_OPTIONAL = {
    "listen": str,
    "issuer_listen": str,
    "port_file": str,
    "issuer_port_file": str,
    "project_number": int,
    "backends": dict,
    "pubsub": str,
    "swversion": str,
    "support_attributes": list,
    "memory_bytes": int,
    "processes": int,
}
_SUPPORT = ("LATEST", "STABLE", "USABLE")


@dataclass(frozen=True)
class Config:
    listen: tuple[str, int]
    issuer_listen: tuple[str, int]
    port_file: Path | None
    issuer_port_file: Path | None
    state: Path
    ca: Path
    token_key: Path
    settings: Settings
    registries: Mapping[str, str]
    backends: Mapping[str, str]
    pubsub: str | None
    version: str
    support: tuple[str, ...]
    limits: Limits


def parse(text: str) -> Config:
    """Permanent, with the field's name, if `text` is not as described above."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise Permanent(f"The configuration is not JSON: {error}.") from None
    _check_fields(raw)
    backends = raw.get("backends", {})
    if foreign := [host for host in backends if not host.endswith(tuple(f".{zone}" for zone in ZONES))]:
        raise Permanent(
            f"The backend {foreign[0]} is not below {' or '.join(ZONES)}, the only names that containers trust."
        )
    for host, origin in raw["registries"].items():
        if not isinstance(origin, str) or not origin.startswith(("http://", "layout:")):
            raise Permanent(
                f"The registry {host} must be http://HOST:PORT or layout:DIRECTORY, not {str(origin)!r:.100}."
            )
    default = Limits()
    project = raw["project"]
    return Config(
        listen=_address(raw, "listen"),
        issuer_listen=_address(raw, "issuer_listen"),
        port_file=Path(raw["port_file"]) if "port_file" in raw else None,
        issuer_port_file=Path(raw["issuer_port_file"]) if "issuer_port_file" in raw else None,
        state=Path(raw["state_dir"]),
        ca=Path(raw["ca_dir"]),
        token_key=Path(raw["token_key"]),
        settings=Settings(
            project=project,
            project_number=raw.get("project_number", 100_000_000_000 + zlib.crc32(project.encode())),
            zone=raw["zone"],
            identities=_identities(raw["service_accounts"]),
            operators=frozenset(_strings(raw["operators"], "operators")),
        ),
        registries=raw["registries"],
        backends=backends,
        pubsub=raw.get("pubsub"),
        version=raw.get("swversion", "250800"),
        support=_strings(raw.get("support_attributes", list(_SUPPORT)), "support_attributes"),
        limits=Limits(raw.get("memory_bytes", default.memory), raw.get("processes", default.processes)),
    )


def _check_fields(raw: Any) -> None:
    if not isinstance(raw, dict):
        raise Permanent("The configuration is not a JSON object.")
    kinds = {**_REQUIRED, **_OPTIONAL}
    if missing := sorted(_REQUIRED.keys() - raw.keys()):
        raise Permanent(f"The configuration lacks `{missing[0]}`.")
    if unknown := sorted(raw.keys() - kinds.keys()):
        raise Permanent(f"The configuration has a field that nobody reads: `{unknown[0]}`.")
    for name, value in raw.items():
        if type(value) is not kinds[name]:
            raise Permanent(f"`{name}` in the configuration must be of type {kinds[name].__name__}.")
    for name in ("service_accounts", "operators", "registries"):
        if not raw[name]:
            raise Permanent(f"`{name}` in the configuration must not be empty.")


def _identities(accounts: Mapping[str, Any]) -> dict[str, Identity]:
    found = {}
    for email, may in accounts.items():
        if not isinstance(may, dict) or may.keys() - {"publish", "pull"}:
            raise Permanent(f"The service account {email} must be an object with `publish` and `pull`.")
        topics = frozenset(_strings(may.get("publish", []), f"service_accounts.{email}.publish"))
        pulled = frozenset(_strings(may.get("pull", []), f"service_accounts.{email}.pull"))
        found[email] = Identity(email, topics, subscriptions=pulled)
    return found


def _strings(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Permanent(f"`{name}` in the configuration must be a list of strings.")
    return tuple(value)


def _address(raw: Mapping[str, Any], name: str) -> tuple[str, int]:
    text = raw.get(name, "127.0.0.1:0")
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise Permanent(f"`{name}` in the configuration must be HOST:PORT, not {text!r:.100}.")
    return host, int(port)
