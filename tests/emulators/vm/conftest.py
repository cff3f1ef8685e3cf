"""Real VMs for tests: one root image for the session (cached across sessions), an engine per test."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.emulators.vm import image
from shared.emulators.vm.engine import Engine, Vm
from shared.emulators.vm.spec import Identity, Limits, Network, Place, Platform, VmSpec

KEY = b"k" * 32
TOPIC = "projects/test-project/topics/outer-install-completed"
IDENTITY = Identity("outer@test-project.iam.gserviceaccount.com", frozenset({TOPIC}))
PLACE = Place("test-project", 123456789012, "us-central1-a", 4242)
PROBE = Path(__file__).with_name("probe.py")


@pytest.fixture(scope="session")
def root() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "package-dmz" / "images"
    return image.prepare(cache).root


@pytest.fixture
def engine(root: Path, tmp_path: Path) -> Iterator[Engine]:
    running = Engine(Platform(root, tmp_path / "state", KEY))
    yield running
    running.close()


def spec(name: str = "vm", *, internet: bool = False, script: str | None = None, **network: str) -> VmSpec:
    attributes = {} if script is None else {"startup-script": script}
    return VmSpec(
        name, Network(internet, network), IDENTITY, PLACE, attributes, Limits(memory=2**29, processes=512)
    )


def inside(engine: Engine, name: str, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a VM; its output as text."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        engine.enter(name, command), capture_output=True, text=True, timeout=60, **options
    )


def serial(vm: Vm, until: str = "Finished running startup scripts.", seconds: float = 60) -> str:
    """The serial log once `until` is in it."""
    deadline = time.monotonic() + seconds
    while until not in (text := (vm.directory / "serial.log").read_text(errors="replace")):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    return text


def probe(engine: Engine, name: str, *targets: str) -> dict[str, str]:
    """What `probe.py` finds inside the VM for these targets (`tcp:ADDRESS:PORT`, `dns:NAME`, …)."""
    done = inside(engine, name, "python3", "-", *targets, input=PROBE.read_text())
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@dataclass
class Ear:
    """Listens on TCP and UDP and remembers who came."""

    tcp: socket.socket
    udp: socket.socket
    heard: list[str] = field(default_factory=list)
    closed: bool = False

    @classmethod
    def open(cls, family: int, address: str) -> Ear:
        tcp = socket.create_server((address, 0), family=family)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, tcp.getsockname()[1]))
        ear = cls(tcp, udp)
        for listen in (ear._accept, ear._receive):
            threading.Thread(target=listen, daemon=True).start()
        return ear

    @property
    def port(self) -> int:
        return int(self.tcp.getsockname()[1])

    def close(self) -> None:
        self.closed = True

    def _accept(self) -> None:
        self._loop(self.tcp, lambda: self.tcp.accept()[0].close(), "tcp")

    def _receive(self) -> None:
        self._loop(self.udp, lambda: self.udp.recv(100), "udp")

    def _loop(self, ear: socket.socket, once: Callable[[], object], what: str) -> None:
        ear.settimeout(0.1)
        with ear:
            while not self.closed:
                with contextlib.suppress(TimeoutError):
                    once()
                    self.heard.append(what)


@pytest.fixture
def host_loopback() -> Iterator[Ear]:
    ear = Ear.open(socket.AF_INET, "127.0.0.1")
    yield ear
    ear.close()


@pytest.fixture
def host_everywhere() -> Iterator[Ear]:
    ear = Ear.open(socket.AF_INET, "0.0.0.0")  # noqa: S104 - the point of the test
    yield ear
    ear.close()


@dataclass
class Internet:
    """A network namespace behind a cable from the host: what is reachable there is what a leak would reach."""

    address4: str
    address6: str
    ear4: Ear
    ear6: Ear


@pytest.fixture
def internet() -> Iterator[Internet]:
    name = f"t{os.getpid()}"
    address4, address6 = "198.51.100.1", "2001:db8:51::1"  # RFC 5737, RFC 3849
    commands = (
        f"netns add {name}",
        f"link add {name} type veth peer name far netns {name}",
        f"addr add 198.51.100.2/24 dev {name}",
        f"addr add 2001:db8:51::2/64 dev {name} nodad",
        f"link set {name} up",
        f"-n {name} addr add {address4}/24 dev far",
        f"-n {name} addr add {address6}/64 dev far nodad",
        f"-n {name} link set far up",
    )
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)
        ears = _ears_in(name, address4, address6)
        yield Internet(address4, address6, *ears)
        for ear in ears:
            ear.close()
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ears_in(name: str, address4: str, address6: str) -> tuple[Ear, Ear]:
    """Sockets belong to the namespace of the thread that makes them."""
    made: list[Ear] = []

    def open_there() -> None:
        from shared.emulators.vm import syscalls

        with Path(f"/run/netns/{name}").open("rb") as namespace:
            syscalls.setns(namespace.fileno(), syscalls.Namespace.NET)
        made.append(Ear.open(socket.AF_INET, address4))
        made.append(Ear.open(socket.AF_INET6, address6))

    thread = threading.Thread(target=open_there)
    thread.start()
    thread.join()
    return made[0], made[1]
