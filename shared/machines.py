"""The life of a run's VM, which the outer and the inner stage share: asked for, reported, ended.

A VM's record is `vms/<name>`: {run_id, kind, report_token, report, carried, lock, workers, operation, asked, deadline,
state: asked|reported|ended}. Its name follows from the run, so a request that is delivered again finds the VM that it
made. Once it has left the state `asked`, no VM is made for it any more. Once it has ended, `ended` says when.
"""

from __future__ import annotations

import base64
import hmac
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from shared import worker_reports
from shared.delivery import ENDED, Outcome, fail
from shared.errors import DmzError, Permanent, Transient, Untrusted
from shared.events import Event, InnerInstallCompleted, OuterInstallCompleted, derived_id, report_id
from shared.guest.config import InterpreterConfig, Wheel, WorkloadConfig
from shared.model import costs
from shared.model.manifest import ClaimedManifest
from shared.model.value import printable
from shared.model.workload import Workload
from shared.ports import Create, Document, Put, Store, Vm, Vms, VmSpec

Kind = Literal["outer", "inner"]
RUN_LABEL, KIND_LABEL = "dmz-run", "dmz-kind"
_UNSEEN = 120.0
"""Seconds after which a VM that was asked for must be visible."""
_MAX_CLAIM = 16 * 1024 * 1024
"""Bytes: 20,000 packages have some 6 MB. What is read takes some thirty times as much memory."""
_GONE = ("PREEMPTED", "TERMINATED", "STOPPED")


def broken(kind: Kind, tail: str) -> str:
    """Why the install on a VM failed: what its guest said of it last, as its words and not as ours."""
    said = [words for line in tail.splitlines() if (words := line.partition(" dmz: failed: ")[2])]
    if not said:
        return f"The install on the {kind} VM failed; its last lines say why."
    words = printable(said[-1].strip(), 500).rstrip(".")
    return f"The install on the {kind} VM failed, in the VM's own words: {words}. Its last lines say more."


def vm_name(kind: Kind, run_id: str) -> str:
    return f"dmz-{kind}-{run_id.removeprefix('run-')}"


@dataclass(frozen=True)
class Machines:
    """The VMs of one kind."""

    kind: Kind
    store: Store
    vms: Vms
    clock: Callable[[], float]
    secret: Callable[[], str]
    grace: float = 300.0
    """Seconds for boot and report beyond the workload's own limit."""

    def record(self, event: Event, minutes: int, lock: str = "", workers: int = 1) -> Document:
        """The VM's record with its secret, made once: a second delivery gets what the first one wrote.

        `workers`: hosts that a slice of its type has.
        """
        name = vm_name(self.kind, event.run_id)
        if found := self.store.get("vms", name):
            return found
        token, now = self.secret(), self.clock()
        fields = {
            "run_id": event.run_id,
            "kind": self.kind,
            "report_token": token,
            "report": report_id(event.run_id, self.topic, token, event.replay_id),
            "carried": carried(event),
            "lock": lock,
            "workers": workers,
            "operation": "",
            "asked": now,
            "deadline": now + minutes * 60 + self.grace,
            "state": "asked",
        }
        self.store.put([Create("vms", name, fields)])
        return fields

    @property
    def topic(self) -> str:
        """Where these VMs report."""
        return f"{self.kind}-install-completed"

    def create(
        self, record: Document, accelerator_type: str, runtime_version: str, metadata: dict[str, str]
    ) -> None:
        """Ask for the VM and return; one that exists already is the one that an earlier delivery asked for.

        A VM that has reported may be gone already: a late duplicate must not make another.
        """
        if record["state"] != "asked":
            return
        name = vm_name(self.kind, record["run_id"])
        labels = {RUN_LABEL: record["run_id"], KIND_LABEL: self.kind}
        operation = self.vms.create(
            VmSpec(name, self.kind, accelerator_type, runtime_version, metadata, labels)
        )
        if operation:
            self.store.put([Put("vms", name, {"operation": operation}, merge=True)])

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

    def reported(self, run_id: str) -> Put:
        return Put("vms", vm_name(self.kind, run_id), {"state": "reported"}, merge=True)

    def end(self, run_id: str) -> None:
        """Delete the VM for certain: a TPU left running costs money."""
        name = vm_name(self.kind, run_id)
        # Written first: a VM that is gone and still owes its report would look as if it had vanished.
        if record := self.store.get("vms", name):
            fields = {"state": "ended", "ended": record.get("ended") or self.clock()}
            self.store.put([Put("vms", name, fields, merge=True), *self.bill(record | fields)])
        self.vms.delete(name)

    def bill(self, record: Document) -> tuple[Put, ...]:
        """What the run's document learns of the VM's cost, until its end or now."""
        run_id = str(record["run_id"])
        run = self.store.get("runs", run_id) or {}
        found = costs.billed(run, record, self.clock())
        return (Put("runs", run_id, {"cost": {"vms": {self.kind: found}}}, merge=True),) if found else ()

    def sweep(self, event: Event, stage: str) -> Iterator[tuple[str, Outcome]]:
        """Runs whose VM will never report, each with why; then every VM without a reason to live is deleted."""
        troubles: list[DmzError] = []
        for name, record in self.store.find("vms", "state", "asked"):
            if record["kind"] != self.kind:
                continue
            try:
                if self._state(str(record["run_id"])) in ENDED:
                    self.end(str(record["run_id"]))
                elif reason := self._silent(name, record):
                    yield name, fail(event, str(record["run_id"]), stage, reason, "", self.clock())
            except DmzError as error:
                troubles.append(error)
        for vm in self.vms.all():
            try:
                if vm.labels.get(KIND_LABEL) == self.kind and self._is_idle(vm):
                    self._end_again(vm.name)
            except DmzError as error:
                troubles.append(error)
        if troubles:
            raise Transient(f"{len(troubles)} {self.kind} VMs could not be looked after: {troubles[0]}")

    def _end_again(self, name: str) -> None:
        """Delete a VM that should be gone: it has lived, and cost, until now."""
        if record := self.store.get("vms", name):
            fields = {"state": "ended", "ended": self.clock()}
            self.store.put([Put("vms", name, fields, merge=True), *self.bill(record | fields)])
        self.vms.delete(name)

    def _silent(self, name: str, record: Document) -> str:
        """Why a VM will not report; empty while it still may."""
        asked = bool(record["operation"])
        if asked and (words := self.vms.failure(str(record["operation"]))):
            return f"The {self.kind} VM {name} could not be created: {words}"
        vm = self.vms.get(name)
        if (self.store.get("vms", name) or record)["state"] != "asked":
            return ""  # it reported while we looked
        if vm is not None and vm.state in _GONE:
            return (
                f"The {self.kind} VM {name} was {vm.state.lower()} before it reported; request the run again."
            )
        if vm is None and asked and self.clock() > float(record["asked"]) + min(_UNSEEN, self.grace):
            return f"The {self.kind} VM {name} vanished before it reported; request the run again."
        if self.clock() > float(record["deadline"]):
            absent = worker_reports.absent(self.store, name, record, vm) if self.kind == "inner" else ""
            return (
                f"The {self.kind} VM {name} was silent too long{absent}; read its serial console, or raise "
                "install_minutes."
            )
        return ""

    def _is_idle(self, vm: Vm) -> bool:
        """1. Its run has ended or is unknown, and it is not the inner VM of a completed run that keeps it. 2. Or its
        work is done while the run goes on."""
        if vm.state == "DELETING":
            return False
        run_id = vm.labels.get(RUN_LABEL, "")
        run = self.store.get("runs", run_id) or {"state": "failed"}
        record = self.store.get("vms", vm.name) or {}
        if run.get("state") == "completed" and run.get("after") == "keep" and self.kind == "inner":
            return False
        return run.get("state") in ENDED or record.get("state") == "ended"

    def _state(self, run_id: str) -> str:
        return str((self.store.get("runs", run_id) or {}).get("state", ""))


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
    return ClaimedManifest.read(text, what)


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
    )


def carried(event: Event) -> dict[str, str]:
    """What travels down the chain through the VM."""
    pairs = {"replay-id": event.replay_id, "traceparent": event.traceparent}
    return {key: value for key, value in pairs.items() if value}
