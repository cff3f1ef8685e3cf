"""The VM's name server (169.254.169.254:53): knows a few names, asks the host's resolver for the rest or denies them.

Google's metadata server is the resolver of its VMs: https://docs.cloud.google.com/compute/docs/internal-dns.
Message format: RFC 1035 section 4; negative answers: RFC 2308.
"""

import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_A, _IN = 1, 1
_NOERROR, _FORMERR, _SERVFAIL, _NXDOMAIN = 0, 1, 2, 3
_TTL = 30
_TIMEOUT = 3.0


@dataclass(frozen=True)
class Zone:
    """`names`: host name (a leading `*.` matches one or more labels) to its addresses. `resolvers`: addresses of name
    servers that are asked about all other names; none means that no other name exists."""

    names: Mapping[str, Sequence[str]]
    resolvers: Sequence[str] = ()

    def addresses(self, name: str) -> Sequence[str] | None:
        name = name.lower().rstrip(".")
        if name in self.names:
            return self.names[name]
        labels = name.split(".")
        for cut in range(1, len(labels)):
            if (wild := "*." + ".".join(labels[cut:])) in self.names:
                return self.names[wild]
        return None


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The host's own name servers, IPv4, in the order of resolv.conf(5)."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    words = [line.split() for line in lines]
    return tuple(
        word[1] for word in words if len(word) > 1 and word[0] == "nameserver" and ":" not in word[1]
    )


def answer(zone: Zone, query: bytes, *, stream: bool = False) -> bytes | None:
    """The response to one query message; None for what is not a query at all. `stream`: forward by TCP."""
    if len(query) < 12 or query[2] & 0x80:
        return None
    try:
        name, kind, end = _question(query)
    except (IndexError, UnicodeDecodeError, struct.error):
        return _response(query, 12, _FORMERR)
    known = zone.addresses(name)
    if known is not None:
        return _response(query, end, _NOERROR, known if kind == _A else ())
    if not zone.resolvers:
        return _response(query, end, _NXDOMAIN)
    return _forward(zone.resolvers, query, stream=stream) or _response(query, end, _SERVFAIL)


def serve_stream(zone: Zone, connection: socket.socket) -> None:
    """DNS over TCP (RFC 7766): length-prefixed messages until the guest hangs up."""
    connection.settimeout(30)
    with connection.makefile("rb") as reader:
        while header := reader.read(2):
            response = answer(zone, reader.read(struct.unpack("!H", header)[0]), stream=True)
            if response is None:
                return
            connection.sendall(struct.pack("!H", len(response)) + response)


def _question(query: bytes) -> tuple[str, int, int]:
    """Name, type and end of the first question."""
    labels, position = [], 12
    while length := query[position]:
        if length > 63 or position + length + 1 >= len(query):
            raise IndexError
        labels.append(query[position + 1 : position + 1 + length].decode("ascii"))
        position += length + 1
    kind, _ = struct.unpack_from("!HH", query, position + 1)
    return ".".join(labels), kind, position + 5


def _response(query: bytes, end: int, code: int, addresses: Sequence[str] = ()) -> bytes:
    recursion_desired = query[2] & 0x01
    flags = 0x8080 | recursion_desired << 8 | code  # response, recursion available
    questions = 1 if end > 12 else 0
    records = b"".join(
        struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL, 4) + socket.inet_aton(address) for address in addresses
    )
    return query[:2] + struct.pack("!HHHHH", flags, questions, len(addresses), 0, 0) + query[12:end] + records


def _forward(resolvers: Sequence[str], query: bytes, *, stream: bool) -> bytes | None:
    # Some resolvers answer datagrams only: then a truncated answer is better than none.
    ways = (_ask_stream, _ask_datagram) if stream else (_ask_datagram,)
    for ask in ways:
        for resolver in resolvers:
            with suppress(OSError, struct.error):
                response = ask(resolver, query)
                if response[:2] == query[:2]:
                    return response
    return None


def _ask_datagram(resolver: str, query: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_TIMEOUT)
        client.connect((resolver, 53))
        client.send(query)
        return client.recv(65535)


def _ask_stream(resolver: str, query: bytes) -> bytes:
    with socket.create_connection((resolver, 53), _TIMEOUT) as client, client.makefile("rb") as reader:
        client.sendall(struct.pack("!H", len(query)) + query)
        return reader.read(struct.unpack("!H", reader.read(2))[0])
