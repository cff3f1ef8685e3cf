"""How a run's VM comes into being: asked for in one zone after the other, until one has room for it.

The VM's record is `vms/<name>`: {run_id, kind, carried, lock, workers, order, minutes, queue_minutes, zones, tried,
zone, report_token, report, requests, seen, asked, deadline, state: asked|reported|ended}. `zones` are those that may be
tried, `tried` those that were given up, each with why, and `zone` is where the VM is or will be; the number of those
tried is the number of the attempt.

1. One VM per run and kind: its name follows from the run, and a zone takes a name once.
2. The zone is changed by one batch, which creates `vms/<name>@<attempt>`: of two who change it at once, the second one
   changes nothing and goes on with what the first one wrote. The batch that believes a VM's report creates it too: what
   is kept is the machine that the report is about.
3. What was made for an attempt that has been given up meanwhile is deleted by its maker, and by the watchdog if the
   maker died: a VM that is elsewhere than its record says has no right to live.
4. Each attempt has a secret of its own: a VM that was given up, whether it was preempted or came too late, reports in
   vain, and nobody takes its report for one about the VM that stands now.

What the VM boots with is stored as content when it is first asked for, so that it is the same in every zone, whatever
is deployed in between. There it lies without the secret, since whoever may read stored content could report in the
VM's name; the secret lies in the record, which only the stages read, and gets into the metadata as the VM is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.errors import Permanent, Transient
from shared.events import Event, report_id
from shared.handling import put, vm_begun, vm_span
from shared.model.trace import Place
from shared.model.value import Part, printable
from shared.model.workload import Provisioning, Workload
from shared.ports.machines import NoCapacity, Vms, VmSpec
from shared.ports.store import Blobs, Create, Document, Put, Store

Kind = Literal["outer", "inner"]
RUN_LABEL, KIND_LABEL = "dmz-run", "dmz-kind"
CONFIG = "dmz-config"
"""The metadata value that the secret stands in (`shared.guest.bundle`)."""
_WORDS = 500
"""Of a reason: twenty zones of these fit into a run's document and a sentence."""


def vm_name(kind: Kind, run_id: str) -> str:
    return f"dmz-{kind}-{run_id.removeprefix('run-')}"


def attempt_name(kind: Kind, record: Document) -> str:
    """The VM of the present attempt: two of one name in two zones are two machines."""
    name, number = vm_name(kind, record["run_id"]), len(record["tried"])
    return f"{name}@{number}" if number else name


def carried(event: Event, kind: Kind) -> dict[str, str]:
    """What travels down the chain through the VM."""
    place = Place(event.trace, vm_span(f"{kind}-install-completed", event.run_id))
    pairs = {"replay-id": event.replay_id, "traceparent": str(place)}
    return {key: value for key, value in pairs.items() if value}


class Order(Part):
    """What is asked for, in whichever zone."""

    accelerator_type: str
    runtime_version: str
    provisioning: Provisioning
    reservation: str
    queue_minutes: int
    metadata: dict[str, str]
    """Without the secret."""


@dataclass(frozen=True)
class Creation:
    """Makes the VMs of one kind."""

    kind: Kind
    store: Store
    blobs: Blobs
    vms: Vms
    clock: Callable[[], float]
    secret: Callable[[], str]
    home: str
    """Zone of a workload that names none."""
    grace: float = 300.0
    """Seconds for boot and report beyond the workload's own limit."""

    def begun(self, run_id: str) -> Document | None:
        """The record of the VM that was asked for already, or is about to be."""
        return self.store.get("vms", vm_name(self.kind, run_id))

    def begin(
        self,
        event: Event,
        workload: Workload,
        metadata: Callable[[Document], dict[str, str]],
        lock: str = "",
        workers: int = 1,
    ) -> Document:
        """Write the VM's record, once. `metadata` makes of it what the VM boots with; `workers`: hosts of its slice."""
        record: Document = {
            "run_id": event.run_id,
            "kind": self.kind,
            "carried": carried(event, self.kind),
            "span": event.handled_by(self.kind),
            "lock": lock,
            "workers": workers,
            "minutes": workload.install_minutes,
            "queue_minutes": workload.queue_minutes,
            "zones": list(workload.zones or (self.home,)),
            "requests": {},
            "seen": {},
            "state": "asked",
        }
        record |= self._attempt(record, [])
        order = Order(
            accelerator_type=workload.accelerator_type,
            runtime_version=workload.runtime_version,
            provisioning=workload.provisioning,
            reservation=workload.reservation,
            queue_minutes=workload.queue_minutes,
            metadata=_addressed(metadata(record), "", ""),
        )
        record["order"] = self.blobs.put(order.canonical())
        begun = put(vm_begun(event, self.kind, record["asked"]))
        self.store.put([Create("vms", vm_name(self.kind, event.run_id), record), self._told(record), begun])
        return record

    def ask(self, record: Document) -> str:
        """Ask for the VM where its record says, and further on while zones refuse for want of capacity.

        Returns at once; the answer is why no zone is left, or empty. A VM that exists already is the one that an
        earlier delivery asked for; one that has reported may be gone by now, and a late duplicate makes no other.
        """
        if record["state"] != "asked":
            return ""
        order = Order.read(self.blobs.get(record["order"]), "What the VM was to be made as")
        while record["state"] == "asked" and len(record["tried"]) < len(record["zones"]):
            try:
                request = self.vms.create(self._spec(record, order))
            except NoCapacity as error:
                record = self._next(record, str(error))
                continue
            except Permanent as error:
                raise Permanent(f"{str(error).rstrip('.')}{_before(record['tried'])}.") from error
            self._asked(record, request)
            return ""
        return self.exhausted(record) if record["state"] == "asked" else ""

    def again(self, record: Document, reason: str) -> str:
        """The zone gave no VM, or took it away: ask in the next one. Empty, or why none is left."""
        return self.ask(self._next(record, reason))

    def exhausted(self, record: Document) -> str:
        """Why no zone is left."""
        name, tried = vm_name(self.kind, record["run_id"]), record["tried"]
        if len(tried) == 1:
            return f"The {self.kind} VM {name} could not be created: {tried[0]['reason']}"
        return (
            f"The {self.kind} VM {name} could not be had in any of its {len(tried)} zones: {_reasons(tried)}. Name "
            "other zones in the workload, or let it wait in a queue (queue_minutes)."
        )

    def failed(self, record: Document, reason: str) -> str:
        """Why no VM came of the present attempt, where another zone would be no better."""
        before = _before(record["tried"])
        return f"The {self.kind} VM {vm_name(self.kind, record['run_id'])} could not be created: {reason}{before}"

    def last(self, record: Document) -> Create:
        """In one batch with what counts on it: no attempt after this one. Fails the batch if there is one already."""
        name = vm_name(self.kind, record["run_id"])
        return Create("vms", f"{name}@{len(record['tried']) + 1}", {"run_id": record["run_id"], "zone": ""})

    def request(self, record: Document) -> str:
        """By what the service knows the present attempt; empty if nobody lived to write that down."""
        return str(record["requests"].get(str(len(record["tried"])), ""))

    def seen(self, record: Document) -> Document:
        """The VM is there: from now on it has its own time, whatever it waited in a queue before."""
        attempt = str(len(record["tried"]))
        if attempt in record["seen"] or not record["queue_minutes"]:
            return record
        now = self.clock()
        self.store.put(
            [Put("vms", vm_name(self.kind, record["run_id"]), {"seen": {attempt: now}}, merge=True)]
        )
        return record | {"seen": record["seen"] | {attempt: now}}

    def deadline(self, record: Document) -> float:
        """When a report is overdue."""
        seen = record["seen"].get(str(len(record["tried"])))
        if seen is None:
            return float(record["deadline"])
        return float(seen) + float(record["minutes"]) * 60 + self.grace

    def _attempt(self, record: Document, tried: list[Document]) -> Document:
        """What an attempt has for its own."""
        token, now = self.secret(), self.clock()
        minutes = float(record["minutes"]) + float(record["queue_minutes"])
        topic, replay_id = f"{self.kind}-install-completed", str(record["carried"].get("replay-id", ""))
        return {
            "zone": record["zones"][len(tried)],
            "tried": tried,
            "report_token": token,
            "report": report_id(str(record["run_id"]), topic, token, replay_id),
            "asked": now,
            "deadline": now + minutes * 60 + self.grace,
        }

    def _next(self, record: Document, reason: str) -> Document:
        """The record of the next attempt, whoever made it; without a zone left it has all of them in `tried`."""
        name = vm_name(self.kind, record["run_id"])
        tried = [*record["tried"], {"zone": record["zone"], "reason": printable(reason, _WORDS).rstrip(".")}]
        if len(tried) >= len(record["zones"]):
            # Without the fence: what follows is the end of the run, which happens once.
            ended = record | {"tried": tried}
            self.store.put([Put("vms", name, {"tried": tried}, merge=True), self._told(ended)])
            return ended
        fields = self._attempt(record, tried)
        fence = Create("vms", f"{name}@{len(tried)}", {"run_id": record["run_id"], "zone": fields["zone"]})
        try:
            self.store.put([fence, Put("vms", name, fields, merge=True), self._told(record | fields)])  # 2
        except Transient:
            found = self.store.get("vms", name)
            if found is None or len(found["tried"]) <= len(record["tried"]):
                raise
            return found
        self.vms.delete(name, record["zone"])
        return record | fields

    def _asked(self, record: Document, request: str) -> None:
        """Write down by what the service knows the request, and take back what came too late."""
        name, attempt = vm_name(self.kind, record["run_id"]), len(record["tried"])
        if request:
            self.store.put([Put("vms", name, {"requests": {str(attempt): request}}, merge=True)])
        stands = self.store.get("vms", name) or record
        if stands["state"] == "ended" or len(stands["tried"]) != attempt:  # 3
            self.vms.delete(name, record["zone"])

    def _told(self, record: Document) -> Put:
        """What the run's document says of the machine."""
        fields = {"zone": record["zone"], "tried": record["tried"]}
        return Put("runs", str(record["run_id"]), {"machines": {self.kind: fields}}, merge=True)

    def _spec(self, record: Document, order: Order) -> VmSpec:
        return VmSpec(
            name=vm_name(self.kind, record["run_id"]),
            kind=self.kind,
            accelerator_type=order.accelerator_type,
            runtime_version=order.runtime_version,
            metadata=_addressed(order.metadata, record["report_token"], record["report"]),
            labels={RUN_LABEL: record["run_id"], KIND_LABEL: self.kind},
            zone=record["zone"],
            provisioning=order.provisioning,
            reservation=order.reservation,
            queue_minutes=order.queue_minutes,
        )


def _addressed(metadata: Mapping[str, str], token: str, report: str) -> dict[str, str]:
    """The metadata with the secret and the report's id in their places (4); with none, as they are stored."""
    config = json.loads(metadata[CONFIG]) | {"report_token": token, "event_id": report}
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**metadata, CONFIG: text}


def _reasons(tried: Sequence[Document]) -> str:
    return "; ".join(f"{each['zone']}: {each['reason']}" for each in tried)


def _before(tried: Sequence[Document]) -> str:
    return f" (before, {_reasons(tried)})" if tried else ""
