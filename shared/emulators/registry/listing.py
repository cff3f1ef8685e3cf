"""Filters, order and pages of the list methods.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.files/list:
pages of at most 1,000; filters `name="…"` and `owner="…"`, without regard to case, `*` for any
characters. A filter or order that is not known is answered 400, upon which gcloud filters by itself.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.emulators.registry.names import unescape
from shared.emulators.registry.problems import Problem

_DEFAULT_PAGE = 100
_LONGEST_PAGE = 1000
_TERM = re.compile(r'\s*(name|owner)\s*=\s*"([^"]*)"\s*')


def page(
    items: Sequence[dict[str, Any]], query: Mapping[str, str], kind: str, fields: set[str]
) -> dict[str, Any]:
    """The page of `items` (ordered by name) that `query` asks for, as the answer's JSON under the key `kind`."""
    if query.get("orderBy", "name") not in {"name", "name asc"}:
        raise Problem(400, f"Ordering by {query['orderBy']!r} is not supported.")
    chosen = _filter(query.get("filter", ""), fields)
    start = _token(query.get("pageToken", ""))
    size = _size(query.get("pageSize", ""))
    rest = (
        [item for item in items if item["name"] > start and chosen(item)]
        if start
        else list(filter(chosen, items))
    )
    answer: dict[str, Any] = {kind: rest[:size]} if rest else {}
    if len(rest) > size:
        answer["nextPageToken"] = base64.urlsafe_b64encode(rest[size - 1]["name"].encode()).decode()
    return answer


def _size(text: str) -> int:
    try:
        size = int(text or 0)
    except ValueError as error:
        raise Problem(400, f"Invalid value at 'page_size': {text!r}.") from error
    if size < 0:
        raise Problem(400, "page_size must not be negative.")
    return min(size or _DEFAULT_PAGE, _LONGEST_PAGE)


def _token(text: str) -> str:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Problem(400, "The page token is invalid.") from error


def _filter(text: str, fields: set[str]) -> Callable[[dict[str, Any]], bool]:
    if not text.strip():
        return lambda _: True
    match = _TERM.fullmatch(text)
    if not match or match[1] not in fields:
        raise Problem(
            400, f'The filter {text[:200]!r} is not supported; use one of {", ".join(sorted(fields))} = "…".'
        )
    field = match[1]
    wanted = ".*".join(re.escape(part) for part in unescape(match[2]).split("*"))
    # A package owns what its versions own.
    suffix = "(/versions/[^/]+)?" if field == "owner" else ""
    pattern = re.compile(wanted + suffix, re.IGNORECASE | re.DOTALL)
    return lambda item: bool(pattern.fullmatch(unescape(item[field])))
