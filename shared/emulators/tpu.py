"""The local TPU platform: Google's TPU API on loopback, with sealed VMs behind it.

`python -m shared.emulators.tpu --config FILE` serves until SIGTERM. FILE is JSON:

    listen              "127.0.0.1:0"; port 0 takes a free one
    port_file           optional: where the port is written once the server answers
    rest_listen         optional: where gcloud is served (shared.emulators.tpu_rest); rest_port_file: as above
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
    reservations        optional: {"ZONE": {"RESERVATION": nodes}}; without one, nothing reserved is to be had
    accelerator_types   optional: {"ZONE": ["TYPE", ...]}: what the zone has, where that is not everything
    max_hosts           optional: VMs that one request may ask for, 8 by default
    memory_bytes, processes   optional: limits of each VM

While it runs, state_dir/control.json changes what is left and preempts nodes: shared.emulators.tpu_control.
The real client: `TpuClient(transport=TpuGrpcTransport(channel=grpc.insecure_channel("127.0.0.1:PORT")))`.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from shared import journal
from shared.emulators import tokens
from shared.emulators.tpu_capacity import Capacity
from shared.emulators.tpu_catalogue import Catalogue
from shared.emulators.tpu_config import Config, parse_config
from shared.emulators.tpu_control import Control
from shared.emulators.tpu_nodes import Nodes
from shared.emulators.tpu_queue import QueuedResources
from shared.emulators.tpu_rest import Methods, RestServer
from shared.emulators.tpu_server import OPERATIONS_SERVICE, TPU_SERVICE, Operations, handlers
from shared.emulators.vm import image, preflight
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import Platform
from shared.errors import DmzError, Permanent

__all__ = ["Config", "TpuPlatform", "parse_config"]

_TICK = 0.2
_log = logging.getLogger(__name__)


class TpuPlatform:
    """The server and its VMs. `port` answers once this is made; `close` ends everything.

    While it runs, `capacity.set_empty(zones)` says which zones have nothing left, `nodes.preempt(name)` takes a Spot
    node back; from another process the same goes by file (shared.emulators.tpu_control).
    """

    def __init__(self, config: Config, root: Path) -> None:
        key, settings = tokens.load_key(config.token_key), config.settings
        self.engine = Engine(
            Platform(root, config.state, key, config.pubsub, journal=journal.directory(os.environ))
        )
        self._operations = Operations()
        self.capacity = Capacity(settings.no_capacity_zones, settings.reservations)
        self.nodes = Nodes(settings, self.engine, self._operations, self.capacity)
        self._queue = QueuedResources(settings, self.nodes, self._operations, self.capacity)
        self._control = Control(config.state, settings.no_capacity_zones, self.capacity, self.nodes)
        self._server = grpc.server(ThreadPoolExecutor(16, "tpu-api"))
        tpu = {**self.nodes.methods(), **self._queue.methods(), **Catalogue(settings).methods()}
        methods = {TPU_SERVICE: tpu, OPERATIONS_SERVICE: self._operations.methods()}
        self._server.add_generic_rpc_handlers(tuple(handlers(methods)))
        try:
            self.port: int = self._server.add_insecure_port(config.listen)
        except RuntimeError:
            self.engine.close()
            raise Permanent(
                f"Nothing can listen on {config.listen}: free it or choose another address."
            ) from None
        self._rest = self._serve_rest(config, methods)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="tpu-queue", daemon=True)
        self._thread.start()
        self._server.start()

    def close(self) -> None:
        if self._rest:
            self._rest.shutdown()
            self._rest.server_close()
        self._server.stop(1).wait()
        self._stop.set()
        self._thread.join()
        self._operations.close()
        self.engine.close()

    @property
    def rest_port(self) -> int:
        """0 if the configuration asks for no REST."""
        return int(self._rest.server_address[1]) if self._rest else 0

    def _serve_rest(self, config: Config, methods: Mapping[str, Methods]) -> RestServer | None:
        if not config.rest_listen:
            return None
        try:
            server = RestServer(
                config.rest_listen, {name: m for each in methods.values() for name, m in each.items()}
            )
        except OSError as error:
            self.engine.close()
            raise Permanent(
                f"Nothing can listen on {config.rest_listen} for REST: {error.strerror}."
            ) from None
        threading.Thread(target=server.serve_forever, name="tpu-rest", daemon=True).start()
        return server

    def _tend(self) -> None:
        while not self._stop.wait(_TICK):
            try:
                self._control.apply()
                self._queue.tick()
            except Exception:  # who waits in the queue would wait for ever
                _log.exception("The queue was not served; trying again.")


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
        for path, port in ((config.rest_port_file, platform.rest_port), (config.port_file, platform.port)):
            if path:
                partial = path.with_name(f".{path.name}")
                partial.write_text(f"{port}\n", encoding="ascii")
                partial.rename(path)
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
