"""Verdicts as documents: one per package, the same names each time, small enough for the store."""

from __future__ import annotations

from shared.judgement import documents
from shared.memory.store import MemoryStore
from shared.model.package import Package
from shared.model.value import sha256
from shared.model.verdict import AdvisorySource, Finding, RuleAnswer, Verdict


def verdict(findings: int) -> Verdict:
    return Verdict(
        package=Package(ecosystem="debian", name="linux-libc-dev", version="6.12-1"),
        decision="allow",
        rules=(RuleAnswer(rule="unfixed", answer="allow", reason="no fix"),),
        findings=tuple(
            Finding(
                id=f"DEBIAN-CVE-2026-{n}",
                aliases=(f"CVE-2026-{n}",),
                severity="HIGH",
                score=7.5,
                fixed=(),
                malicious=False,
                summary="A flaw in some driver that few machines have. " * 5,
            )
            for n in range(findings)
        ),
        policy=sha256(b"policy"),
        advisories=AdvisorySource(source="test", date="2026-11-21T20:00:00Z", digest=sha256(b"")),
    )


def test_a_kernel_with_thousands_of_findings_fits() -> None:
    store = MemoryStore()
    made = documents("run-0123456789ab", [verdict(4000)])
    for name, fields in made.items():
        store.put_many("verdicts", {name: fields})
        found = store.get("verdicts", name)
        assert found is not None
        assert found["findings"] == 4000
        assert len(found["verdict"]["findings"]) == len(found["advisories"]) == 100


def test_the_names_follow_from_run_and_package() -> None:
    one, again = (documents("run-0123456789ab", [verdict(n)]) for n in (1, 2))
    assert one.keys() == again.keys()
    assert one.keys() != documents("run-0123456789ac", [verdict(1)]).keys()
