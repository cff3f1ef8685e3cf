"""The local TPU platform: Google's TPU API on loopback, with sealed VMs behind it.

`python -m shared.emulators.tpu --config FILE` serves until SIGTERM. FILE is JSON:

    listen              "127.0.0.1:0"; port 0 takes a free one
    port_file           optional: where the port is written once the server answers
    state_dir           VMs live in state_dir/vms/NODE/ (pid, serial.log); one platform at a time
    cache_dir           root images
    token_key           file with the key of shared.emulators.tokens; made if missing
    project             the only project that exists
    networks            {"NETWORK": "outer" | "inner" | {"kind": "outer" | "inner", "hosts": [host, ...],
                        "internet": false}}; outer networks have internet unless it says otherwise
    service_accounts    {"EMAIL": ["projects/P/topics/T", ...]}: who may run a VM, and publish what
    backends            {"HOST": "http://127.0.0.1:PORT" | "unix:/path"}: what stands behind Google's names, by default
                        all of them on inner networks and none on outer ones
    pubsub              optional: "http://HOST:PORT" behind the publish relay
    no_capacity_zones   optional: zones that are out of capacity
    quotas              optional: {"ZONE": nodes}
    memory_bytes, processes   optional: limits of each VM

The real client: `TpuClient(transport=TpuGrpcTransport(channel=grpc.insecure_channel("127.0.0.1:PORT")))`.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from shared.emulators import tokens
from shared.emulators.ca import ZONES
from shared.emulators.tpu_nodes import LocalNetwork, Nodes, Settings
from shared.emulators.tpu_server import OPERATIONS_SERVICE, TPU_SERVICE, Operations, handlers
from shared.emulators.vm import image, preflight
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import Limits, Platform
from shared.errors import DmzError, Permanent

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
    "backends": dict,
    "pubsub": str,
    "no_capacity_zones": list,
    "quotas": dict,
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
    default = Limits()
    settings = Settings(
        project=raw["project"],
        networks=networks,
        topics={email: frozenset(topics) for email, topics in raw["service_accounts"].items()},
        no_capacity_zones=frozenset(raw.get("no_capacity_zones", ())),
        quotas=raw.get("quotas", {}),
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
    )


class TpuPlatform:
    """The server and its VMs. `port` answers once this is made; `close` ends everything."""

    def __init__(self, config: Config, root: Path) -> None:
        key = tokens.load_key(config.token_key)
        self.engine = Engine(Platform(root, config.state, key, config.pubsub))
        self._operations = Operations()
        nodes = Nodes(config.settings, self.engine, self._operations)
        self._server = grpc.server(ThreadPoolExecutor(16, "tpu-api"))
        methods = {TPU_SERVICE: nodes.methods(), OPERATIONS_SERVICE: self._operations.methods()}
        self._server.add_generic_rpc_handlers(tuple(handlers(methods)))
        try:
            self.port: int = self._server.add_insecure_port(config.listen)
        except RuntimeError:
            self.engine.close()
            raise Permanent(
                f"Nothing can listen on {config.listen}: free it or choose another address."
            ) from None
        self._server.start()

    def close(self) -> None:
        self._server.stop(1).wait()
        self._operations.close()
        self.engine.close()


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


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _serve(config: Config) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    preflight.require()
    root = image.prepare(config.cache, progress=_say)
    held = image.hold(root)
    platform = TpuPlatform(config, root.root)
    try:
        if platform.engine.swept:
            _say(f"removed what an earlier run left: {', '.join(platform.engine.swept)}")
        if config.port_file:
            partial = config.port_file.with_name(f".{config.port_file.name}")
            partial.write_text(f"{platform.port}\n", encoding="ascii")
            partial.rename(config.port_file)
        sys.stdout.write(f"{platform.port}\n")
        sys.stdout.flush()
        stop.wait()
    finally:
        platform.close()
        os.close(held)


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve the TPU API with local VMs.")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        _serve(parse_config(arguments.config.read_text(encoding="utf-8")))
    except (DmzError, OSError) as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
