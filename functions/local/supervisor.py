"""Brings the platform up, watches it, brings it down."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from functions.local import backing, leftovers, metadata, programs, project
from functions.local.children import Children, Program
from functions.local.layout import CHECKOUT, Layout
from functions.local.platform import Platform, read
from functions.local.ports import choose
from functions.local.processes import process
from functions.local.pubsub import PubSub
from functions.local.recovery import BROKER, Recovery
from functions.local.trust import trust
from shared import journal
from shared.emulators import tokens
from shared.errors import DmzError, Permanent
from shared.events import SweepRequested, timestamp
from shared.settings import Settings

_IMAGE_SECONDS = 900.0
"""On the first start of a day the TPU emulator builds its root image before it answers."""
_SWEEP_SECONDS = 5.0
"""Cloud Scheduler's finest grain is a minute; on one machine somebody is waiting."""
_OPERATOR_TOKEN_SECONDS = 7 * 24 * 3600
"""gcloud is pointed at the platform with a token in a file, which nothing renews."""

_REMEMBERED = 24 * 3600.0
"""Seconds for which what was published is kept: past every run."""
_NOTICES = 20


@dataclass(frozen=True)
class Choice:
    """What the one who starts the platform decides."""

    layout: Layout
    environment: Mapping[str, str]
    broker: str = "auto"
    """`auto`, or one of `backing.KINDS`."""
    functions: Path = CHECKOUT / "functions"
    """Where the stages' sources stand."""


class Supervisor:
    """One platform. `run` belongs to the main thread: the parent-death signal follows the thread that starts."""

    def __init__(self, choice: Choice) -> None:
        self._layout, self._choice = choice.layout, choice
        self._stop = threading.Event()
        self._began = time.monotonic()

    def stop(self) -> None:
        """From any thread or signal handler: `run` ends soon."""
        self._stop.set()

    def run(self) -> None:
        """Up, until `stop`; then down. Permanent if it cannot come up or cannot stay up."""
        self._layout.prepare()
        with alone(self._layout):
            leftovers.remove(self._layout)
            self._layout.ended.unlink(missing_ok=True)
            ports = choose(_names(), project.port_base(self._choice.environment))
            trusted = trust(self._layout)
            trusted.prepare()
            settings = project.settings(
                trusted.environment(self._choice.environment, ports["issuer"]),
                tpu=ports["tpu"],
                registry=ports["registry"],
                console=ports["console"],
            )
            key = tokens.load_key(self._layout.token_key)
            accounts = {name: ports[f"metadata-{name}"] for name in _accounts()}
            servers = metadata.MetadataServers(accounts, settings, key)
            environment = project.base_environment(self._choice.environment) | {
                leftovers.MARK: os.fspath(self._layout.home),
                "CLOUDSDK_CONFIG": os.fspath(self._layout.gcloud),
                **settings.environment(),
            }
            broker = backing.choose(self._choice.broker, self._choice.environment, self._layout, ports)
            environment |= broker.environment
            children = Children(self._layout.logs, environment)
            recovery = Recovery(self._layout, environment)
            try:
                self._up(children, recovery, broker, ports, settings, key)
            except DmzError as error:
                self._layout.ended.write_text(f"{error}\n")
                raise
            finally:
                self._layout.platform.unlink(missing_ok=True)
                recovery.stop()
                children.stop()
                broker.close()
                servers.close()

    def _up(
        self,
        children: Children,
        recovery: Recovery,
        broker: backing.Backing,
        ports: dict[str, int],
        settings: Settings,
        key: bytes,
    ) -> None:
        children.start(
            [
                *broker.programs,
                *_own_emulators(self._choice, settings, ports, broker),
                *_functions(self._choice, ports, broker),
            ]
        )
        children.wait(self._stop)
        broker.wait(self._stop)
        if self._stop.is_set():
            return
        pubsub = PubSub(broker.pubsub, settings.project)
        if broker.serves_functions:
            pubsub.set_up({stage: f"http://127.0.0.1:{ports[stage]}" for stage in project.STAGES})
        up = self._platform(children, broker, ports, settings, key)
        up.write(self._layout.platform)
        ticker = threading.Thread(target=self._tick, args=(pubsub, recovery), name="scheduler", daemon=True)
        ticker.start()
        while not self._stop.wait(0.05):
            restarted = children.watch()
            broker.check()
            if how := restarted.get(BROKER):
                recovery.begin(how)
            if happened := recovery.finished():
                happened = f"{timestamp(time.time())} {happened}"
                print(happened, flush=True)
                up = replace(up, pids=children.pids(), notices=[*up.notices, happened][-_NOTICES:])
                up.write(self._layout.platform)

    def _tick(self, pubsub: PubSub, recovery: Recovery) -> None:
        """Cloud Scheduler's part. While VMs' reports may be on their way anew, nobody asks who was silent."""
        body = SweepRequested().canonical()
        while not self._stop.wait(_SWEEP_SECONDS):
            if recovery.under_way:
                continue
            journal.prune(self._layout.journal, time.time() - _REMEMBERED)
            try:
                pubsub.publish("sweep-requested", body, {})
            except DmzError as error:
                print(f"the scheduler's tick was lost: {error}", flush=True)

    def _platform(
        self,
        children: Children,
        broker: backing.Backing,
        ports: dict[str, int],
        settings: Settings,
        key: bytes,
    ) -> Platform:
        token = self._layout.gcloud / "operator.token"
        token.touch(mode=0o600)
        token.write_text(
            tokens.mint(key, project.account(project.OPERATOR), time.time(), _OPERATOR_TOKEN_SECONDS)
        )
        me = process(os.getpid())
        assert me is not None  # noqa: S101 - this process is running
        return Platform(
            pid=me.pid,
            started=me.started,
            name=broker.name,
            project=settings.project,
            seconds=round(time.monotonic() - self._began, 2),
            addresses={name: f"127.0.0.1:{port}" for name, port in ports.items()}
            | {"pubsub": broker.pubsub, "firestore": broker.firestore},
            pids=children.pids(),
            environment=settings.environment()
            | dict(broker.environment)
            | metadata.environment(ports[f"metadata-{project.OPERATOR}"])
            | {"CLOUDSDK_CONFIG": os.fspath(self._layout.gcloud)},
            # The TPU emulator speaks gRPC alone, gcloud REST: VMs are seen by ./dmz status.
            gcloud={
                "CLOUDSDK_CONFIG": os.fspath(self._layout.gcloud),
                "CLOUDSDK_CORE_PROJECT": settings.project,
                "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": os.fspath(token),
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": f"http://{broker.pubsub}/",
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_ARTIFACTREGISTRY": f"{settings.registry_endpoint}/",
            },
            policy=settings.policy,
            advisories=settings.advisories,
            advisories_name=settings.advisories_name,
        )


def check(environment: Mapping[str, str], *, is_up: bool) -> None:
    """Permanent if a platform cannot come up with these variables; `is_up`: one uses its ports already."""
    project.check(environment)
    base = project.port_base(environment)
    if not is_up:
        choose(_names(), base)


def _accounts() -> tuple[str, ...]:
    return (*project.STAGES, project.OPERATOR, project.CONSOLE)


def _names() -> list[str]:
    return [
        "pubsub",
        "firestore",
        "registry",
        "tpu",
        "confidential-space",
        "issuer",
        *project.STAGES,
        *(f"metadata-{a}" for a in _accounts()),
        project.CONSOLE,
    ]


def _own_emulators(
    choice: Choice, settings: Settings, ports: dict[str, int], broker: backing.Backing
) -> list[Program]:
    layout = choice.layout
    registry = programs.write_config(
        layout, "registry", project.registry_config(layout, settings, ports["registry"])
    )
    tpu = programs.write_config(
        layout,
        "tpu",
        project.tpu_config(choice.environment, layout, settings, ports["tpu"], broker.pubsub),
    )
    space = programs.write_config(
        layout,
        "confidential-space",
        project.confidential_space_config(
            layout,
            settings,
            ports["confidential-space"],
            ports["issuer"],
            broker.pubsub,
            trust(layout).authority,
        ),
    )
    return [
        # Its containers end with it.
        programs.emulator(
            "the Confidential Space emulator",
            "confidential-space",
            "shared.emulators.confidential_space",
            space,
            ports["issuer"],
            patience=10.0,
        ),
        programs.emulator(
            "the Artifact Registry emulator",
            "registry",
            "shared.emulators.registry",
            registry,
            ports["registry"],
        ),
        # Its VMs end with it, and their disks are removed on the way.
        programs.emulator(
            "the TPU API emulator",
            "tpu",
            "shared.emulators.tpu",
            tpu,
            ports["tpu"],
            patience=10.0,
            seconds=_IMAGE_SECONDS,
        ),
    ]


def _functions(choice: Choice, ports: dict[str, int], broker: backing.Backing) -> list[Program]:
    if not broker.serves_functions:
        return []
    return [
        programs.function(
            stage,
            choice.functions / stage / "main.py",
            ports[stage],
            ports[f"metadata-{stage}"],
            choice.layout.home / "run" / stage,
            choice.layout.scratch,
        )
        for stage in (*project.STAGES, project.CONSOLE)
    ]


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """One supervisor for a state directory; the kernel drops the lock of a killed one."""
    with layout.lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            up = read(layout.platform)
            who = f" (process {up.pid})" if up else ""
            raise Permanent(
                f"A platform is already up or coming up in {layout.home}{who}; use it, or end it with ./dmz down."
            ) from None
        yield
