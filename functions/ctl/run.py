"""`./dmz run`: one workload through the whole chain, watched to its end."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from functions.ctl import bill, lifecycle, summary
from functions.ctl.display import Display
from functions.ctl.documents import Connection, connect, preload
from functions.ctl.ending import Desk
from functions.ctl.follow import Follower, unless
from functions.ctl.interruption import Heard, cancelled
from functions.ctl.launch import Launch
from functions.ctl.news import News
from functions.ctl.progress import Line, lines
from functions.ctl.publishing import LOCAL, publisher
from functions.ctl.report import STAGES, Facts, Report, report
from functions.ctl.stored import Records
from functions.local import advisories, platform
from functions.local.layout import Layout
from functions.local.platform import Platform
from functions.local.project import CONSOLE
from functions.local.sending import send_event
from functions.local.services import Services
from shared.errors import DmzError, Permanent
from shared.events import Event, RunRequested, run_id_of, timestamp
from shared.machines import vm_name
from shared.model.workload import Workload, find
from shared.ports.store import Put

INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    workload: str
    layout: Layout
    environment: Mapping[str, str]
    keep: bool = False
    report: Path | None = None
    policy: str = ""
    advisories: str = ""
    broker: str = "auto"
    tamper: bool = False
    """Launch the data services from images that differ by one byte from what was built."""


def run(request: Request, console: Console) -> int:
    """Exit code 0 only if the run has completed. Permanent for what is wrong before anything starts."""
    workload, wheels = prepare(request.workload)
    return _Run(request, console, workload, wheels).watched()


def prepare(name_or_path: str) -> tuple[Workload, tuple[Path, ...]]:
    """The workload, and its own wheels with their hashes checked; a relative path is taken from the workload's file."""
    workload = find(name_or_path)
    base = Path(name_or_path).parent
    wheels = []
    for wheel in workload.wheels:
        path = base / wheel.path
        try:
            with path.open("rb") as file:
                found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Permanent(f"The workload's own wheel {path} cannot be read: {error.strerror}.") from error
        if found != wheel.sha256:
            raise Permanent(f"The workload's own wheel {path} has {found}; the workload says {wheel.sha256}.")
        if path.suffix != ".whl":
            raise Permanent(f"The workload's own file {path} is not a wheel: build one with pip wheel.")
        wheels.append(path)
    return workload, tuple(wheels)


class _Run:
    def __init__(
        self, request: Request, console: Console, workload: Workload, wheels: tuple[Path, ...]
    ) -> None:
        self._request, self._console = request, console
        self._workload, self._wheels = workload, wheels
        self._event = Event(
            type="run-requested",
            id=uuid.uuid4().hex,
            source="/package-dmz/ctl",
            time=timestamp(time.time()),
            data=RunRequested(workload=workload),
        )
        self._run_id = run_id_of(self._event.id)
        self._began = time.monotonic()
        self._started: lifecycle.Started | None = None
        self._platform_seconds = 0.0
        self._services = Launch(workload.data_services, request.tamper)
        self._heard = Heard()
        self._requested = False
        self._news = News(request.layout)

    def watched(self) -> int:
        with ExitStack() as ending:
            self._heard.listen()
            ending.callback(self._heard.rest)
            ending.callback(self._end)
            with Display(self._console) as display:
                try:
                    up = self._up(display)
                    connection = connect(up)
                    follower = Follower(connection, self._run_id, self._request.layout.machines)
                except KeyboardInterrupt:
                    return self._interrupted()
                why = self._follow(up, connection, follower, display)
                if why == _INTERRUPTED:
                    why = self._cancel(up, connection, follower)
            self._heard.ends_anyway = True
            made = self._report(up, follower, why)
            width = self._console.width if self._console.is_terminal else 0
            tail = str(follower.run.get("tail", ""))
            notes = bill.notes(follower.run, self._cost(up, follower, made))
            self._say(summary.text(made, tail, follower.judged, width, notes))
            if self._request.report:
                self._request.report.write_text(json.dumps(made.document(), indent=1) + "\n")
            completed, interrupted = made.state == "completed", bool(self._heard.numbers)
            if completed or not interrupted:
                self._leave(up, connection, made)
            return INTERRUPTED if interrupted else 0 if completed else 1

    def _up(self, display: Display) -> Platform:
        """The platform that is up, else a new one."""
        up = platform.read(self._request.layout.platform)
        if up:
            self._check_judgement(up)
            display.show((Line("platform", "done", 0.0, f"{up.name}, was up"),))
            return up
        began = time.monotonic()

        def show(text: str) -> None:
            display.show((Line("platform", "running", time.monotonic() - began, text), *self._waiting()))

        show("fetching advisories")
        request = self._request
        chosen = advisories.choose(request.layout.cache, request.policy, request.advisories, show)
        self._say(chosen.note)
        self._started = lifecycle.start(
            request.layout, {**request.environment, **chosen.environment()}, request.broker
        )
        # Google's libraries take a second to import; the platform takes longer to start.
        threading.Thread(target=preload, daemon=True).start()
        up = lifecycle.wait_until_up(request.layout, self._started, show)
        if up.name == "memory":
            self._say(_NO_EMULATORS)
        self._platform_seconds = time.monotonic() - began
        return up

    def _check_judgement(self, up: Platform) -> None:
        """A platform judges by what it was started with; to believe otherwise would be worse than an error."""
        if self._request.policy or self._request.advisories:
            raise Permanent(
                f"The platform that is up judges by the policy {up.policy} on {up.advisories_name or up.advisories}; "
                "end it with ./dmz down to run with another policy or other advisories."
            )

    def _follow(self, up: Platform, connection: Connection, follower: Follower, display: Display) -> str:
        """Why there is no end of the run's own; empty if there is one."""
        state = f"{up.name}, {up.advisories_name or up.advisories}, policy {Path(up.policy).stem}"
        first = Line("platform", "done", self._platform_seconds, state)
        try:
            self._say(f"cost: {bill.estimate(self._workload, connection.settings, _PAID)}.")
            display.show((first, *self._waiting()))
            self._services.start(Services(self._request.layout, up))
            for wheel, path in zip(self._workload.wheels, self._wheels, strict=True):
                repository = connection.settings.staging_repository
                version = wheel.sha256.removeprefix("sha256:")
                connection.registry.upload_generic(repository, "wheels", version, wheel.filename, path)
            self._requested = True
            send_event(up, self._event)
            follower.follow(
                lambda seen: display.show((first, *lines(replace(seen, service=self._services.words)))),
                lambda: self._trouble(up),
            )
        except KeyboardInterrupt:
            return _INTERRUPTED
        except DmzError as error:
            return str(error)
        return ""

    def _trouble(self, up: Platform) -> str:
        for said in self._news.fresh():
            self._say(said)
        if self._started and (failure := self._started.failure()):
            return failure
        return self._gone(up) or self._services.failure

    def _gone(self, up: Platform) -> str:
        if up.alive:
            return ""
        why = platform.ended(self._request.layout)
        return why or "The platform was ended while the run was under way; run it again."

    def _waiting(self) -> Iterator[Line]:
        """Before anything is known of the run."""
        names = STAGES if self._workload.data_services else STAGES[:-1]
        return (Line(stage, "waiting", None, "") for stage in names)

    def _report(self, up: Platform, follower: Follower, why: str) -> Report:
        seconds = time.monotonic() - self._began
        facts = Facts(
            self._run_id, self._workload.name, up.name, self._platform_seconds, seconds, time.time()
        )
        try:
            verdicts, lock = unless(lambda: self._gone(up), lambda: (follower.verdicts(), follower.lock()))
            return report(facts, follower.run, verdicts, lock, why)
        except DmzError as error:
            return report(facts, follower.run, None, None, why or str(error))

    def _cost(self, up: Platform, follower: Follower, made: Report) -> str:
        """What the run's VMs have cost; empty if the platform cannot say it any more."""
        kept = self._request.keep and made.state == "completed" and follower.run.get("after") == "keep"
        try:
            records = unless(lambda: self._gone(up), follower.records)
            return bill.spent(follower.run, records, time.time(), _PAID, kept)
        except DmzError:
            return ""

    def _interrupted(self) -> int:
        print("dmz: interrupted before the run began; everything was ended.", file=sys.stderr)
        return INTERRUPTED

    def _cancel(self, up: Platform, connection: Connection, follower: Follower) -> str:
        """Ends the run as `./dmz cancel` does. Why it has no end of its own all the same; empty if it has one."""
        if not self._requested or not up.alive:
            return _INTERRUPTED
        self._say("Interrupted: the run is being cancelled. Once more (Ctrl-C), and this leaves at once.")
        told = bool(connection.settings.notify) and up.name != "memory"  # whose stages tell nobody
        try:
            desk = Desk(
                Records(connection.documents, connection.blobs), publisher(LOCAL, self._request.layout)
            )
            follower.run = unless(
                lambda: self._gone(up), lambda: cancelled(desk, self._run_id, self._heard.why, told)
            )
        except DmzError as error:
            print(f"dmz: the run could not be cancelled: {error}", file=sys.stderr)
            return _INTERRUPTED
        return "" if follower.run else _INTERRUPTED

    def _leave(self, up: Platform, connection: Connection, made: Report) -> None:
        """With --keep the platform and the VM stay; without, the VM goes even if the platform was up before."""
        if not up.alive:
            return
        vm = vm_name("inner", self._run_id)
        if not self._request.keep:
            if not self._started:
                if made.state == "completed":
                    ended = {"ended": time.time()}
                    zone = str((connection.documents.get("vms", vm) or {}).get("zone", ""))
                    connection.documents.put([Put("vms", vm, ended, merge=True)])
                    connection.vms.delete(vm, zone)
                self._services.mend(Services(self._request.layout, up))
            return
        if self._started:
            self._started.let_go()
            self._started = None
        self._services.mend(Services(self._request.layout, up))
        self._say(kept(up, vm if made.state == "completed" else ""))

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _end(self) -> None:
        self._heard.ends_anyway = True
        at_once = len(self._heard.numbers) > 1
        if self._started:
            self._started.stop(wait=not at_once)
        if at_once:
            left = (
                "what was started for it ends by itself"
                if self._started
                else f"./dmz status {self._run_id} says whether the run has ended"
            )
            print(f"dmz: left at once; {left}.", file=sys.stderr)


_PAID = False
"""Here everything runs on this machine."""


_NO_EMULATORS = (
    "Neither the Google Cloud SDK's emulators nor Docker were found: "
    "broker and store are this project's own, in memory."
)
_INTERRUPTED = "The run was interrupted by its operator."


def kept(up: Platform, vm: str) -> str:
    """How to go on with a platform that stays up."""
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in up.gcloud.items())
    enter = f"  enter the inner VM    ./dmz enter {vm}\n" if vm else ""
    page = up.addresses.get(CONSOLE)
    look = f"  look at it            http://{page}/\n" if page else ""
    return (
        f"The platform stays up.\n{look}{enter}"
        f"  point gcloud at it    export {settings}\n"
        "  start another run     gcloud pubsub topics publish run-requested"
        """ --message='{"workload":"quickstart"}'\n"""
        f"  end it                ./dmz down"
    )
