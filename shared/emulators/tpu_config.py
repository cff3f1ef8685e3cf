"""The configuration file of the TPU platform: described in shared.emulators.tpu, checked here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.emulators.ca import ZONES
from shared.emulators.tpu_settings import MAX_HOSTS, LocalNetwork, Settings
from shared.emulators.vm.spec import Limits
from shared.errors import Permanent
from shared.model import accelerators

_REQUIRED = {
    "state_dir": str,
    "cache_dir": str,
    "token_key": str,
    "project": str,
    "networks": dict,
    "service_accounts": dict,
}
_OPTIONAL = {
    "listen": str,
    "port_file": str,
    "rest_listen": str,
    "rest_port_file": str,
    "backends": dict,
    "pubsub": str,
    "no_capacity_zones": list,
    "quotas": dict,
    "reservations": dict,
    "accelerator_types": dict,
    "max_hosts": int,
    "memory_bytes": int,
    "processes": int,
}


@dataclass(frozen=True)
class Config:
    listen: str
    port_file: Path | None
    state: Path
    cache: Path
    token_key: Path
    pubsub: str | None
    settings: Settings
    rest_listen: tuple[str, int] | None = None
    rest_port_file: Path | None = None


def parse_config(text: str) -> Config:
    """The configuration in `text`. Permanent, with the field's name, if it is not as described above."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise Permanent(f"The configuration is not JSON: {error}.") from None
    _check_fields(raw)
    backends = raw.get("backends", {})
    if foreign := [host for host in backends if not host.endswith(tuple(f".{zone}" for zone in ZONES))]:
        raise Permanent(
            f"The backend {foreign[0]} is not below {' or '.join(ZONES)}, the only names that VMs trust."
        )
    networks = {name: _network(name, value, backends) for name, value in raw["networks"].items()}
    if not networks or not raw["service_accounts"]:
        raise Permanent("The configuration needs at least one of `networks` and of `service_accounts`.")
    if raw.get("max_hosts", 1) < 1:
        raise Permanent("`max_hosts` in the configuration must be 1 or more.")
    default = Limits()
    settings = Settings(
        project=raw["project"],
        networks=networks,
        topics={email: frozenset(topics) for email, topics in raw["service_accounts"].items()},
        no_capacity_zones=frozenset(raw.get("no_capacity_zones", ())),
        quotas=raw.get("quotas", {}),
        reservations=_reservations(raw.get("reservations", {})),
        offered=_offered(raw.get("accelerator_types", {})),
        max_hosts=raw.get("max_hosts", MAX_HOSTS),
        limits=Limits(raw.get("memory_bytes", default.memory), raw.get("processes", default.processes)),
    )
    return Config(
        listen=raw.get("listen", "127.0.0.1:0"),
        port_file=Path(raw["port_file"]) if "port_file" in raw else None,
        state=Path(raw["state_dir"]),
        cache=Path(raw["cache_dir"]),
        token_key=Path(raw["token_key"]),
        pubsub=raw.get("pubsub"),
        settings=settings,
        rest_listen=_address(raw["rest_listen"]) if "rest_listen" in raw else None,
        rest_port_file=Path(raw["rest_port_file"]) if "rest_port_file" in raw else None,
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


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Permanent(f"`rest_listen` in the configuration must be HOST:PORT, not {text}.")
    return host, int(port)


def _reservations(raw: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    for zone, found in raw.items():
        if not isinstance(found, dict) or not all(type(size) is int and size > 0 for size in found.values()):
            raise Permanent(
                f"The reservations of {zone} must be an object of names, each with its number of nodes."
            )
    return raw


def _offered(raw: Mapping[str, Any]) -> Mapping[str, frozenset[str]]:
    for zone, kinds in raw.items():
        if not isinstance(kinds, list) or (
            unknown := [kind for kind in kinds if kind not in accelerators.NAMES]
        ):
            named = f", `{unknown[0]}`" if isinstance(kinds, list) else ""
            raise Permanent(f"The accelerator types of {zone} must be a list of types that exist{named}.")
    return {zone: frozenset(kinds) for zone, kinds in raw.items()}


def _network(name: str, value: Any, backends: Mapping[str, str]) -> LocalNetwork:
    detail = {"kind": value} if isinstance(value, str) else value
    if not isinstance(detail, dict) or detail.get("kind") not in ("outer", "inner"):
        raise Permanent(f'The network `{name}` must be "outer", "inner" or an object with such a `kind`.')
    outer = detail["kind"] == "outer"
    hosts = detail.get("hosts", [] if outer else list(backends))
    if unknown := [host for host in hosts if host not in backends]:
        raise Permanent(f"The network `{name}` names the host {unknown[0]}, which has no backend.")
    internet = detail.get("internet", True)
    if type(internet) is not bool:
        raise Permanent(f"The field `internet` of the network `{name}` must be true or false.")
    return LocalNetwork(outer, {host: backends[host] for host in hosts}, internet)
