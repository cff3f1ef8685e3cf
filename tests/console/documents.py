"""Documents in the form that the stages write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.model.package import Package
from shared.model.value import sha256
from shared.ports.store import Document

NOW = 1_795_348_000.0
"""2026-11-22, 11:46 UTC."""
STAGES = ("outer", "scanner", "sync", "inner", "attestation")
_TIMES = {"outer": 10.5, "scanner": 1.3, "sync": 4.0, "inner": 9.1, "attestation": 0.6}
_ADVISORIES = {
    "source": "snapshot carried by the project",
    "date": "2026-11-19T14:34:38.042882Z",
    "digest": sha256(b"advisories"),
    "also": [{"name": "CISA KEV", "date": "2026-11-18T17:04:19Z", "digest": sha256(b"kev")}],
}
POLICY = sha256(b"policy")
_RULES = (
    "advisory_age",
    "advisory_data",
    "malicious",
    "severity",
    "unknown_severity",
    "undecided",
    "known_exploited",
    "exploit_probability",
    "direct_url",
    "source_distribution",
    "yanked",
    "cooldown",
    "licences",
)
_LIBRARIES = (
    "apt",
    "base-files",
    "bash",
    "coreutils",
    "curl",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "libc6",
    "libssl3t64",
    "login",
    "openssl-provider-legacy",
    "perl-base",
    "python3.13",
    "sed",
    "tar",
    "util-linux",
    "zlib1g",
)
BUILDERS = ["urn:package-dmz:local:cloud-build", "urn:package-dmz:local:rebuilder"]
IMAGE = sha256(b"image")


def flaw(id: str, cve: str, severity: str, score: float, fixed: str, summary: str) -> Document:
    return {
        "id": id,
        "aliases": [cve],
        "severity": severity,
        "score": score,
        "fixed": [fixed] if fixed else [],
        "malicious": False,
        "summary": summary,
        "undecided": "",
        "exploited": False,
        "exploit_probability": None,
    }


_JINJA = (
    flaw(
        "GHSA-gmj6-6f8f-6699", "CVE-2024-56201", "HIGH", 8.8, "3.1.5", "A sandbox breakout through file names"
    ),
    flaw(
        "GHSA-q2x7-8rv6-6q7h",
        "CVE-2024-56326",
        "HIGH",
        7.8,
        "3.1.5",
        "A sandbox breakout through format methods",
    ),
    flaw(
        "GHSA-cpwx-vrp4-4pq7",
        "CVE-2025-27516",
        "MEDIUM",
        5.4,
        "3.1.6",
        "A sandbox breakout through the attr filter",
    ),
)
_TORCH = (
    flaw(
        "GHSA-53q9-r3pm-6pq6",
        "CVE-2025-32434",
        "CRITICAL",
        9.3,
        "",
        "torch.load runs code of whoever wrote the file",
    ),
)


def verdict(
    package: Package,
    decision: str = "allow",
    findings: Sequence[Document] = (),
    needed: Sequence[str] = ("the base image",),
) -> Document:
    against = "; ".join(f"{each['id']}: severity {each['severity']} {each['score']}" for each in findings)
    answers = [{"rule": rule, "answer": "allow", "reason": "the policy does not ask"} for rule in _RULES]
    if decision != "allow":
        answers[3] = {"rule": "severity", "answer": decision, "reason": against}
    return {
        "package": package.model_dump(mode="json"),
        "decision": decision,
        "rules": answers,
        "findings": list(findings),
        "policy": POLICY,
        "advisories": _ADVISORIES,
        "needed_by": list(needed),
        "until": "",
        "waivers": [],
    }


def python(name: str, version: str) -> Package:
    return Package(ecosystem="pypi", name=name, version=version)


def debian(name: str, version: str) -> Package:
    return Package(
        ecosystem="debian",
        name=name,
        version=version,
        architecture="amd64",
        source_name=name,
        source_version=version,
        distro="debian-13",
    )


def verdicts(count: int = 134) -> list[Document]:
    """One blocked, one held, the others allowed."""
    first = [
        verdict(python("jinja2", "3.1.4"), "block", _JINJA, ("the workload itself",)),
        verdict(python("torch", "2.5.1"), "hold", _TORCH, ("the workload itself", "maxtext")),
        verdict(python("humanize", "4.17.0"), needed=("the workload itself",)),
    ]
    named = [verdict(debian(name, "2.41-12+deb13u2")) for name in _LIBRARIES]
    more = [
        verdict(debian(f"lib{number:05d}", "1.0-1"))
        for number in range(max(0, count - len(first) - len(named)))
    ]
    return [*first, *named, *more]


def run(number: int, state: str = "completed", requested: float = NOW - 3600) -> Document:
    """A run's document. `state`: running stands in sync."""
    slower = 1 + (number * 7 % 10) / 14
    times: dict[str, Any] = {}
    at = requested
    known = STAGES if state == "completed" else STAGES[:3]
    for stage in known:
        times[stage] = {"started": at, "ended": at + _TIMES[stage] * slower}
        at = times[stage]["ended"]
    if state != "completed":
        del times["sync"]["ended"]
    fields: Document = {
        "state": state,
        "stage": known[-1],
        "workload": ("quickstart", "maxtext")[number % 3 == 0],
        "after": "keep",
        "data_services": ["quickstart_data"],
        "requested": requested,
        "stages": times,
        "packages": {"pypi": 4, "debian": 129, "generic": 1},
        "advisories": _ADVISORIES,
        "planned": 9,
        "mirrored": {"artifacts": 9, "bytes": int(2_237_988 * slower)},
        "cost": {
            "estimate": "at most 2.08 USD for two VMs: v5litepod-1 (1 chip), on-demand in us-central1",
            "terms": _terms(),
            "vms": {
                kind: {"at_most": "0.01 USD", "rate": "1.20 USD an hour", "zone": "us-central1-a", "why": ""}
                for kind in ("outer", "inner")
            },
        },
        "machines": {
            "inner": {
                "zone": "us-central1-a",
                "tried": [{"zone": "us-east1-c", "reason": "There is no more capacity"}],
            }
        },
        "waivers": [
            {
                "id": "waiver-0123456789ab",
                "waives": "CVE-2025-1 in pkg:pypi/x@*",
                "approver": "ada@example.com",
                "expires": "2026-12-24T00:00:00Z",
                "packages": 1,
            }
        ],
        "affected": {
            "a1": {
                "purl": "pkg:pypi/humanize@4.17.0",
                "before": "allow",
                "after": "block",
                "reason": "GHSA-new",
                "at": NOW - 60,
            }
        },
        "changes": {
            "total": 1,
            "counts": {"replaced": 1},
            "rows": [
                {
                    "kind": "replaced",
                    "ecosystem": "pypi",
                    "names": ["jinja2"],
                    "from": "3.1.4",
                    "to": "3.1.5",
                    "advisories": ["GHSA-gmj6-6f8f-6699", "GHSA-q2x7-8rv6-6q7h"],
                    "required_by": ["the workload itself"],
                    "reason": "",
                    "environments": ["/opt/quickstart"],
                    "yielded": ["jinja2==3.1.4"],
                }
            ],
        },
    }
    if state == "failed":
        fields |= {
            "ended": at + 3,
            "reason": "The index has no file of torch 2.5.1 with the hash that the lock names.",
            "tail": "line one\nline two",
        }
    if state == "completed":
        fields |= {"ended": at, "inner": _inner(), "lock": sha256(b"lock"), "manifest": sha256(b"manifest")}
        fields["attestation"] = {"quickstart_data": appraisal()}
    return fields


def _terms() -> Document:
    return {
        "currency": "USD",
        "date": "2026-11-22",
        "url": "https://cloud.google.com/tpu/pricing",
        "accelerator_type": "v5litepod-1",
        "chips": 1,
        "provisioning": "on-demand",
        "reservation": "",
        "zones": ["us-central1-a"],
        "rates": {"us-central1": "1.20"},
    }


def _inner() -> Document:
    probes = [
        {"probe": "dns", "target": "pypi.org", "outcome": "denied: Name or service not known", "open": False},
        {
            "probe": "tcp",
            "target": "151.101.0.223:443",
            "outcome": "denied: Network is unreachable",
            "open": False,
        },
    ]
    return {
        "installed": 134,
        "missing": [],
        "unexpected": [],
        "egress": "denied",
        "egress_probes": probes,
        "vm": "dmz-inner-x",
        "sealed_by": "sealed by the VM's own network namespace, which has no route",
        "enter": "./dmz enter dmz-inner-x",
        "seconds": {"apt": 0.9, "python": 2.0, "smoke": 0.3},
        "console": "2026-11-22T11:46:30Z dmz: smoke script ended with 0 after 0.3 s",
        "smoke": {"exit_code": 0, "seconds": 0.3, "tail": "rendered: 6 entries\nwith jinja2 3.1.5"},
    }


def appraisal() -> Document:
    return {
        "decision": "accepted",
        "image_digest": IMAGE,
        "builders": BUILDERS,
        "failed_checks": [],
        "checks": 3,
        "service": "quickstart_data",
        "token": sha256(b"token"),
        "nonce_id": "3806085241aacf8f",
    }


CHECKS = [
    {
        "number": 1,
        "name": "size",
        "answer": "passed",
        "sentence": "The token has a size that is read.",
        "input": "10970 bytes",
    },
    {
        "number": 16,
        "name": "signature",
        "answer": "passed",
        "sentence": "The signature holds.",
        "input": "256 bytes",
    },
    {
        "number": 41,
        "name": "image digest",
        "answer": "passed",
        "sentence": "The image is a known one.",
        "input": IMAGE,
    },
]
