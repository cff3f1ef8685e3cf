"""The kit's relay: a connection dies at the byte that was ordered, nobody gets through an outage, calm is calm."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults.relay import Relay, Way

CONTENT = bytes(range(16))


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Before a server that sends back what it gets, until it gets no more."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                while chunk := connection.recv(100):
                    connection.sendall(chunk)

    threading.Thread(target=serve, daemon=True).start()
    made = Relay(lambda: f"127.0.0.1:{server.getsockname()[1]}")
    yield made
    made.close()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def sent(relay: Relay, content: bytes) -> bytes:
    """What comes back of it."""
    host, _, port = relay.address.rpartition(":")
    found = b""
    # Where the connection is reset, what came before stays.
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, int(port)), timeout=60) as connection,
    ):
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(100):
            found += chunk
    return found


@pytest.mark.parametrize("way", ["requests", "answers"])
def test_a_connection_dies_at_each_byte_and_the_next_one_lives(relay: Relay, way: Way) -> None:
    for after in range(len(CONTENT)):
        relay.cut(way, after)
        assert CONTENT[:after].startswith(sent(relay, CONTENT))
        assert relay.died == after + 1
        assert sent(relay, CONTENT) == CONTENT


def test_an_order_counts_over_connections(relay: Relay) -> None:
    relay.cut("answers", len(CONTENT) + 1)
    assert sent(relay, CONTENT) == CONTENT
    assert len(sent(relay, CONTENT)) <= 1
    assert relay.died == 1


def test_nobody_gets_through_an_outage(relay: Relay) -> None:
    relay.down(600)
    assert sent(relay, CONTENT) == b""
    relay.calm()
    assert sent(relay, CONTENT) == CONTENT


def test_calm_takes_orders_back(relay: Relay) -> None:
    relay.cut("answers", 3)
    relay.calm()
    assert sent(relay, CONTENT) == CONTENT
