"""VMs and runs as `./dmz status` lists them: of the platform on this machine, or of a project on Google Cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from functions.ctl import bill, report, summary
from functions.ctl.documents import Documents
from shared.model.value import printable
from shared.ports.machines import Unreachable, Vm, Vms
from shared.ports.store import Document
from shared.settings import read


@dataclass(frozen=True)
class Fleet:
    """What there is to list."""

    documents: Documents
    vms: Sequence[Vms]
    """One for each project that has VMs."""
    paid: bool
    """Google asks money for these VMs."""

    def lines(self, now: float) -> Iterator[str]:
        """The VMs, then the runs. What cannot be reached is said: it may cost money, too."""
        for listing in self.vms:
            found, dark = _listed(listing)
            for vm in found:
                record = self.documents.get("vms", vm.name)
                run = self._run(str((record or {}).get("run_id", "")))
                yield from bill.shown(vm, record, run, now, self.paid)
            if dark:
                yield f"  {dark}"
        for state in ("running", "completed", "failed"):
            for run_id, run in self.documents.find("runs", "state", state):
                reason = f": {printable(str(run['reason']), 1000)}" if run.get("reason") else ""
                yield f"  {run_id} {run.get('workload', '')} {state} ({run.get('stage', '')}){reason}"
                if cost := bill.of_run(run, self.paid):
                    yield f"    {cost}"
                yield from (f"    waived: {summary.waiver_line(each)}" for each in report.waived(run))

    def found(self, now: float) -> Document:
        """The same for a program: `vms`, `unreachable` (a sentence for each place that did not answer), `runs`."""
        vms: list[Document] = []
        dark: list[str] = []
        for listing in self.vms:
            there, trouble = _listed(listing)
            dark += [trouble] if trouble else []
            for vm in there:
                record = self.documents.get("vms", vm.name) or {}
                line = " ".join(
                    bill.shown(vm, record or None, self._run(str(record.get("run_id", ""))), now, self.paid)
                )
                vms.append(
                    {
                        "name": vm.name,
                        "state": vm.state,
                        "zone": vm.zone,
                        "run_id": str(record.get("run_id", "")),
                        "said": " ".join(line.split()),
                    }
                )
        runs = [
            {
                "run_id": run_id,
                **{name: run.get(name, "") for name in ("workload", "state", "stage", "reason")},
                **{name: run.get(name) for name in ("requested", "ended")},
                "cost": bill.of_run(run, self.paid),
                "again": sorted(run.get("replays") or ()),
            }
            for state in ("running", "completed", "failed")
            for run_id, run in self.documents.find("runs", "state", state)
        ]
        return {"vms": vms, "unreachable": dark, "runs": runs}

    def _run(self, run_id: str) -> Document:
        return (self.documents.get("runs", run_id) if run_id else None) or {}


def _listed(listing: Vms) -> tuple[Sequence[Vm], str]:
    try:
        return listing.all(), ""
    except Unreachable as error:
        return error.found, printable(str(error), 1000)


def on_google_cloud(project: str, inner_project: str, environment: Mapping[str, str]) -> Fleet:
    """The VMs and runs of a deployment, seen with the operator's own credentials.

    She reads the outer project's database and lists VMs in both: `operators` of both Terraform roots may.
    """
    # Google's libraries take a second to import: only this command pays for it.
    from shared.gcp.firestore import FirestoreStore
    from shared.gcp.tpu import TpuVms

    named = {"GOOGLE_CLOUD_PROJECT": project} | (
        {"DMZ_INNER_PROJECT": inner_project} if inner_project else {}
    )
    settings = read({**environment, **named})
    kinds = ("outer", "inner") if settings.project_of("inner") != project else ("outer",)
    vms = [TpuVms(settings.machines(kind)) for kind in kinds]
    return Fleet(FirestoreStore(project), vms, paid=not settings.tpu_endpoint)
