"""The life of a run's VM, which the outer and the inner stage share: asked for, reported, ended.

A VM's record is `vms/<name>`: {run_id, kind, report_token, operation, deadline, state: asked|reported|ended}. Its name
follows from the run, so a request that is delivered again finds the VM that it made.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.delivery import Outcome, fail
from shared.errors import Permanent, Untrusted
from shared.events import Event
from shared.guest.config import Wheel, WorkloadConfig
from shared.model.manifest import ClaimedManifest
from shared.model.workload import Workload
from shared.ports import Create, Document, Put, Store, Vm, Vms, VmSpec

Kind = Literal["outer", "inner"]
RUN_LABEL, KIND_LABEL = "dmz-run", "dmz-kind"
_GRACE = 300.0
"""Seconds for boot and report beyond the workload's own limit."""
_MAX_CLAIM = 64 * 1024 * 1024
_GONE = ("PREEMPTED", "TERMINATED", "STOPPED")


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

    def record(self, run_id: str, minutes: int) -> Document:
        """The VM's record with its secret, made once: a second delivery gets what the first one wrote."""
        name = vm_name(self.kind, run_id)
        if found := self.store.get("vms", name):
            return found
        fields = {
            "run_id": run_id,
            "kind": self.kind,
            "report_token": self.secret(),
            "operation": "",
            "deadline": self.clock() + minutes * 60 + _GRACE,
            "state": "asked",
        }
        self.store.put([Create("vms", name, fields)])
        return fields

    def create(
        self, run_id: str, accelerator_type: str, runtime_version: str, metadata: dict[str, str]
    ) -> None:
        """Ask for the VM and return; one that exists already is the one that an earlier delivery asked for."""
        name = vm_name(self.kind, run_id)
        labels = {RUN_LABEL: run_id, KIND_LABEL: self.kind}
        operation = self.vms.create(
            VmSpec(name, self.kind, accelerator_type, runtime_version, metadata, labels)
        )
        if operation:
            self.store.put([Put("vms", name, {"operation": operation}, merge=True)])

    def authenticate(self, run_id: str, report_token: str) -> None:
        """1. The run has such a VM. 2. The report carries the secret that this VM was created with."""
        record = self.store.get("vms", vm_name(self.kind, run_id))
        if record is None:
            raise Untrusted(
                f"A report names the run {run_id}, which has no {self.kind} VM: it was not made by one of ours."
            )
        if not hmac.compare_digest(str(record["report_token"]), report_token):
            raise Untrusted(
                f"A report about {run_id} does not carry the secret of its {self.kind} VM: it is from elsewhere."
            )

    def reported(self, run_id: str) -> Put:
        return Put("vms", vm_name(self.kind, run_id), {"state": "reported"}, merge=True)

    def end(self, run_id: str) -> None:
        """Delete the VM for certain: a TPU left running costs money."""
        name = vm_name(self.kind, run_id)
        self.vms.delete(name)
        if self.store.get("vms", name):
            self.store.put([Put("vms", name, {"state": "ended"}, merge=True)])

    def sweep(self, event: Event, stage: str) -> Sequence[tuple[str, Outcome]]:
        """Runs whose VM will never report, each with why; and every VM without a reason to live is deleted."""
        present = {vm.name: vm for vm in self.vms.all() if vm.labels.get(KIND_LABEL) == self.kind}
        failed = []
        for name, record in self.store.find("vms", "state", "asked"):
            if record["kind"] == self.kind and (reason := self._silent(name, record, present.get(name))):
                run_id = str(record["run_id"])
                failed.append((name, fail(event, run_id, stage, reason, "", self.clock())))
        for vm in present.values():
            self._delete_if_idle(vm)
        return failed

    def _silent(self, name: str, record: Document, vm: Vm | None) -> str:
        """Why a VM will not report; empty while it still may."""
        if record["operation"] and (words := self.vms.failure(str(record["operation"]))):
            return f"The {self.kind} VM {name} could not be created: {words}"
        if vm is not None and vm.state in _GONE:
            return (
                f"The {self.kind} VM {name} was {vm.state.lower()} before it reported; request the run again."
            )
        if vm is None and record["operation"]:
            return f"The {self.kind} VM {name} vanished before it reported; request the run again."
        if self.clock() > float(record["deadline"]):
            return f"The {self.kind} VM {name} was silent too long; read its serial console, or raise install_minutes."
        return ""

    def _delete_if_idle(self, vm: Vm) -> None:
        run = self.store.get("runs", vm.labels.get(RUN_LABEL, ""))
        ended = run is None or run.get("state") in ("completed", "failed")
        spared = run is not None and run.get("state") == "completed" and run.get("after") == "keep"
        if ended and vm.state != "DELETING" and not (self.kind == "inner" and spared):
            self.vms.delete(vm.name)


def unpack(packed: str, what: str) -> ClaimedManifest:
    """base64 of gzip of JSON, as a VM sends its inventory; Permanent with what is wrong."""
    try:
        data = base64.b64decode(packed, validate=True)
        inflater = zlib.decompressobj(wbits=31)
        text = inflater.decompress(data, _MAX_CLAIM)
    except (binascii.Error, zlib.error) as error:
        raise Permanent(
            f"{what} is not base64 of gzip ({error}); it was not made by our guest scripts."
        ) from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise Permanent(f"{what} unpacks to more than {_MAX_CLAIM >> 20} MiB or ends early; it was refused.")
    return ClaimedManifest.read(text, what)


def workload_config(workload: Workload) -> WorkloadConfig:
    """The part of a workload that a VM needs to know."""
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
    )


def carried(event: Event) -> dict[str, str]:
    """What travels down the chain through the VM."""
    pairs = {"replay-id": event.replay_id, "traceparent": event.traceparent}
    return {key: value for key, value in pairs.items() if value}
