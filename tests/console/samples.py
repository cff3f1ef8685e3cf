"""A store as runs leave it: documents of every collection that the console reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from functions.console.packages import document_name
from functions.console.site import Site
from shared.memory.readings import MemoryReadings
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.package import Package
from shared.model.trace import Span, span_id, trace_id
from shared.model.value import canonical, sha256
from shared.ports.store import Document, Put
from tests.console.documents import BUILDERS, CHECKS, IMAGE, NOW, POLICY, appraisal, python, run, verdicts


def spans(run_id: str, fields: Mapping[str, Any]) -> list[Span]:
    """One try a stage, the second stage with one more before it, and a VM with a step."""
    trace, found, before = trace_id(run_id), [], ""
    topics = (
        "run-requested",
        "manifest-published",
        "verdicts-written",
        "sync-completed",
        "attestation-appraised",
    )
    for topic, (stage, times) in zip(topics, fields["stages"].items(), strict=False):
        name = span_id(stage, topic, run_id)
        facts: dict[str, Any] = {
            "event_type": topic,
            "event_id": span_id(topic, run_id) * 2,
            "attempt": 1,
            "replay": False,
        }
        if stage == "scanner":
            early = Span(
                trace,
                span_id(name, "1"),
                f"{stage} {topic}",
                stage,
                times["started"],
                times["started"] + 0.2,
                before,
                run_id,
                "retried",
                "The advisories could not be asked.",
                facts,
            )
            found.append(early)
            facts = {**facts, "attempt": 2}
        found.append(
            Span(
                trace,
                name,
                f"{stage} {topic}",
                stage,
                times["started"] + 0.25,
                times.get("ended"),
                before,
                run_id,
                "done" if "ended" in times else "",
                "",
                facts,
            )
        )
        before = name
    return found


def put_run(
    store: MemoryStore, blobs: MemoryBlobs, run_id: str, fields: Document, judged: Sequence[Document]
) -> None:
    """A run with all that hangs on it."""
    fields = dict(fields)
    fields["verdicts"] = blobs.put(
        canonical({"manifest": sha256(b"m"), "case": sha256(b"c"), "verdicts": list(judged)})
    )
    if fields.get("attestation"):
        result = blobs.put(canonical({"checks": CHECKS}))
        fields["attestation"] = {
            name: {**each, "result": result} for name, each in fields["attestation"].items()
        }
    counts = {kind: sum(each["decision"] == kind for each in judged) for kind in ("allow", "hold", "block")}
    fields["judged"] = counts
    store.put([Put("runs", run_id, fields)])
    decision = {
        "run_id": run_id,
        "kind": "verdicts",
        "subject": fields["workload"],
        "reason": f"{counts['allow']} packages may enter",
        "actor": "/package-dmz/scanner",
        "at": "2026-11-22T10:12:03.516Z",
        "details": counts,
        "cause": {"type": "manifest-published", "id": "8d9a08a7", "source": "/package-dmz/outer"},
    }
    store.put([Put("decisions", span_id(run_id), decision)])


def put_details(store: MemoryStore, run_id: str, judged: Sequence[Document]) -> None:
    """What the pages about one run read besides."""
    fields = store.get("runs", run_id) or {}
    for each in judged:
        purl = Package(**each["package"]).purl
        shown = {"run_id": run_id, "purl": purl, "decision": each["decision"], "verdict": each}
        store.put([Put("verdicts", document_name(run_id, purl), shown)])
    for each in spans(run_id, fields):
        seen = {"duplicates": 2} if each.stage == "sync" and each.outcome else {}
        store.put([Put("spans", each.document_id, {**each.document(), **seen})])
    done = 2 if fields["state"] == "completed" else 1
    sync = {
        "run_id": run_id,
        "shards": 2,
        "done": done,
        "artifacts": 9 if done == 2 else 5,
        "bytes": 2_237_988,
    }
    store.put([Put("syncs", f"{run_id}-e952344cd000", sync)])


def put_rest(store: MemoryStore, run_id: str) -> None:
    """Everything that is not about one run."""
    vm = {
        "run_id": run_id,
        "kind": "inner",
        "state": "reported",
        "zone": "us-central1-a",
        "zones": ["us-central1-a"],
        "asked": NOW - 7300,
        "minutes": 45,
        "workers": 1,
        "tried": [],
        "seen": {},
        "report_token": "S3CRET-TOKEN",
        "carried": {},
    }
    waiver = {
        "advisory": "CVE-2025-27516",
        "package": "",
        "workload": "quickstart",
        "reason": "No template of ours comes from outside",
        "approver": "ada@example.com",
        "granted": "2026-11-20T00:00:00Z",
        "expires": "2026-12-24T00:00:00Z",
        "until_fixed": True,
        "state": "granted",
        "recorded": NOW - 90_000,
        "event": {"id": "1"},
    }
    package = python("jinja2", "3.1.5")
    held = {
        "repository": "dmz-python",
        "sha256": sha256(b"wheel"),
        "purl": package.purl,
        "came": NOW - 3500,
        "evicted": None,
        "size": 134_596,
        "run_id": run_id,
        "workload": "quickstart",
        "subject": {"package": package.model_dump(mode="json")},
        "transfer": {"python": {"filename": "x"}, "archive": None, "generic": None},
    }
    reference = {
        "image": "quickstart_data",
        "manifest": IMAGE,
        "revision": "tree:" + sha256(b"tree"),
        "state": "agreed",
        "builders": BUILDERS,
        "agreed": int(NOW - 5000),
        "expires": int(NOW + 90 * 86_400),
        "reason": "",
        "config": sha256(b"config"),
        "lock": sha256(b"lock"),
    }
    build = {"manifest": IMAGE, "revision": reference["revision"], "finished": int(NOW - 5100)}
    affected = {
        "purl": "pkg:pypi/humanize@4.17.0",
        "before": "allow",
        "after": "block",
        "reason": "GHSA-new: severity HIGH 8.1",
        "at": NOW - 600,
        "over": None,
        "holders": 2,
        "machines": 1,
        "runs": [{"run_id": run_id, "workload": "quickstart"}],
        "relocks": [],
    }
    store.put(
        [
            Put("vms", "dmz-inner-602deee79b48", vm),
            Put("waivers", "waiver-0123456789ab", waiver),
            Put(
                "waiver_history",
                "h1",
                {
                    "waiver": "waiver-0123456789ab",
                    "what": "granted",
                    "at": NOW - 90_000,
                    "by": "ada@example.com",
                    "reason": "see there",
                },
            ),
            Put("holdings", "f1", held),
            Put("references", "r1", reference),
            *(
                Put(
                    "votes",
                    f"v{place}",
                    {"image": "quickstart_data", "builder": each, "vote": json.dumps({"build": build})},
                )
                for place, each in enumerate(BUILDERS)
            ),
            Put("appraisals", "a1", {**appraisal(), "run_id": run_id, "at": NOW - 3000}),
            Put(
                "alarms",
                "m1",
                {
                    "kind": "yanked",
                    "subject": "pkg:pypi/x@1",
                    "message": "x 1 was taken back upstream",
                    "since": NOW - 700,
                    "last": NOW,
                    "open": True,
                },
            ),
            Put("affected", "a1", affected),
            Put(
                "evictions",
                "e1",
                {
                    "purl": "pkg:pypi/old@1",
                    "repository": "dmz-python",
                    "state": "gone",
                    "at": NOW - 800,
                    "why": "",
                    "reason": "GHSA-old",
                },
            ),
            Put(
                "reevaluations",
                "latest",
                {
                    "at": NOW - 1200,
                    "packages": 134,
                    "changed": 1,
                    "unanswered": 1,
                    "why": "The index did not answer",
                    "holdings": sha256(b"h"),
                },
            ),
            Put("policies", "current", {"name": "default", "digest": POLICY, "since": NOW - 9e6}),
        ]
    )
    claim = store.claim("sync:verdicts-written:6242def4", NOW - 30, 20)
    store.release(claim, "The registry answered 503.")
    for id, fields in dead_letters(f"run-{2:012x}").items():
        store.put([Put("dead_letters", id, fields)])
    again = store.claim("scanner:manifest-published:again", NOW - 40, 20)
    store.finish(again, (), (), NOW - 39)


def dead_letters(run_id: str) -> dict[str, Document]:
    """One that a stage gave up, one that nobody answered, one that was sent again, one that somebody dropped."""
    common = {
        "topic": "verdicts-written",
        "stage": "sync",
        "run_id": run_id,
        "reason": "The registry refused the upload: 403 Forbidden.",
        "given_up": True,
        "type": "package-dmz.verdicts-written.v1",
        "attributes": [{"name": "ce-source", "value": "/package-dmz/scanner"}],
        "size": 318,
        "sha256": sha256(b"body"),
        "body": '{\n  "run_id": "' + run_id + '"\n}',
        "whole": True,
        "claims": [],
    }
    unanswered = {
        "given_up": False,
        "reason": "No stage has acknowledged it in 10 deliveries: see the stage's log.",
        "claims": ["sync:verdicts-written:6242def4"],
    }
    return {
        "9181": {**common, "at": NOW - 300},
        "9182": {**common, **unanswered, "at": NOW - 200},
        "9183": {
            **common,
            "at": NOW - 900,
            "topic": "manifest-published",
            "stage": "scanner",
            "reason": "The advisories could not be read.",
            "claims": ["scanner:manifest-published:again"],
        },
        "9184": {
            **common,
            "at": NOW - 990,
            "dropped": {"why": "its workload is gone", "by": "ada", "at": NOW - 9},
        },
    }


def run_id(number: int) -> str:
    return f"run-{number:012x}"


def filled(
    runs: int = 30, packages: int = 134, states: Callable[[int], str] | None = None
) -> tuple[MemoryStore, MemoryBlobs]:
    """The newest run is number 0; it completed, unless `states` says otherwise. Run 1 goes on, run 2 failed."""
    store, blobs = MemoryStore(lambda: NOW), MemoryBlobs(lambda: NOW)
    judged = verdicts(packages)
    for number in range(runs):
        state = states(number) if states else {1: "running", 2: "failed"}.get(number, "completed")
        requested = NOW - 30 * (number + 1) if number < 3 else NOW - 1900 * number
        put_run(store, blobs, run_id(number), run(number, state, requested), judged)
    for number in range(min(runs, 3)):
        put_details(store, run_id(number), judged[:60])
    put_rest(store, run_id(0))
    return store, blobs


def site(store: MemoryStore, blobs: MemoryBlobs, log: Callable[[str], None] = print) -> Site:
    return Site(MemoryReadings(store, blobs), lambda: NOW, log)


def pages(of: str) -> list[str]:
    """The address of every page, those about one run with its id."""
    one = f"/runs/{of}"
    return [
        "/",
        one,
        f"{one}/live",
        f"{one}/packages",
        f"{one}/package?purl=pkg%3Apypi%2Fjinja2%403.1.4",
        f"{one}/changes",
        f"{one}/events",
        f"{one}/inner",
        f"{one}/attestation",
        "/machines",
        "/waivers",
        "/trouble",
        "/dead-letters",
        "/dead-letters/9182",
        "/repositories",
        "/watch",
        "/images",
    ]
