"""A metadata server on loopback for each of the platform's service accounts.

google-auth finds its credentials there (GCE_METADATA_HOST, GCE_METADATA_IP), as in a Cloud Run container:
https://cloud.google.com/run/docs/container-contract#metadata-server
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from functions.local.project import account, number
from shared.emulators.vm import http1, metadata
from shared.emulators.vm.spec import Identity, Network, Place, VmSpec
from shared.settings import Settings


class MetadataServers:
    """Listens from the moment it is made; answers in daemon threads, which end with the process."""

    def __init__(self, ports: dict[str, int], settings: Settings, token_key: bytes) -> None:
        self._sockets = []
        for name, port in ports.items():
            spec = _instance(name, settings)
            listener = socket.create_server(("127.0.0.1", port), backlog=32)
            self._sockets.append(listener)
            answer = metadata.handler(spec, token_key)
            threading.Thread(
                target=_accept, args=(listener, answer), name=f"metadata {name}", daemon=True
            ).start()

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


def environment(port: int) -> dict[str, str]:
    """What leads google-auth to the server on `port`."""
    address = f"127.0.0.1:{port}"
    return {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "GCE_METADATA_ROOT": address}


def _instance(name: str, settings: Settings) -> VmSpec:
    place = Place(settings.project, number(), settings.zone, instance_id=1)
    return VmSpec(name, Network(internet=False), Identity(account(name)), place)


def _accept(listener: socket.socket, answer: Callable[[http1.Exchange], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # closed
        threading.Thread(target=_serve, args=(connection, answer), daemon=True).start()


def _serve(connection: socket.socket, answer: Callable[[http1.Exchange], None]) -> None:
    with connection, contextlib.suppress(OSError):
        http1.serve(connection, answer)
