"""Serves sockets that were opened inside a guest: one thread accepts, one thread per connection answers.

A guest is hostile: at most MAX_CONNECTIONS of its connections are held at a time; further ones are closed at once.
"""

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

MAX_CONNECTIONS = 256
_log = logging.getLogger(__name__)

Connect = Callable[[socket.socket], None]
Answer = Callable[[bytes], bytes | None]


class Listeners:
    """The sockets of one VM. `close` ends them and every connection on them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._selector = selectors.DefaultSelector()
        self._wake, woken = socket.socketpair()
        self._selector.register(woken, selectors.EVENT_READ, None)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tcp(self, listener: socket.socket, handle: Connect) -> None:
        """Call `handle` in a thread of its own with each connection; it is closed afterwards."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener, handle))

    def udp(self, receiver: socket.socket, answer: Answer) -> None:
        """Send back what `answer` makes of each datagram, from a thread of its own."""
        receiver.setblocking(False)
        self._selector.register(receiver, selectors.EVENT_READ, lambda: self._receive(receiver, answer))

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name=f"listen-{self._name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._wake.close()
        if self._thread:
            self._thread.join()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    for other in list(self._selector.get_map().values()):
                        other.fileobj.close()  # type: ignore[union-attr]
                    self._selector.close()
                    return
                with suppress(OSError):
                    key.data()

    def _accept(self, listener: socket.socket, handle: Connect) -> None:
        connection, _ = listener.accept()
        connection.setblocking(True)
        if not self._hold(connection):
            connection.close()
            return
        self._thread_for(lambda: handle(connection), connection)

    def _receive(self, receiver: socket.socket, answer: Answer) -> None:
        message, sender = receiver.recvfrom(4096)
        token, _ = socket.socketpair()  # stands for the exchange in the count
        if not self._hold(token):
            token.close()
            return

        def reply() -> None:
            if response := answer(message):
                receiver.sendto(response, sender)

        self._thread_for(reply, token)

    def _thread_for(self, work: Callable[[], None], held: socket.socket) -> None:
        def run() -> None:
            try:
                work()
            except (OSError, ValueError) as error:  # a connection that broke is the guest's own affair
                _log.debug("%s: %s", self._name, error)
            finally:
                with self._lock:
                    self._open.discard(held)
                held.close()

        threading.Thread(target=run, name=f"guest-{self._name}", daemon=True).start()

    def _hold(self, connection: socket.socket) -> bool:
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                return False
            self._open.add(connection)
            return True
