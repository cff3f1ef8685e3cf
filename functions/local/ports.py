"""TCP ports on loopback for the platform's processes."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Sequence

from shared.errors import Permanent

# Below Linux's range for outgoing connections (ip_local_port_range, 32768 and up): a port that is free now stays free
# until the process that it is meant for has bound it.
_FIRST, _LAST = 20_000, 32_000


def choose(names: Sequence[str], base: int | None) -> dict[str, int]:
    """A port for each name: from `base` on in this order if given, else any that are free.

    Permanent if a port that was asked for is taken.
    """
    if base is not None:
        wanted = {name: base + number for number, name in enumerate(names)}
        for name, port in wanted.items():
            if not 1024 <= port <= 65535:
                raise Permanent(f"DMZ_PORTS={base} gives {name} the port {port}; ports are 1024 to 65535.")
            if not _free(port):
                raise Permanent(
                    f"The port {port}, which DMZ_PORTS={base} gives to {name}, is taken: end what listens there "
                    f"(ss -ltnp 'sport = :{port}'), or unset DMZ_PORTS to use free ports."
                )
        return wanted
    found: dict[str, int] = {}
    candidates = random.sample(range(_FIRST, _LAST), 2000)  # not a secret, but two platforms must differ
    for name in names:
        while not _free(candidates[-1]):
            candidates.pop()
            if not candidates:
                raise Permanent(f"No port from {_FIRST} to {_LAST} on 127.0.0.1 is free.")
        found[name] = candidates.pop()
    return found


def answers(port: int) -> bool:
    """True if something accepts connections."""
    with socket.socket() as client:
        client.settimeout(0.3)
        return client.connect_ex(("127.0.0.1", port)) == 0


def speaks_http(port: int) -> bool:
    """True if something answers a request: a port may accept connections long before anybody does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.2)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
