"""What the lock of a run changes, row by row: the run's document holds a hundred rows, the stored lock all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from functions.console.asked import Asked
from functions.console.packages import Shelf
from functions.console.run_base import Run, read
from functions.console.words import listed, number, part
from shared.errors import Permanent
from shared.locking import difference
from shared.model.lock import Change
from shared.readings import Readings

AT_ONCE = 50
_CUT = 20
"""Names of one row that a run's document holds (`shared.locking.difference`)."""

Rows = Sequence[Mapping[str, Any]]


def page(readings: Readings, shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    run = read(readings, shelf, asked)
    every, lacking = rows(readings, shelf, run)
    words, kind = asked.text("q"), asked.choice("kind", ("", *difference.TITLES))
    found = [each for each in every if (not kind or each.get("kind") == kind) and _says(each, words)]
    last = max(1, -(-len(found) // AT_ONCE))
    number_ = min(asked.page(), last)
    counts = Counter(str(each.get("kind", "")) for each in every)
    return {
        "run": run,
        "words": words,
        "kind": kind,
        "kinds": {name: title for name, title in difference.TITLES.items() if counts[name]},
        "rows": found[(number_ - 1) * AT_ONCE : number_ * AT_ONCE],
        "found": len(found),
        "total": len(every),
        "lacking": lacking,
        "page": number_,
        "last": last,
    }


def noted(run: Run) -> tuple[Rows, int]:
    """What the run's document has of them, and how many there are."""
    changes = part(run.fields, "changes")
    found = [each for each in listed(changes, "rows") if isinstance(each, Mapping)]
    return found, max(len(found), int(number(changes.get("total")) or 0))


def whole(run: Run) -> bool:
    """Whether the run's document has them all, and each with all its names."""
    found, total = noted(run)
    return total == len(found) and all(len(listed(each, "names")) < _CUT for each in found)


def rows(readings: Readings, shelf: Shelf, run: Run) -> tuple[Rows, str]:
    """All of them; or those of the run's document, and why there are no more."""
    found, _ = noted(run)
    digest = str(run.fields.get("lock") or "")
    if not digest or whole(run):
        return found, ""
    try:
        return shelf.kept("changes", digest, lambda: _read(readings.content(digest), digest)), ""
    except Permanent as error:
        return found, str(error)


def _read(content: bytes, digest: str) -> Rows:
    try:
        changes = [
            Change.model_validate_json(orjson.dumps(each)) for each in orjson.loads(content)["changes"]
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise Permanent(f"The stored lock {digest} is of another form than this console reads.") from error
    return [row.document() for row in difference.rows(changes)]


def _says(row: Mapping[str, Any], words: str) -> bool:
    texts = (*listed(row, "names"), *listed(row, "advisories"), *listed(row, "required_by"))
    said = " ".join(map(str, (*texts, row.get("from", ""), row.get("to", ""), row.get("reason", "")))).lower()
    return all(word in said for word in words.lower().split())
