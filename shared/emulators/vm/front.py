"""HTTPS towards a guest: Google's host names, under the local CA, each led to what stands behind it."""

import socket
import ssl
from collections.abc import Mapping
from typing import Protocol

from shared.emulators.vm import http1
from shared.emulators.vm.backend import Backend
from shared.emulators.vm.http1 import Exchange, Refused
from shared.emulators.vm.relay import PublishRelay
from shared.emulators.vm.spec import PUBSUB_HOST, Platform, VmSpec


class Service(Protocol):
    def serve(self, exchange: Exchange) -> None: ...


def services(spec: VmSpec, platform: Platform) -> dict[str, Service]:
    """What this VM reaches by name over HTTPS."""
    found: dict[str, Service] = {host.lower(): Backend(url) for host, url in spec.network.hosts.items()}
    pubsub = Backend(platform.pubsub) if platform.pubsub else None
    found[PUBSUB_HOST] = PublishRelay(spec.identity, platform.token_key, pubsub, platform.journal)
    return found


def serve(connection: socket.socket, context: ssl.SSLContext, by_host: Mapping[str, Service]) -> None:
    """One guest connection: TLS, then each request to the service of its Host."""

    def handle(exchange: Exchange) -> None:
        _service(by_host, exchange.host()).serve(exchange)

    connection.settimeout(http1.IDLE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(connection.dup(), server_side=True) as secured:
        http1.serve(secured, handle)


def _service(by_host: Mapping[str, Service], host: str) -> Service:
    if host in by_host:
        return by_host[host]
    labels = host.split(".")
    for cut in range(1, len(labels)):
        if service := by_host.get("*." + ".".join(labels[cut:])):
            return service
    raise Refused(404, f"{host or 'A request without Host'} is not served on this network.")
