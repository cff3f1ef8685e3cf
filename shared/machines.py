"""The life of a run's VM, which the outer and the inner stage share: asked for, reported, ended.

How it is asked for, and what its record `vms/<name>` holds, stands in `shared.creation`. Once a VM has left the state
`asked`, none is made for it any more. Once it has ended, `ended` says when.
"""

from __future__ import annotations

import base64
import hmac
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared import worker_reports
from shared.creation import KIND_LABEL, RUN_LABEL, Creation, Kind, attempt_name, vm_name
from shared.delivery import ENDED, Outcome, fail
from shared.errors import DmzError, Permanent, Transient, Untrusted
from shared.events import Event, InnerInstallCompleted, OuterInstallCompleted, derived_id
from shared.guest.config import AptSource, InterpreterConfig, Wheel, WorkloadConfig
from shared.model import claim, costs
from shared.model.manifest import ClaimedManifest
from shared.model.value import printable
from shared.model.workload import Workload
from shared.ports.machines import Progress, Unreachable, Vm, Vms
from shared.ports.store import Create, Document, Put, Store

__all__ = ["KIND_LABEL", "RUN_LABEL", "Kind", "Machines", "vm_name"]

_UNSEEN = 120.0
"""Seconds after which a VM that was asked for must be visible."""
_MAX_CLAIM = 16 * 1024 * 1024
"""Bytes: 20,000 packages have some 6 MB. What is read takes some thirty times as much memory."""
_LOST = ("PREEMPTED", "SUSPENDED")
"""Taken away by the service: SUSPENDED is what a queued request of a preempted VM is."""
_GONE = ("TERMINATED", "STOPPED")


def broken(kind: Kind, tail: str) -> str:
    """Why the install on a VM failed: what its guest said of it last, as its words and not as ours."""
    said = [words for line in tail.splitlines() if (words := line.partition(" dmz: failed: ")[2])]
    if not said:
        return f"The install on the {kind} VM failed; its last lines say why."
    words = printable(said[-1].strip(), 500).rstrip(".")
    return f"The install on the {kind} VM failed, in the VM's own words: {words}. Its last lines say more."


@dataclass(frozen=True)
class Machines:
    """The VMs of one kind."""

    kind: Kind
    store: Store
    vms: Vms
    clock: Callable[[], float]
    creation: Creation
    grace: float = 300.0
    """Seconds for boot and report beyond the workload's own limit."""

    @property
    def topic(self) -> str:
        """Where these VMs report."""
        return f"{self.kind}-install-completed"

    def authenticate(self, event: Event, report: OuterInstallCompleted | InnerInstallCompleted) -> Document:
        """The record of the VM whose report this is.

        1. The run has such a VM. 2. The report carries the secret that this VM was created with. 3. It is the one
        report that the VM, or this worker of it, owes: with a replay id of its own making it could tell several tales.
        """
        record = self.store.get("vms", vm_name(self.kind, report.run_id))
        if record is None:  # 1
            raise Untrusted(
                f"A report names the run {report.run_id}, which has no {self.kind} VM: it was not made by one of ours."
            )
        if not hmac.compare_digest(str(record["report_token"]).encode(), report.report_token.encode()):  # 2
            raise Untrusted(
                f"A report about {report.run_id} does not carry the secret of its {self.kind} VM: it is from elsewhere."
            )
        replay_id = str(record["carried"].get("replay-id", ""))
        if event.id != derived_id(report.run_id, self.topic, report.subject, replay_id):  # 3
            raise Untrusted(
                f"A further report about {report.run_id} came with another replay id; the first one counts."
            )
        return record

    def reported(self, record: Document) -> tuple[Put, Create]:
        """Stands in the batch that believes the report of a VM that stays: no other is made in its place any more."""
        name = vm_name(self.kind, record["run_id"])
        return Put("vms", name, {"state": "reported"}, merge=True), self.creation.last(record)

    def end(self, run_id: str) -> None:
        """Delete the VM for certain: a TPU left running costs money."""
        name = vm_name(self.kind, run_id)
        record = self.store.get("vms", name)
        if record is None:
            return  # no VM was ever asked for
        # Written first: a VM that is gone and still owes its report would look as if it had vanished.
        fields = {"state": "ended", "ended": record.get("ended") or self.clock()}
        self.store.put([Put("vms", name, fields, merge=True), *self.bill(record | fields)])
        # Read again: whoever changes the zone from now on sees that it has ended, and deletes what he makes.
        self.vms.delete(name, str((self.store.get("vms", name) or record)["zone"]))

    def bill(self, record: Document) -> tuple[Put, ...]:
        """What the run's document learns of the VM's cost, until its end or now."""
        run_id = str(record["run_id"])
        run = self.store.get("runs", run_id) or {}
        found = costs.billed(run, record, self.clock())
        return (Put("runs", run_id, {"cost": {"vms": {self.kind: found}}}, merge=True),) if found else ()

    def sweep(self, event: Event, stage: str) -> Iterator[tuple[str, Outcome]]:
        """Runs whose VM will never report, each with why; then every VM without a reason to live is deleted."""
        troubles: list[DmzError] = []
        for name, record in self._asked(troubles):
            if record["kind"] != self.kind:
                continue
            try:
                if self._state(str(record["run_id"])) in ENDED:
                    self.end(str(record["run_id"]))
                elif reason := self._silent(name, record):
                    yield name, fail(event, str(record["run_id"]), stage, reason, "", self.clock())
            except DmzError as error:
                troubles.append(error)
        for vm in self._listed(troubles):
            try:
                if vm.labels.get(KIND_LABEL) == self.kind and vm.state != "DELETING":
                    self._look_after(vm)
            except DmzError as error:
                troubles.append(error)
        if troubles:
            raise Transient(f"{len(troubles)} {self.kind} VMs could not be looked after: {troubles[0]}")

    def _asked(self, troubles: list[DmzError]) -> Sequence[tuple[str, Document]]:
        """The records of VMs that have not reported; that they cannot be read keeps no VM alive."""
        try:
            return self.store.find("vms", "state", "asked")
        except DmzError as error:
            troubles.append(error)
            return ()

    def _listed(self, troubles: list[DmzError]) -> Sequence[Vm]:
        """What there is, as far as it can be seen."""
        try:
            return self.vms.all()
        except Unreachable as error:
            troubles.append(error)
            return error.found
        except DmzError as error:
            troubles.append(error)
            return ()

    def _look_after(self, vm: Vm) -> None:
        """Delete a VM without a reason to live.

        1. It is elsewhere than its record says: made for an attempt that was given up. 2. Its run has ended or is
        unknown, and it is not the inner VM of a completed run that keeps it. 3. That one too once it was preempted: it
        never starts again, and stays listed until it is deleted. 4. Its work is done while the run goes on.
        """
        run_id = vm.labels.get(RUN_LABEL, "")
        run = self.store.get("runs", run_id) or {"state": "failed"}
        record = self.store.get("vms", vm.name)
        if record is not None and vm.zone != record["zone"]:  # 1
            self.vms.delete(vm.name, vm.zone)
            return
        kept = run.get("state") == "completed" and run.get("after") == "keep" and self.kind == "inner"
        if kept and vm.state not in _LOST:
            return
        if not kept and run.get("state") not in ENDED and (record or {}).get("state") != "ended":
            return
        if record is not None:  # it has lived, and cost, until now
            fields = {"state": "ended", "ended": self.clock()}
            lost = Put("runs", run_id, {"machines": {self.kind: {"lost": vm.state.lower()}}}, merge=True)
            self.store.put(
                [
                    Put("vms", vm.name, fields, merge=True),
                    *self.bill(record | fields),
                    *([lost] if kept else []),
                ]
            )
        self.vms.delete(vm.name, vm.zone)  # 2, 3, 4

    def _silent(self, name: str, record: Document) -> str:
        """Why a VM will not report; empty while it still may. Asks in the next zone if this one gave none."""
        if len(record["tried"]) >= len(record["zones"]):
            return self.creation.exhausted(record)
        request = self.creation.request(record)
        progress = self.vms.progress(request) if request else Progress("unknown")
        vm = self.vms.get(name, record["zone"])
        now = self.store.get("vms", name) or record
        if now["state"] != "asked" or len(now["tried"]) != len(record["tried"]):
            return ""  # it reported, or somebody asked elsewhere, while we looked
        if vm is not None and vm.state in _LOST:
            return self._taken(name, record, vm.state)
        if progress.state == "failed" and progress.elsewhere:
            return _refusal(lambda: self.creation.again(record, progress.reason))
        if progress.state == "failed":
            return self.creation.failed(record, progress.reason)
        if vm is not None and vm.state in _GONE:
            return (
                f"The {self.kind} VM {name} was {vm.state.lower()} before it reported; request the run again."
            )
        unseen = vm is None and self.clock() > float(record["asked"]) + min(_UNSEEN, self.grace)
        if unseen and not request:
            return _refusal(lambda: self.creation.ask(record))  # whoever meant to died
        if unseen and progress.state != "waiting":
            return f"The {self.kind} VM {name} vanished before it reported; request the run again."
        if self.clock() > self.creation.deadline(self.creation.seen(record) if vm else record):
            slice_name = attempt_name(self.kind, record)
            absent = worker_reports.absent(self.store, slice_name, record, vm) if self.kind == "inner" else ""
            return (
                f"The {self.kind} VM {name} was silent too long{absent}; read its serial console, or raise "
                "install_minutes."
            )
        return ""

    def _taken(self, name: str, record: Document, state: str) -> str:
        """A Spot VM that was preempted before it reported: the next zone may have another one."""
        if len(record["zones"]) == 1:
            return f"The {self.kind} VM {name} was {state.lower()} before it reported; request the run again."
        lives = {str(len(record["tried"])): costs.life(record, self.clock())}
        self.store.put([Put("vms", name, {"lives": lives}, merge=True)])
        return _refusal(lambda: self.creation.again(record, f"it was {state.lower()} before it reported"))

    def _state(self, run_id: str) -> str:
        return str((self.store.get("runs", run_id) or {}).get("state", ""))


def _refusal(ask: Callable[[], str]) -> str:
    """Why no VM will come of asking; what is refused for good ends the run, and not the watchdog's round."""
    try:
        return ask()
    except Permanent as error:
        return str(error)


def unpack(packed: str, what: str) -> ClaimedManifest:
    """base64 of gzip of JSON, as a VM sends its inventory; Permanent with what is wrong."""
    try:
        data = base64.b64decode(packed, validate=True)
        inflater = zlib.decompressobj(wbits=31)
        text = inflater.decompress(data, _MAX_CLAIM)
    except (ValueError, zlib.error) as error:
        raise Permanent(
            f"{what} is not base64 of gzip ({error}); it was not made by our guest scripts."
        ) from error
    if inflater.unconsumed_tail:
        raise Permanent(f"{what} unpacks to more than {_MAX_CLAIM >> 20} MiB; it was refused.")
    if not inflater.eof or inflater.unused_data:
        raise Permanent(f"{what} ends early, or something follows it; it was refused.")
    return claim.read(text, what)


def workload_config(workload: Workload) -> WorkloadConfig:
    """The part of a workload that a VM needs to know."""
    python = workload.interpreter
    return WorkloadConfig(
        name=workload.name,
        install=workload.install,
        smoke=workload.smoke,
        apt=workload.apt,
        constraints=workload.constraints,
        overrides=workload.overrides,
        environment=dict(workload.environment),
        wheels=tuple(Wheel(wheel.filename, wheel.sha256) for wheel in workload.wheels),
        install_minutes=workload.install_minutes,
        interpreter=InterpreterConfig(python.version, python.url, python.sha256) if python else None,
        apt_sources=tuple(AptSource(**each.model_dump()) for each in workload.apt_sources),
    )
