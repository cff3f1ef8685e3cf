"""What the known flaws mean for an approved set: a VEX document, as CycloneDX 1.7 in JSON. Pure.

https://cyclonedx.org/capabilities/vex/ and https://cyclonedx.org/docs/1.7/json/#vulnerabilities. It names components of
the set's bill of materials by BOM-Link. Nobody looked into the code of a package: a flaw is matched by version, so
nothing here is ever `not_affected` or `false_positive`. What is said instead stands in docs/sbom.md:

1. It could not be decided whether the version is affected, or nobody gave a severity -> in_triage.
2. The package was replaced by one without the flaw -> resolved, update.
3. A waiver bears it -> exploitable, will_not_fix; update where there is a fix.
4. There is no fix yet -> exploitable, can_not_fix.
5. There is a fix, and the policy bears the flaw meanwhile -> exploitable, update.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from shared.bom.approved import ApprovedSet
from shared.bom.components import Item, items
from shared.bom.parts import Json, finished, metadata, properties, text
from shared.model.lock import Change
from shared.model.value import canonical, sha256
from shared.model.verdict import Finding, Verdict
from shared.model.waiver import Waiver

_EPSS = {"name": "EPSS", "url": "https://www.first.org/epss/"}
_SOURCES = {
    "GHSA": ("GitHub", "https://github.com/advisories/{}"),
    "CVE": ("NVD", "https://nvd.nist.gov/vuln/detail/{}"),
}
_OSV = ("OSV", "https://osv.dev/vulnerability/{}")
_ALIASES = 50


@dataclass(frozen=True)
class Analysis:
    """What a flaw means for one component."""

    state: str
    response: tuple[str, ...]
    detail: str

    def document(self) -> Json:
        made: Json = {"state": self.state, "detail": text(self.detail)}
        return made | ({"response": list(self.response)} if self.response else {})


@dataclass(frozen=True)
class Touched:
    """A component with a flaw, and what that means."""

    finding: Finding
    analysis: Analysis
    ref: str
    versions: tuple[tuple[str, str], ...]
    """(version, status) in CycloneDX's words."""


def vex(approved: ApprovedSet, sbom_serial: str) -> bytes:
    """About every finding of every package of the set, and of what was replaced on the way to it.

    `sbom_serial` is the serial number of the bill of materials, `urn:uuid:…`.
    """
    link = f"urn:cdx:{sbom_serial.removeprefix('urn:uuid:')}/1"
    groups: dict[tuple[Finding, Analysis], list[Touched]] = defaultdict(list)
    for touched in _all(approved):
        groups[touched.finding, touched.analysis].append(touched)
    found = sorted((_vulnerability(group, link) for group in groups.values()), key=_order)
    document: Json = {
        "metadata": metadata(approved.lock.workload, approved.date, properties(*approved.digests())),
        "externalReferences": [{"type": "bom", "url": link, "comment": "the components that are meant"}],
        "vulnerabilities": found,
    }
    return finished(document)


def _all(approved: ApprovedSet) -> Iterator[Touched]:
    here: dict[str, list[Item]] = defaultdict(list)
    for item in items(approved):
        here[item.package.purl].append(item)
        verdict = approved.verdicts.get(item.package.purl)
        for finding in verdict.findings if verdict else ():
            versions = ((item.package.version, "unknown" if finding.undecided else "affected"),)
            yield Touched(finding, analysis(finding, verdict, approved), item.ref, versions)
    for change in approved.lock.changes:
        for item in here.get(change.after.purl, ()):
            yield from _resolved(change, item, approved)


def _resolved(change: Change, item: Item, approved: ApprovedSet) -> Iterator[Touched]:
    """Flaws of what was replaced that the replacement does not have."""
    before, after = (approved.verdicts.get(each.purl) for each in (change.before, change.after))
    left = {name for finding in (after.findings if after else ()) for name in _names(finding)}
    for finding in before.findings if before else ():
        if after is not None and not left & set(_names(finding)):
            detail = f"{change.before.purl} was replaced by {change.after.purl}: {change.reason}"
            versions = ((change.before.version, "affected"), (change.after.version, "unaffected"))
            yield Touched(finding, Analysis("resolved", ("update",), detail), item.ref, versions)  # 2


def analysis(finding: Finding, verdict: Verdict | None, approved: ApprovedSet) -> Analysis:
    """The numbers are those of the module's text."""
    waivers = (
        [] if verdict is None else [approved.waivers[id] for id in verdict.waivers if id in approved.waivers]
    )
    bearing = [waiver for waiver in waivers if covers(waiver, finding)]
    update = ("update",) if finding.fixed else ()
    if bearing:
        return Analysis("exploitable", ("will_not_fix", *update), "; ".join(map(_waived, bearing)))  # 3
    if finding.undecided:
        return Analysis("in_triage", (), f"whether it is affected is undecided: {finding.undecided}")  # 1
    if finding.severity == "UNKNOWN":
        return Analysis("in_triage", update, f"nobody gave it a severity; {_admitted(verdict)}")  # 1
    if not finding.fixed:
        return Analysis("exploitable", ("can_not_fix",), f"there is no fix yet; {_admitted(verdict)}")  # 4
    return Analysis("exploitable", update, f"{_admitted(verdict)}; fixed in {_fixed(finding)}")  # 5


def covers(waiver: Waiver, finding: Finding) -> bool:
    """Whether a waiver that a verdict leans on is about this flaw."""
    return not waiver.advisory or waiver.advisory.upper() in {name.upper() for name in _names(finding)}


def _waived(waiver: Waiver) -> str:
    until = f"{waiver.expires}{' or until there is a fix' if waiver.until_fixed else ''}"
    return f"{waiver.id}, approved by {waiver.approver} until {until}: {waiver.reason}"


def _admitted(verdict: Verdict | None) -> str:
    if verdict is None:
        return "it has no verdict of its own"
    return "the policy bears it" if verdict.decision == "allow" else f"{verdict.decision}: {verdict.reason}"


def _fixed(finding: Finding) -> str:
    return " or ".join(finding.fixed[:3])


def _names(finding: Finding) -> tuple[str, ...]:
    return finding.id, *finding.aliases


# --- writing it down ---


def _order(vulnerability: Json) -> tuple[str, str]:
    return vulnerability["id"], vulnerability["bom-ref"]


def _vulnerability(group: Sequence[Touched], link: str) -> Json:
    finding, said = group[0].finding, group[0].analysis
    affected = {each.ref: each.versions for each in group}
    made: Json = {
        "bom-ref": f"{text(finding.id, 200)}#{sha256(canonical([sorted(affected), said.document()]))[7:19]}",
        "id": text(finding.id, 200),
        "source": _source(finding.id),
        "references": [
            {"id": text(name, 200), "source": _source(name)} for name in finding.aliases[:_ALIASES]
        ],
        "ratings": _ratings(finding),
        "description": text(finding.summary),
        "affects": [
            {
                "ref": f"{link}#{quote(ref, safe='')}",
                "versions": [
                    {"version": text(version, 300), "status": status} for version, status in versions
                ],
            }
            for ref, versions in sorted(affected.items())
        ],
        "analysis": said.document(),
        "properties": properties(
            ("malicious", finding.malicious),
            ("exploited-in-the-wild", finding.exploited),
            ("fixed-in", finding.fixed[:20]),
        ),
    }
    if finding.fixed:
        made["recommendation"] = text(f"Update to {_fixed(finding)}.", 400)
    return made


def _ratings(finding: Finding) -> list[Json]:
    """No method is named: the score is the highest of several advisories, by whichever CVSS each of them used."""
    rating: Json = {"severity": finding.severity.lower()}
    made = [rating | ({"score": finding.score} if finding.score is not None else {})]
    if finding.exploit_probability is not None:
        made.append({"source": _EPSS, "score": finding.exploit_probability, "method": "other"})
    return made


def _source(id: str) -> Json:
    name, url = _SOURCES.get(id.split("-")[0], _OSV)
    return {"name": name, "url": url.format(quote(id[:200], safe=""))}


def states(vulnerabilities: Iterable[Json]) -> dict[str, int]:
    """How many of each state: for people."""
    counted: dict[str, int] = {}
    for each in vulnerabilities:
        state = str(each["analysis"]["state"])
        counted[state] = counted.get(state, 0) + 1
    return dict(sorted(counted.items()))
