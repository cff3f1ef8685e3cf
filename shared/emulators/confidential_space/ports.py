"""A container's service ports, on an address of this host's loopback that is the VM's alone.

On Google Cloud the launcher opens the firewall for the ports that the image exposes; here the same ports answer on
127.A.B.C. Nothing else of the container can be called, and it can call nothing through them.
"""

import errno
import random
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from shared.emulators.vm.dial import Dialler
from shared.emulators.vm.listen import Listeners

_BLOCK = 65536
_IDLE_SECONDS = 600


class Ports:
    """Listens on all of `ports` from the moment it is made; `serve` leads them to a container."""

    _listeners: Listeners | None = None

    def __init__(self, ports: Sequence[int]) -> None:
        self.address = _address()
        self._ports = tuple(ports)
        self._sockets: list[socket.socket] = []
        try:
            for port in ports:
                self._sockets.append(_listen(self.address, port))
        except OSError:
            self.close()
            raise

    @property
    def local(self) -> dict[str, int]:
        """The image's ports, and where on `address` each answers: the same port unless another program has it."""
        found = (int(listener.getsockname()[1]) for listener in self._sockets)
        return {str(port): local for port, local in zip(self._ports, found, strict=True)}

    def serve(self, name: str, dialler: Dialler) -> None:
        self._listeners = Listeners(name)
        for port, listener in zip(self._ports, self._sockets, strict=True):
            # A copy: the container may be launched again, and the address stays the VM's.
            self._listeners.tcp(
                listener.dup(),
                lambda connection, port=port: _forward(connection, dialler, port),  # type: ignore[misc]
            )
        self._listeners.start()

    def pause(self) -> None:
        """End all connections; new ones wait until `serve`."""
        if self._listeners:
            self._listeners.close()
            self._listeners = None

    def close(self) -> None:
        self.pause()
        for listener in self._sockets:
            listener.close()


def _address() -> str:
    return f"127.{random.randrange(64, 128)}.{random.randrange(256)}.{random.randrange(1, 255)}"  # noqa: S311 - no secret


def _listen(address: str, port: int) -> socket.socket:
    """On `port`; on a free one where another program has that port on all addresses, or it is only root's."""
    for wanted in (port, 0):
        try:
            return socket.create_server((address, wanted), backlog=64)
        except OSError as error:
            if wanted == 0 or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise AssertionError  # for the type checker


def _forward(connection: socket.socket, dialler: Dialler, port: int) -> None:
    with dialler.connect(port) as inside:
        for end in (connection, inside):
            end.settimeout(_IDLE_SECONDS)
        back = threading.Thread(target=_copy, args=(inside, connection), daemon=True)
        back.start()
        _copy(connection, inside)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
