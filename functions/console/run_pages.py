"""The pages about one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from functions.console import chain, changes, letters, traces, words
from functions.console.ahead import ahead
from functions.console.asked import Asked, BadQuestion, NotHere, cursor
from functions.console.chain import Chain
from functions.console.packages import (
    DECISIONS,
    ECOSYSTEMS,
    SORTS,
    Row,
    Shelf,
    Wanted,
    chosen,
    document_name,
)
from functions.console.run_base import Run, read
from functions.console.words import listed, number, part
from shared.errors import Permanent
from shared.model.value import printable
from shared.readings import Readings

PAGE = 50
"""Rows of packages on one page."""
REFUSED = 50
"""Refused packages that the run's first page shows with every rule."""
CHANGES = 20
"""Rows of the lock's difference that it shows."""
LOG = 200
"""Decisions that the page of events shows."""


def overview(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    run = read(readings, shelf, asked)
    told = {
        "handled": ahead(lambda: readings.count("spans", {"run_id": run.id, "outcome": "done"})),
        "given_back": ahead(lambda: readings.count("spans", {"run_id": run.id, "outcome": "retried"})),
        "duplicates": ahead(lambda: readings.total("spans", {"run_id": run.id}, "duplicates")),
        "dead": ahead(lambda: readings.count("dead_letters", {"run_id": run.id})),
    }
    refused = ahead(lambda: _refused(readings, shelf, run))
    found, total = changes.noted(run)
    return {
        **_shown(readings, run, asked.now),
        "refused": refused(),
        "more_refused": max(0, _count(run, "hold") + _count(run, "block") - REFUSED),
        "changes": found[:CHANGES],
        "change_total": total,
        "told": {name: count() for name, count in told.items()},
        "waivers": [each for each in listed(run.fields, "waivers") if isinstance(each, Mapping)],
        "affected": [
            each
            for each in part(run.fields, "affected").values()
            if isinstance(each, Mapping) and not each.get("over")
        ],
        "cost": part(run.fields, "cost"),
        "tried": chain.tried(run.fields),
    }


def live(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """The part of the page that changes while the run goes on."""
    return _shown(readings, read(readings, shelf, asked), asked.now)


def packages(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    run = read(readings, shelf, asked)
    wanted = Wanted(
        words=asked.text("q"),
        decision=asked.choice("decision", ("", *DECISIONS)),
        ecosystem=asked.choice("ecosystem", ("", *ECOSYSTEMS)),
        sort=asked.choice("sort", SORTS),
        down=asked.choice("order", ("up", "down")) == "down",
    )
    found = chosen(run.rows, wanted) if run.rows else ()
    last = max(1, -(-len(found) // PAGE))
    number_ = min(asked.page(), last)
    return {
        "run": run,
        "wanted": wanted,
        "rows": found[(number_ - 1) * PAGE : number_ * PAGE],
        "found": len(found),
        "total": len(run.rows.rows) if run.rows else 0,
        "first": (number_ - 1) * PAGE + 1 if found else 0,
        "page": number_,
        "last": last,
        "decisions": DECISIONS,
        "ecosystems": [name for name in ECOSYSTEMS if not run.rows or run.rows.ecosystems.get(name)],
        "sorts": SORTS,
    }


def package(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    run, purl = read(readings, shelf, asked), asked.text("purl", 2000)
    if not purl:
        raise BadQuestion("The parameter purl is missing: it names the package to show.")
    document = readings.get("verdicts", document_name(run.id, purl))
    if document is None or document.get("run_id") != run.id:
        raise NotHere(f"The run {printable(run.id, 80)} has no verdict about {printable(purl, 300)}.")
    changed, _ = changes.rows(readings, shelf, run)
    return {"run": run, "purl": purl, "card": _card(purl, document, changed)}


def events(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """In the order of time, page by page."""
    run, after = read(readings, shelf, asked), asked.after()
    spans = ahead(
        lambda: readings.within("spans", "run_id", run.id, "started", traces.AT_ONCE + 1, after, down=False)
    )
    log = ahead(
        lambda: readings.among(
            "decisions", "run_id", [run.id], LOG, only=("kind", "subject", "reason", "actor", "at", "cause")
        )
    )
    dead = ahead(lambda: letters.of_run(readings, run.id))
    more = len(spans()) > traces.AT_ONCE
    shown = spans()[: traces.AT_ONCE]
    found = traces.steps((each for _, each in shown), run.ended and not more, asked.now)
    return {
        "run": run,
        "steps": found,
        "events": traces.events(found),
        "letters": dead(),
        "later": cursor(shown[-1][1]["started"], shown[-1][0]) if more else "",
        "first": after is None,
        "log": sorted((each for _, each in log()), key=lambda each: str(each.get("at", ""))),
        "log_cut": len(log()) == LOG,
    }


def inner(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    run = read(readings, shelf, asked)
    workers = part(part(run.fields, "inner"), "workers")
    return {
        "run": run,
        "inner": part(run.fields, "inner"),
        "probes": [
            each for each in listed(part(run.fields, "inner"), "egress_probes") if isinstance(each, Mapping)
        ],
        "workers": sorted(workers.items(), key=lambda item: (len(item[0]), item[0])),
        "tail": str(part(run.fields, "inner").get("console") or run.fields.get("tail") or "").splitlines()[
            -200:
        ],
        "smoke": part(part(run.fields, "inner"), "smoke"),
    }


def attestation(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    run = read(readings, shelf, asked)
    answers = []
    for service, answer in sorted(part(run.fields, "attestation").items()):
        if not isinstance(answer, Mapping):
            continue
        checks, lacking = _checks(readings, answer)
        answers.append({"service": service, "answer": answer, "checks": checks, "lacking": lacking})
    return {"run": run, "answers": answers}


def _checks(readings: Readings, answer: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str]:
    """Every check of one appraisal, the failed ones first, each with its number."""
    try:
        found = orjson.loads(readings.content(str(answer["result"])))["checks"]
    except (Permanent, KeyError, TypeError, orjson.JSONDecodeError) as error:
        return [], str(error) if isinstance(error, Permanent) else "The stored result is of another form."
    return sorted(
        found, key=lambda each: (each.get("answer") == "passed", number(each.get("number")) or 0)
    ), ""


def _shown(readings: Readings, run: Run, now: float) -> Mapping[str, Any]:
    """What the page and its living part have in common."""
    synced = None
    if part(run.fields, "stages").get("sync"):
        syncs = readings.among("syncs", "run_id", [run.id], 10)
        progress = readings.get("progress", f"{run.id}-sync") if not run.ended else None
        synced = chain.synced(run.fields, syncs, progress)
    verdicts = dict(run.rows.counts) if run.rows else {}
    picture: Chain = chain.chain(run.fields, synced, verdicts, now)
    requested = number(run.fields.get("requested"))
    return {
        "run": run,
        "chain": picture,
        "synced": synced,
        "verdicts": verdicts,
        "age": now - requested if requested is not None else None,
        "data_age": _data_age(run, requested),
    }


def _data_age(run: Run, requested: float | None) -> float | None:
    date = words.unix(part(run.fields, "advisories").get("date"))
    return requested - date if requested is not None and date is not None else None


def _count(run: Run, decision: str) -> int:
    return run.rows.counts.get(decision, 0) if run.rows else 0


def _refused(readings: Readings, shelf: Shelf, run: Run) -> list[Mapping[str, Any]]:
    """The refused packages, the worst first, with every rule."""
    rows = [row for row in run.rows.rows if row.decision != "allow"][:REFUSED] if run.rows else []
    ids = {document_name(run.id, row.purl): row for row in rows}
    documents = readings.several("verdicts", list(ids))
    changed, _ = changes.rows(readings, shelf, run)
    return [_card(row.purl, documents.get(id), changed, row) for id, row in ids.items()]


def _card(
    purl: str, document: Mapping[str, Any] | None, changed: changes.Rows, row: Row | None = None
) -> Mapping[str, Any]:
    """One package with its rules, what is known of it, and what took its place."""
    verdict = part(document, "verdict")
    package = part(verdict, "package")
    rules = [each for each in listed(verdict, "rules") if isinstance(each, Mapping)]
    name, version = (
        package.get("name", row.name if row else ""),
        package.get("version", row.version if row else ""),
    )
    return {
        "purl": purl,
        "name": name,
        "version": version,
        "ecosystem": package.get("ecosystem", ""),
        "decision": verdict.get("decision", row.decision if row else ""),
        "until": verdict.get("until", ""),
        "against": [rule for rule in rules if rule.get("answer") != "allow"],
        "for": [rule for rule in rules if rule.get("answer") == "allow"],
        "findings": sorted(
            (each for each in listed(verdict, "findings") if isinstance(each, Mapping)),
            key=lambda each: -(number(each.get("score")) or 0.0),
        ),
        "needed_by": [str(each) for each in listed(verdict, "needed_by")],
        "waivers": [str(each) for each in listed(verdict, "waivers")],
        "replacement": _replacement(name, version, changed),
    }


def _replacement(name: object, version: object, changed: changes.Rows) -> Mapping[str, Any] | None:
    """The row of the lock's difference that speaks of it."""
    for each in changed:
        if name in listed(each, "names") and each.get("from") == version:
            return each
    return None
