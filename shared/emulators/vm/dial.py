"""Calls from the host into a container: its network namespace gives the sockets, one for each call.

A socket belongs to the namespace of the process that made it. The one process of ours on the container's side makes
them (`contained.give_sockets`) and passes them out; the container itself has no part in it.
"""

import array
import socket
import threading
from types import TracebackType

_SECONDS = 10


class Dialler:
    """`theirs` goes to the process inside and is closed here; then `connect` works until that process ends."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(_SECONDS)
        self._lock = threading.Lock()

    def __enter__(self) -> "Dialler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        self.theirs.close()

    def connect(self, port: int) -> socket.socket:
        """A connection to the container's own loopback. OSError if nothing listens there or the container is gone."""
        with self._lock:
            self._ours.send(b"s")
            message, ancillary, _, _ = self._ours.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        if not message or not descriptors:
            raise ConnectionRefusedError("the container has ended")
        made = socket.socket(fileno=descriptors[0])
        made.settimeout(_SECONDS)
        try:
            made.connect(("127.0.0.1", port))
        except OSError:
            made.close()
            raise
        return made
