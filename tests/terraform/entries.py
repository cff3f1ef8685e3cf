"""Cloud Logging's filters, as far as our metrics use them, held against a line as a stage writes it.

https://cloud.google.com/logging/docs/view/logging-query-language. Cloud Run makes `jsonPayload` of a line that is a
JSON object, and takes `severity` out of it (https://cloud.google.com/run/docs/logging#using-json).
"""

from __future__ import annotations

import json
import re
from typing import Any

_TERM = re.compile(
    r"""(?P<path>[a-zA-Z_.]+)\s*(?P<sign>=|:)\s*(?P<value>\([^()]*\)|"[^"]*"|\*|[A-Za-z0-9]+)"""
)


def entry(line: str, service: str) -> dict[str, Any]:
    """The log entry that Cloud Run makes of a line which the service `service` writes to its standard error."""
    payload = json.loads(line)
    severity = payload.pop("severity", "DEFAULT")
    resource = {"type": "cloud_run_revision", "labels": {"service_name": service}}
    return {"severity": severity, "resource": resource, "jsonPayload": payload}


def fits(words: str, found: dict[str, Any]) -> bool:
    """Whether the filter takes the entry. ValueError for what this reader does not know."""
    terms = []
    for term in words.split(" AND ") if "(" not in words else _split(words):
        match = _TERM.fullmatch(term.strip())
        if not match:
            raise ValueError(f"the filter says {term}, which this reader does not know")
        terms.append(_holds(match["path"], match["sign"], match["value"], found))
    return all(terms)


def fields(words: str) -> set[str]:
    """The fields of jsonPayload that a filter asks for."""
    return set(re.findall(r"jsonPayload\.(\w+)", words))


def _split(words: str) -> list[str]:
    """At each AND outside of parentheses."""
    terms, depth, start = [], 0, 0
    for place, letter in enumerate(words):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if not depth and words.startswith(" AND ", place):
            terms.append(words[start:place])
            start = place + 5
    return [*terms, words[start:]]


def _holds(path: str, sign: str, value: str, found: dict[str, Any]) -> bool:
    given: Any = found
    for name in path.split("."):
        given = given.get(name) if isinstance(given, dict) else None
    if sign == ":" and value == "*":
        return given is not None
    if sign != "=":
        raise ValueError(f"the filter says {path}{sign}{value}, which this reader does not know")
    wanted = re.findall(r'"([^"]*)"|\b(true|false|[A-Z]+|[0-9]+)\b', re.sub(r"\bOR\b", "", value))
    return any(_same(given, quoted, bare) for quoted, bare in wanted)


def _same(given: Any, quoted: str, bare: str) -> bool:
    """A quoted value is a text; of what is bare, true and false are booleans."""
    if bare in ("true", "false"):
        return given is (bare == "true")
    return isinstance(given, str) and given == (quoted or bare)
