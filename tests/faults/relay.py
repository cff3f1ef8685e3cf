"""A TCP relay between a stage and what it talks to: connections die at a byte, drip, or are not taken at all."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal

Way = Literal["answers", "requests"]
"""Bytes to the client, or to the server."""
_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: the connection ends with a reset, as when a machine in between forgets it."""


class Relay:
    """Listens on loopback until `close`. `target`: HOST:PORT of the real one, empty as long as there is none."""

    def __init__(self, target: Callable[[], str]) -> None:
        self._target = target
        self._guard = threading.Lock()
        self._cuts: dict[Way, list[int]] = {"answers": [], "requests": []}
        self._down_until = 0.0
        self._pace = 0.0
        self._open: set[socket.socket] = set()
        self.died = 0
        """Connections that have been cut at a byte."""
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    # --- what a test orders ---

    def cut(self, way: Way, after: int) -> None:
        """Whichever connection carries the byte that comes `after` so many from now, dies before it."""
        with self._guard:
            self._cuts[way].append(after)

    def down(self, seconds: float) -> None:
        """Nobody gets through for so long; whoever is connected is cut off."""
        self._down_until = time.monotonic() + seconds
        self._drop_all()

    def slow(self, bytes_per_second: float) -> None:
        """How fast each connection goes; 0: as fast as it can."""
        self._pace = bytes_per_second

    def calm(self) -> None:
        """No fault is left."""
        self._down_until = self._pace = 0.0
        with self._guard:
            for cuts in self._cuts.values():
                cuts.clear()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._drop_all()

    # --- the bytes ---

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, _, port = self._target().rpartition(":")
        if not port or time.monotonic() < self._down_until:
            return _reset(client)
        try:
            server = socket.create_connection((host, int(port)), timeout=60)
        except OSError:
            return _reset(client)
        ends = {client, server}
        for end in ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(None)
        with self._guard:
            self._open |= ends
        back = threading.Thread(target=self._pump, args=(server, client, "answers"), daemon=True)
        back.start()
        self._pump(client, server, "requests")
        back.join()
        with self._guard:
            self._open -= ends
        for end in ends:
            end.close()
        return None

    def _pump(self, source: socket.socket, sink: socket.socket, way: Way) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                allowed = self._allowed(way, len(chunk))
                if self._pace:
                    time.sleep(min(allowed / self._pace, 2.0))
                sink.sendall(chunk[:allowed])
                if allowed < len(chunk):
                    self.died += 1
                    _drop(source, sink)
                    return
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            _drop(source, sink)

    def _allowed(self, way: Way, size: int) -> int:
        """How many of the next `size` bytes pass before a cut that is due."""
        with self._guard:
            due = [left for left in self._cuts[way] if left < size]
            self._cuts[way] = [left - size for left in self._cuts[way] if left >= size]
        return min(due, default=size)

    def _drop_all(self) -> None:
        with self._guard:
            ends = list(self._open)
        _drop(*ends)


def _drop(*ends: socket.socket) -> None:
    """Ends connections whose threads may be waiting in them: they close what is shut down here."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.shutdown(socket.SHUT_RDWR)


def _reset(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()
