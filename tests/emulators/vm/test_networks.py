"""What the outer VM reaches and what it does not; and that a network without internet is one for any VM."""

from __future__ import annotations

import time

from shared.emulators.vm import slirp
from shared.emulators.vm.engine import Engine
from tests.emulators.vm.conftest import Ear, Internet, inside, probe, serial, spec

FETCH = """#!/bin/sh
curl -sS -o /dev/null -w 'pypi %{http_code}\\n' https://pypi.org/simple/pip/
apt-get -q update 2>&1 | tail -1
python3 -m venv /opt/v && /opt/v/bin/pip -q download --no-deps -d /tmp/w six==1.17.0 && ls /tmp/w
"""


def test_the_outer_vm_reaches_the_package_indexes(engine: Engine) -> None:
    vm = engine.boot(spec("outer", internet=True, script=FETCH))
    text = serial(vm, seconds=120)
    assert "pypi 200" in text
    assert "Reading package lists" in text
    assert "six-1.17.0-py2.py3-none-any.whl" in text
    assert "startup-script exit status 0" in text


def test_the_outer_vm_is_heard_abroad_and_never_on_the_host(
    engine: Engine, internet: Internet, host_loopback: Ear, host_everywhere: Ear
) -> None:
    engine.boot(spec("outer", internet=True))
    abroad = f"{internet.address4}:{internet.ear4.port}"
    assert probe(engine, "outer", f"tcp:{abroad}", f"udp:{abroad}") == {
        f"tcp:{abroad}": "connected",
        f"udp:{abroad}": "sent",
    }
    addresses = (
        "127.0.0.1",
        "10.0.2.2",
        "10.0.2.3",
        "10.0.2.77",
        "10.0.2.255",
        "0.0.0.0",  # noqa: S104 - a destination here
        *slirp.host_addresses(),
    )
    ports = (host_loopback.port, host_everywhere.port)
    targets = [
        f"{kind}:{address}:{port}" for kind in ("tcp", "udp") for address in addresses for port in ports
    ]
    found = probe(engine, "outer", *targets)
    assert "connected" not in found.values()
    time.sleep(0.2)
    assert sorted(internet.ear4.heard) == ["tcp", "udp"]
    assert not host_loopback.heard
    assert not host_everywhere.heard


def test_the_outer_vm_does_not_reach_the_metadata_of_the_host_itself(engine: Engine) -> None:
    engine.boot(spec("outer", internet=True))
    # Ours answers on 169.254.169.254; beside it, clouds' link-local services stay closed.
    found = probe(engine, "outer", "tcp:169.254.169.254:80", "tcp:169.254.170.2:80", "tcp:169.254.169.253:53")
    assert list(found.values()) == ["connected", "Permission denied", "Permission denied"]


def test_the_outer_vm_asks_the_hosts_resolver(engine: Engine) -> None:
    engine.boot(spec("outer", internet=True))
    by_stream = (
        "import socket,struct\nq=b'\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4pypi\\3org\\0\\0\\1\\0\\1'\n"
    )
    by_stream += "s=socket.create_connection(('169.254.169.254',53)); s.sendall(struct.pack('!H',len(q))+q)\n"
    by_stream += "f=s.makefile('rb'); print(f.read(struct.unpack('!H',f.read(2))[0])[3]&15)"
    assert probe(engine, "outer", "dns:pypi.org", "dns:pubsub.googleapis.com") == {
        "dns:pypi.org": "rcode 0",
        "dns:pubsub.googleapis.com": "rcode 0",
    }
    assert inside(engine, "outer", "python3", "-c", by_stream).stdout == "0\n"
    known = inside(
        engine, "outer", "getent", "ahostsv4", "pubsub.googleapis.com", "metadata.google.internal"
    ).stdout
    assert {line.split()[0] for line in known.splitlines()} >= {"199.36.153.4", "199.36.153.7"}


def test_the_confinement_of_an_outer_vm_is_the_same(engine: Engine) -> None:
    engine.boot(spec("outer", internet=True))
    found = probe(
        engine, "outer", "socket:40,1", "socket:17,3,768", "socket:2,3,1", "unshare:10000000", "call:425"
    )
    assert list(found.values()) == [
        "Address family not supported by protocol",
        "Address family not supported by protocol",
        "Operation not permitted",
        "No space left on device",
        "Function not implemented",
    ]
