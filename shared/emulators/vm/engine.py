"""Boots, enters and deletes VMs. Everything of a VM dies with this process, however it ends.

The kernel's parent-death signal follows the thread that spawned, so one thread, which lives as long as the engine,
spawns them all.
"""

import array
import datetime
import fcntl
import json
import logging
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.emulators.ca import CertificateAuthority
from shared.emulators.vm import disk, dns, front, http1, idmap, limits, metadata, record, serial, slirp, trust
from shared.emulators.vm.dial import Dialler
from shared.emulators.vm.listen import Listeners
from shared.emulators.vm.process import Process
from shared.emulators.vm.spec import (
    METADATA_ADDRESS,
    METADATA_HOST,
    RESTRICTED_ADDRESSES,
    Container,
    Platform,
    VmSpec,
)
from shared.errors import Permanent, Transient

_log = logging.getLogger(__name__)
_STEP_SECONDS = 30
_EARLY = "it ended early"
_TOOL_LOG_NAME, _TOOL_LOG = "slirp4netns.log", 256 * 1024
_INIT = "/usr/lib/package-dmz/init.py"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LISTEN: tuple[tuple[str, str, int], ...] = (
    ("tcp", METADATA_ADDRESS, 80),
    ("udp", METADATA_ADDRESS, 53),
    ("tcp", METADATA_ADDRESS, 53),
    *(("tcp", address, 443) for address in RESTRICTED_ADDRESSES),
)


class _EndedEarly(Transient):
    """A VM that ended before it said anything."""


@dataclass
class Vm:
    """A VM. It ends with its first process."""

    spec: VmSpec
    directory: Path
    process: Process
    closers: ExitStack
    log: serial.SerialLog
    holder: "subprocess.Popen[bytes]"
    """Ours, on the guest's side; it ends as the guest's first process did."""
    dialler: Dialler | None = None
    """Calls the ports of a container."""

    @property
    def pid(self) -> int:
        """Of its first process, as the host counts."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.alive

    @property
    def internet(self) -> bool:
        return self.spec.network.internet

    def exit_code(self) -> int:
        """Of the first process, once it has ended; for a signal, 256 less its number. All that it said is logged."""
        self.log.drain(_STEP_SECONDS)
        return self.holder.wait(_STEP_SECONDS)

    def end(self, reason: str) -> None:
        """Stop it and say why in its serial log; its files stay until it is deleted."""
        self.process.kill(_STEP_SECONDS)
        with (self.directory / record.SERIAL_LOG).open("a", encoding="utf-8") as log:
            log.write(f"\n[the platform ended this VM: {reason}]\n")


class Engine:
    """VMs below `platform.state`, which belongs to one engine at a time. Safe to call from any thread."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        platform.state.mkdir(parents=True, exist_ok=True)
        self._lock_file = (platform.state / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Permanent(
                f"Another platform already uses {platform.state}; stop it or choose another."
            ) from None
        self.swept = record.sweep(platform.state)
        limits.prune()
        self._authority = CertificateAuthority.create(datetime.datetime.now(datetime.UTC))
        self._trust = self._trust_files(platform.root) if platform.root else {}
        self._spawner = ThreadPoolExecutor(1, "vm-spawner")
        self._vms: dict[str, Vm] = {}
        self._lock = threading.Lock()
        self._guard = disk.Guard(platform.state, lambda: list(self._vms.values()))

    def boot(self, spec: VmSpec) -> Vm:
        """Start a VM; it is up when this returns, its startup script has just begun.

        Permanent if the name is taken or this machine cannot run VMs, Transient if starting failed otherwise.
        """
        disk.require_room(self._platform.state)
        if not spec.container and not self._platform.root:
            raise Permanent("This engine has no root image: it runs containers alone.")
        directory = self._platform.state / "vms" / spec.name
        try:
            record.make(directory)
        except FileExistsError:
            raise Permanent(f"A VM named {spec.name} exists.") from None
        try:
            return self._up(spec, directory)
        except BaseException:
            record.remove(directory)
            raise

    def stop(self, name: str) -> None:
        """End a VM and keep its disk and its serial log, for `start`. Nothing happens if there is none."""
        if vm := self._vms.get(name):
            vm.closers.close()

    def start(self, name: str) -> Vm:
        """Boot a stopped VM from its disk. Permanent if there is none or it runs, Transient if starting failed."""
        vm = self._vms.get(name)
        if vm is None or vm.alive:
            raise Permanent(f"There is no stopped VM named {name}.")
        disk.require_room(self._platform.state)
        vm.closers.close()  # of one that ended by itself
        record.renew(vm.directory)
        return self._up(vm.spec, vm.directory)

    @property
    def state(self) -> Path:
        return self._platform.state

    def get(self, name: str) -> Vm | None:
        return self._vms.get(name)

    def delete(self, name: str) -> None:
        """End a VM and remove all of it. Nothing happens if there is none."""
        with self._lock:
            vm = self._vms.pop(name, None)
        if vm:
            with ExitStack() as last:
                last.callback(record.remove, vm.directory)
                vm.closers.close()

    def enter(self, name: str, command: Sequence[str] = ()) -> list[str]:
        """The command line that runs `command` (a shell if empty) inside the VM. Permanent if it is not running."""
        vm = self.get(name)
        if vm is None or not vm.alive:
            raise Permanent(f"There is no running VM named {name}.")
        return enter_command(vm.pid, command)

    def close(self) -> None:
        self._guard.close()
        for name in list(self._vms):
            self.delete(name)
        self._spawner.shutdown()
        self._lock_file.close()

    def _up(self, spec: VmSpec, directory: Path) -> Vm:
        try:
            return self._once(spec, directory)
        except _EndedEarly:
            # Seen once in some thousand boots, cause unknown: what began never spoke. A second one does.
            return self._once(spec, directory)

    def _once(self, spec: VmSpec, directory: Path) -> Vm:
        with ExitStack() as closers:
            try:
                vm = self._start(spec, directory, closers)
            except (OSError, Transient) as error:
                said = " ".join(serial.tail(directory / name) for name in (record.SERIAL_LOG, _TOOL_LOG_NAME))
                kind = _EndedEarly if str(error).startswith(_EARLY) else Transient
                raise kind(f"VM {spec.name} did not start: {error}. {said}".strip()) from error
            vm.closers = closers.pop_all()
        with self._lock:
            self._vms[spec.name] = vm
        return vm

    def _start(self, spec: VmSpec, directory: Path, closers: ExitStack) -> Vm:
        group = limits.create(spec.name, spec.limits)
        closers.callback(group.remove)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_STEP_SECONDS)
        dialler = closers.enter_context(Dialler()) if spec.container else None
        passed = (theirs.fileno(), *((dialler.theirs.fileno(),) if dialler else ()))
        log = closers.enter_context(serial.SerialLog(directory / record.SERIAL_LOG, spec.limits.serial_log))
        with ours, theirs, log.writer() as output:
            process = self._popen(
                idmap.python("-m", "shared.emulators.vm.inside", str(theirs.fileno())),
                env=idmap.child_environment(),
                pass_fds=passed,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
            closers.callback(_end, process)
            theirs.close()
            if dialler:
                dialler.theirs.close()
            record.write(directory, [process.pid], group)
            group.add(process.pid)
            assert process.stdin  # noqa: S101 - the pipe was asked for; for the type checker
            orders = {**self._orders(spec, directory, group), **({"sockets": passed[1]} if dialler else {})}
            process.stdin.write(json.dumps(orders).encode())
            process.stdin.close()
            step = "map"
            try:
                _receive(ours, b"map")
                idmap.map_ids(process.pid)
                ours.send(b"mapped")
                step = "listen"
                self._serve(spec, _receive_sockets(ours), closers)
                if spec.network.internet:
                    self._open_way(process.pid, directory, closers)
                ours.send(b"go")
                step = "run"
                guest = _await_guest(ours)
            except OSError as error:
                if str(error) != _EARLY:
                    raise
                raise OSError(f"{_EARLY}, at the step '{step}', with {process.poll()}") from error
        closers.callback(guest.kill, _STEP_SECONDS)  # and with the first process end all others
        record.write(directory, [process.pid, guest.pid], group)
        (directory / record.PID).write_text(f"{guest.pid}\n", encoding="ascii")
        return Vm(spec, directory, guest, ExitStack(), log, process, dialler)

    def _open_way(self, pid: int, directory: Path, closers: ExitStack) -> None:
        log = closers.enter_context(serial.SerialLog(directory / _TOOL_LOG_NAME, _TOOL_LOG))
        with log.writer() as output:
            closers.callback(slirp.open_way(pid, self._popen, output).close)

    def _popen(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        return self._spawner.submit(lambda: subprocess.Popen(command, **options)).result()

    def _serve(self, spec: VmSpec, sockets: Sequence[socket.socket], closers: ExitStack) -> None:
        by_host = front.services(spec, self._platform)
        context = self._authority.server_context(sorted(by_host), datetime.datetime.now(datetime.UTC))
        names: dict[str, Sequence[str]] = dict.fromkeys(by_host, RESTRICTED_ADDRESSES)
        names |= {METADATA_HOST: (METADATA_ADDRESS,), "metadata": (METADATA_ADDRESS,)}
        zone = dns.Zone(names, dns.host_resolvers() if spec.network.internet else ())
        answer_metadata = metadata.handler(spec, self._platform.token_key)

        def https(connection: socket.socket) -> None:
            with suppress(ssl.SSLError):  # a client that does not trust us, or scans
                front.serve(connection, context, by_host)

        listeners = Listeners(spec.name)
        listeners.tcp(sockets[0], lambda connection: http1.serve(connection, answer_metadata))
        listeners.udp(sockets[1], lambda query: dns.answer(zone, query))
        listeners.tcp(sockets[2], lambda connection: dns.serve_stream(zone, connection))
        for listener in sockets[3:]:
            listeners.tcp(listener, https)
        listeners.start()
        closers.callback(listeners.close)

    def _orders(self, spec: VmSpec, directory: Path, group: limits.Group) -> Mapping[str, Any]:
        domain = f"c.{spec.place.project}.internal"
        files = {
            "/etc/hostname": f"{spec.name}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {spec.name}.{domain} {spec.name}\n",
            "/etc/resolv.conf": f"search {domain} google.internal\nnameserver {METADATA_ADDRESS}\n",
        }
        program = self._contained(spec.container) if spec.container else self._booted()
        return {
            "parent": os.getpid(),
            "directory": str(directory.resolve()),
            "hostname": spec.name,
            "addresses": [METADATA_ADDRESS, *RESTRICTED_ADDRESSES],
            "listen": _LISTEN,
            "prohibited": slirp.prohibited() if spec.network.internet else [],
            "rlimits": limits.rlimits(group, spec.limits),
            **program,
            "files": {**files, **program["files"]},
        }

    def _booted(self) -> Mapping[str, Any]:
        """Of a VM: the image's Python runs the first process."""
        assert self._platform.root  # noqa: S101 - `boot` asked; for the type checker
        environment = {"PATH": _PATH, "LANG": "C.UTF-8", **trust.ENVIRONMENT}
        files = {
            _INIT: (Path(__file__).parent / "guest_init.py").read_text(encoding="utf-8"),
            "/etc/environment": "".join(f"{name}={value}\n" for name, value in environment.items()),
            **self._trust,
        }
        return {
            "root": str(self._platform.root.resolve()),
            "files": {name: content.encode().decode("latin-1") for name, content in files.items()},
            "argv": ["/usr/bin/python3", "-I", "-S", _INIT],
            "environment": environment,
        }

    def _contained(self, container: Container) -> Mapping[str, Any]:
        """Of a container: what its image says, and the certificates where its programs look for them."""
        stores = trust.stores(container.root, self._platform.host_bundle, self._authority.pem)
        return {
            "root": str(container.root.resolve()),
            "files": {name: content.decode("latin-1") for name, content in stores.items()},
            "argv": container.argv,
            "environment": dict(container.environment),
            "shm": container.shm,
            "container": {
                "user": container.user,
                "groups": container.groups,
                "home": container.home,
                "workdir": container.workdir,
                "shared": {name: str(path.resolve()) for name, path in container.shared.items()},
                "tmpfs": container.tmpfs,
                "console": container.console,
            },
        }

    def _trust_files(self, root: Path) -> dict[str, str]:
        image, host = root / trust.BUNDLE.lstrip("/"), self._platform.host_bundle
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (image, host)]
        return trust.files(texts[0], texts[1], self._authority.pem)


def enter_command(pid: int, command: Sequence[str] = ()) -> list[str]:
    """The command line that runs `command` (a shell if empty) in the VM whose first process is `pid`."""
    root = idmap.child_environment()["PYTHONPATH"]
    return ["env", f"PYTHONPATH={root}", *idmap.python("-m", "shared.emulators.vm.enter", str(pid), *command)]


def _receive(channel: socket.socket, expected: bytes) -> None:
    _checked(channel.recv(65536), expected)


def _receive_sockets(channel: socket.socket) -> list[socket.socket]:
    space = socket.CMSG_SPACE(len(_LISTEN) * array.array("i").itemsize)
    message, ancillary, _, _ = channel.recvmsg(65536, space)
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    _checked(message, b"listening")
    return sockets


def _checked(message: bytes, expected: bytes) -> None:
    if message != expected:
        reason = json.loads(message)["error"] if message.startswith(b"{") else _EARLY
        raise OSError(reason)


def _await_guest(channel: socket.socket) -> Process:
    """The guest's first process, once its own program runs."""
    guest, error = None, _EARLY
    while message := channel.recv(65536):
        said = json.loads(message)
        with suppress(KeyError, ProcessLookupError):
            guest = Process(said["pid"])
        error = said.get("error", error)
    if guest is None or not guest.alive or error != _EARLY:
        raise OSError(error)
    return guest


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
