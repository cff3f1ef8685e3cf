"""One VM of Confidential Space: boots, launches the container as the launcher does, ends as its policy says.

Order and sentences follow launcher/launcher/main.go and launcher/container_runner.go of go-tpm-tools:
1. the launch specification, from the instance's attributes;
2. the image, pulled with the service account's token;
3. the launch policy in its labels, against the specification;
4. the default token's file, the launcher's server, the container;
5. how it ended decides: hold (a debug image stays up), reboot, or off.
"""

import logging
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from shared.emulators import tokens
from shared.emulators.confidential_space import container, launch_spec, policy
from shared.emulators.confidential_space.claims import (
    DEFAULT_AUDIENCE,
    LIFETIME,
    Instance,
    Workload,
    claims,
)
from shared.emulators.confidential_space.console import Console
from shared.emulators.confidential_space.keys import Signer
from shared.emulators.confidential_space.launch_spec import LaunchSpec
from shared.emulators.confidential_space.ports import Ports
from shared.emulators.confidential_space.pull import Image, Puller
from shared.emulators.confidential_space.roots import Roots
from shared.emulators.confidential_space.tee import TeeServer
from shared.emulators.vm import trust
from shared.emulators.vm.engine import Engine, Vm
from shared.emulators.vm.spec import Container, Identity, Limits, Network, Place, VmSpec
from shared.errors import DmzError, Permanent

TOKEN_FILE = "attestation_verifier_claims_token"  # noqa: S105 - a file's name
_REBOOT_SECONDS = 1.0
_REFRESH = 0.8 * LIFETIME  # launcher/container_runner.go: defaultRefreshMultiplier
_STEP = 0.2
_log = logging.getLogger(__name__)


class Status(Enum):
    """https://cloud.google.com/compute/docs/instances/instance-lifecycle

    Compute Engine says RUNNING as soon as the VM boots; here it means that the workload was started (or, on a debug
    image, that the VM stays up after it), so that who waits for it learns whether the launch was refused.
    """

    STAGING = "STAGING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    TERMINATED = "TERMINATED"


class _After(Enum):
    """The launcher's exit codes 0 and 1, 3, and 4."""

    OFF = "shutting down the VM"
    REBOOT = "rebooting VM"
    HOLD = "VM remains running"


@dataclass(frozen=True)
class Machine:
    """What the instance was asked to be."""

    name: str
    place: Place
    technology: str
    """confidentialInstanceType, empty for none."""
    secure_boot: bool
    debug: bool
    identity: Identity
    attributes: dict[str, str]


@dataclass(frozen=True)
class World:
    """What all machines share."""

    engine: Engine
    puller: Puller
    roots: Roots
    signer: Signer
    token_key: bytes
    hosts: dict[str, str]
    state: Path
    limits: Limits
    version: str
    support: tuple[str, ...]
    now: Callable[[], float] = time.time
    wait: Callable[[float], None] = field(default=time.sleep)


class Running:
    """A machine that was started. `stop` ends it; a thread of its own leads its life."""

    def __init__(self, machine: Machine, world: World) -> None:
        self.machine, self.console = machine, Console()
        self.status = Status.STAGING
        self.address = "127.0.0.1"
        self.ports: dict[str, int] = {}
        self._world = world
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._vm: Vm | None = None
        self._thread = threading.Thread(target=self._live, name=f"machine-{machine.name}", daemon=True)
        self._thread.start()

    def stop(self, grace: float) -> None:
        """SIGTERM to the container as the power button has it, SIGKILL after `grace` seconds."""
        self.status = Status.STOPPING
        self._stopping.set()
        with self._lock:
            vm = self._vm
        if vm and vm.alive:
            with suppress(ProcessLookupError):
                vm.process.send(signal.SIGTERM)
            if vm.process.wait(grace):
                self._thread.join(5)  # it reads what the container said last
        self._world.engine.delete(self.machine.name)
        self._thread.join(5)
        self.status = Status.TERMINATED

    def _live(self) -> None:
        after = _After.OFF
        try:
            while not self._stopping.is_set():
                self.console.say("TEE container launcher initiating")
                after = self._guarded()
                if after is _After.HOLD and not self._stopping.is_set():
                    self.status = Status.RUNNING
                self.console.say(f"TEE container launcher exiting: {after.value}")
                if after is not _After.REBOOT:
                    break
                self._stopping.wait(_REBOOT_SECONDS)
        finally:
            if after is not _After.HOLD:
                self.status = Status.TERMINATED

    def _guarded(self) -> _After:
        spec = None
        try:
            spec = self._specification()
            return self._launch(spec)
        except _Retryable as error:
            self.console.say(f"failed with retryable error: {error}", "ERROR")
            retried = spec is not None and spec.restart_policy in ("Always", "OnFailure")
            return self._after(_After.REBOOT if retried else _After.OFF)
        except (DmzError, OSError) as error:
            self.console.say(str(error), "ERROR")
        except Exception as error:
            _log.exception("machine %s", self.machine.name)
            self.console.say(f"Panic: {error}", "ERROR")
        return self._after(_After.OFF)

    def _after(self, hardened: _After) -> _After:
        return _After.HOLD if self.machine.debug else hardened

    def _specification(self) -> LaunchSpec:
        try:
            spec = launch_spec.read(self.machine.attributes)
        except Permanent as error:
            raise Permanent(
                f"failed to get launchspec, make sure you're running inside a GCE VM: {error}"
            ) from None
        shown = replace(spec, envs=tuple((name, "[REDACTED]") for name, _ in spec.envs))
        self.console.say(f"Launch Spec: {shown}")
        return spec

    def _launch(self, spec: LaunchSpec) -> _After:
        with ExitStack() as closers:
            folder = self._world.state / "launcher" / f"{self.machine.name}-{secrets.token_hex(4)}"
            folder.mkdir(parents=True)
            closers.callback(shutil.rmtree, folder, ignore_errors=True)
            image = self._pull(spec, folder / "image")
            process = container.process(image, spec, self.machine.name)
            self.console.say(f"Exposed Ports : {list(process.ports)}")
            self._check_policy(process, spec)
            root = closers.enter_context(self._world.roots.of(image))
            if not trust.has_bundle(root):
                self.console.say(
                    "the image brings no /etc/ssl/certs/ca-certificates.crt: here it gets one, on Google Cloud it "
                    "could make no TLS connection",
                    "WARNING",
                )
            user = container.user(process.user, root)
            attest = self._attester(spec, image, process)
            tee = folder / "tee"
            tee.mkdir()
            tee.chmod(0o755)  # whatever our umask: the container's user is another one
            if spec.refresh_token:
                self._write_token(tee, attest)
            server = TeeServer(tee, attest, self.console.say)
            closers.callback(server.close)
            ports = Ports(process.ports)
            closers.callback(ports.close)
            self.address, self.ports = ports.address, ports.local
            vm = self._boot(spec, process, user, root, tee)
            closers.callback(self._world.engine.delete, self.machine.name)
            closers.callback(self.console.follow, None)
            assert vm.dialler  # noqa: S101 - containers have one; for the type checker
            ports.serve(self.machine.name, vm.dialler)
            closers.callback(ports.pause)
            return self._watch(vm, spec, tee, attest)

    def _pull(self, spec: LaunchSpec, to: Path) -> Image:
        email = self.machine.identity.email

        def token() -> str:
            return tokens.mint(self._world.token_key, email, self._world.now())

        image = self._world.puller.pull(spec.image, token, to)
        self.console.say(
            f"Preparing Container Runner operator_input_image_ref={spec.image} image_digest={image.digest} "
            f"image_id={image.config_digest} operator_override_env_vars={[name for name, _ in spec.envs]} "
            f"operator_override_cmd={list(spec.cmd)}"
        )
        return image

    def _check_policy(self, process: container.Process, spec: LaunchSpec) -> None:
        self.console.say(f"Image Labels : {dict(process.labels)}")
        try:
            allowed = policy.read(process.labels)
        except Permanent as error:
            raise Permanent(
                f"failed to parse image Launch Policy: {error}: contact the image author"
            ) from None
        for note in allowed.notes:
            self.console.say(note)
        policy.verify(allowed, spec, hardened=not self.machine.debug)
        self.console.say(f"Launch Policy : {allowed}")

    def _attester(
        self, spec: LaunchSpec, image: Image, process: container.Process
    ) -> Callable[[str, Sequence[str], str], str]:
        machine, world = self.machine, self._world
        instance = Instance(
            name=machine.name,
            place=machine.place,
            technology=machine.technology,
            secure_boot=machine.secure_boot,
            debug=machine.debug,
            version=world.version,
            support=world.support,
            service_accounts=(machine.identity.email,),
            monitoring=spec.monitoring,
        )
        workload = Workload(
            reference=spec.image,
            digest=image.digest,
            image_id=image.config_digest,
            restart_policy=spec.restart_policy,
            args=process.args,
            env=process.env,
            cmd_override=spec.cmd,
            env_override=dict(spec.envs),
        )

        def attest(audience: str, nonces: Sequence[str], kind: str) -> str:
            said = claims(instance, workload, audience, nonces, int(world.now()))
            return world.signer.pki_token(said) if kind == "PKI" else world.signer.oidc(said)

        return attest

    def _write_token(self, tee: Path, attest: Callable[[str, Sequence[str], str], str]) -> None:
        """Written beside and renamed, so that a reader finds a whole token at any time."""
        partial = tee / ".token.tmp"
        partial.write_text(attest(DEFAULT_AUDIENCE, (), "OIDC"), encoding="ascii")
        partial.chmod(0o644)
        partial.rename(tee / TOKEN_FILE)
        self.console.say("successfully refreshed attestation token")

    def _boot(
        self,
        spec: LaunchSpec,
        process: container.Process,
        user: container.User,
        root: Path,
        tee: Path,
    ) -> Vm:
        machine, world = self.machine, self._world
        contained = Container(
            root=root,
            argv=process.args,
            environment=process.env,
            workdir=process.workdir,
            home=user.home,
            user=(user.uid, user.gid),
            groups=user.groups,
            shared={"container_launcher": tee},
            tmpfs=tuple((mount.destination, mount.size) for mount in spec.mounts),
            shm=spec.shm_kib * 1024,
            console=spec.on_serial,
        )
        self.console.say(
            "Container stdout/stderr will be redirected to serial logging."
            if spec.on_serial
            else "Container stdout/stderr will not be redirected."
        )
        described = VmSpec(
            name=machine.name,
            network=Network(internet=False, hosts=world.hosts),
            identity=machine.identity,
            place=machine.place,
            attributes=machine.attributes,
            limits=world.limits,
            container=contained,
        )
        with self._lock:
            if self._stopping.is_set():
                raise Permanent("the VM was stopped while it booted")
            try:
                self._vm = world.engine.boot(described)
            except DmzError as error:
                raise _Retryable(f"failed to create a container: [{error}]") from error
            if not self._stopping.is_set():
                self.status = Status.RUNNING
        self.console.follow(self._vm.directory / "serial.log")
        self.console.say("workload task started")
        return self._vm

    def _watch(
        self, vm: Vm, spec: LaunchSpec, tee: Path, attest: Callable[[str, Sequence[str], str], str]
    ) -> _After:
        due = time.monotonic() + _REFRESH
        while not vm.process.wait(_STEP):
            if spec.refresh_token and time.monotonic() > due:
                self._write_token(tee, attest)
                due = time.monotonic() + _REFRESH
        code = vm.exit_code()
        self.console.follow(None)
        if self._stopping.is_set():
            return self._after(_After.OFF)
        if code:
            self.console.say("workload task ended and returned non-zero", "ERROR")
            self.console.say("workload finished with a non-zero return code", "ERROR")
            retried = spec.restart_policy in ("Always", "OnFailure")
        else:
            self.console.say("workload task ended and returned 0")
            retried = spec.restart_policy == "Always"
        return self._after(_After.REBOOT if retried else _After.OFF)


class _Retryable(Exception):
    """The launcher would reboot the VM and try again."""
