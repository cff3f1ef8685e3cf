"""The packages of a run as rows, out of the stored verdicts. What was read once is kept: a digest names one content."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import orjson

from shared.errors import Permanent
from shared.model.package import Package
from shared.model.value import sha256

T = TypeVar("T")
_KEPT = 6
"""Runs whose rows are kept; ten thousand rows are some 5 MB."""
DECISIONS = ("block", "hold", "allow")
ECOSYSTEMS = ("pypi", "debian", "generic")
SORTS = ("decision", "name", "ecosystem", "severity", "findings")
_SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "NONE", "UNKNOWN", "")


class Row(NamedTuple):
    """One package that was judged."""

    purl: str
    name: str
    version: str
    ecosystem: str
    decision: str
    findings: int
    severity: str
    """The worst; empty without findings."""
    score: float | None
    reason: str
    needed_by: str
    sought: str
    """What a search looks into: purl and advisories, in small letters."""


@dataclass(frozen=True)
class Rows:
    """All packages of one verdict document, the refused first."""

    rows: tuple[Row, ...]
    counts: Mapping[str, int]
    """By decision."""
    ecosystems: Mapping[str, int]


@dataclass(frozen=True)
class Wanted:
    """Which rows are asked for."""

    words: str
    decision: str
    ecosystem: str
    sort: str
    down: bool


@dataclass
class Shelf:
    """What was made of stored contents, by what it is and their digest: the last ones asked for of each."""

    _made: dict[str, OrderedDict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, digest: str, content: Callable[[str], bytes]) -> Rows:
        """Of verdicts. Permanent if they are gone, or were changed."""
        return self.kept("packages", digest, lambda: rows(content(digest), digest))

    def kept(self, what: str, digest: str, make: Callable[[], T]) -> T:
        """Made once; whatever `make` raises is kept by nobody."""
        with self._lock:
            known: OrderedDict[str, T] = self._made.setdefault(what, OrderedDict())
            if digest in known:
                known.move_to_end(digest)
                return known[digest]
        made = make()
        with self._lock:
            known[digest] = made
            while len(known) > _KEPT:
                known.popitem(last=False)
        return made


def rows(content: bytes, digest: str) -> Rows:
    """Of stored verdicts (`shared.model.verdict.Verdicts`)."""
    try:
        found = [_row(each) for each in orjson.loads(content)["verdicts"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise Permanent(
            f"The stored verdicts {digest} are of another form than this console reads."
        ) from error
    found.sort(key=_KEYS["decision"])
    return Rows(
        rows=tuple(found),
        counts=Counter(row.decision for row in found),
        ecosystems=Counter(row.ecosystem for row in found),
    )


def chosen(found: Rows, wanted: Wanted) -> Sequence[Row]:
    """In the order that is wanted."""
    words = wanted.words.lower().split()
    kept = [
        row
        for row in found.rows
        if (not wanted.decision or row.decision == wanted.decision)
        and (not wanted.ecosystem or row.ecosystem == wanted.ecosystem)
        and all(word in row.sought for word in words)
    ]
    return sorted(kept, key=_KEYS[wanted.sort], reverse=wanted.down)


def document_name(run_id: str, purl: str) -> str:
    """The id of a verdict's document (`shared.judgement.documents`)."""
    return sha256(f"{run_id} {purl}".encode(errors="replace"))[7:39]


def _row(verdict: Mapping[str, Any]) -> Row:
    package, findings = verdict["package"], verdict["findings"]
    worst = min(findings, key=lambda each: _place(str(each["severity"])), default=None)
    scores = [each["score"] for each in findings if each["score"] is not None]
    ids = [name for each in findings for name in (each["id"], *each["aliases"])]
    purl = Package.model_construct(**package).purl
    return Row(
        purl=purl,
        name=package["name"],
        version=package["version"],
        ecosystem=package["ecosystem"],
        decision=verdict["decision"],
        findings=len(findings),
        severity=str(worst["severity"]) if worst else "",
        score=max(scores, default=None),
        reason=_reason(verdict),
        needed_by=" → ".join(verdict["needed_by"]),
        sought=" ".join((package["name"], purl, *ids)).lower(),
    )


def _reason(verdict: Mapping[str, Any]) -> str:
    """As `shared.model.verdict.Verdict.reason` has it, without what a page shows beside it."""
    if verdict["decision"] == "allow":
        waivers = verdict["waivers"]
        return (
            f"{' and '.join(waivers)} overrule what does not allow it" if waivers else "every rule allows it"
        )
    return "; ".join(rule["reason"] for rule in verdict["rules"] if rule["answer"] == verdict["decision"])


def _place(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _decision(row: Row) -> int:
    return DECISIONS.index(row.decision) if row.decision in DECISIONS else -1


_KEYS: Mapping[str, Callable[[Row], Any]] = {
    "decision": lambda row: (
        _decision(row),
        _place(row.severity),
        -(row.score or 0.0),
        row.name,
        row.version,
    ),
    "name": lambda row: (row.name, row.version),
    "ecosystem": lambda row: (row.ecosystem, row.name, row.version),
    "severity": lambda row: (_place(row.severity), -(row.score or 0.0), row.name),
    "findings": lambda row: (-row.findings, row.name),
}
