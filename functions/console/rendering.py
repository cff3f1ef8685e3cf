"""Templates. Whatever is put into a page is escaped, and shown without invisible characters, in one place: here."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from functions.console import words
from shared.model.value import printable

_HERE = Path(__file__).parent
_LONGEST = 20_000
"""Characters of one value in a page."""
STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that come with the pages, with their media types."""


@functools.cache
def static(name: str) -> bytes:
    """One of `STATIC`."""
    return (_HERE / "static" / name).read_bytes()


@functools.cache
def address(name: str) -> str:
    """Where a file of `STATIC` is: another address as soon as it is another file, so it may be cached for ever."""
    return f"/assets/{name}?v={hashlib.sha256(static(name)).hexdigest()[:12]}"


def render(template: str, values: Mapping[str, Any]) -> str:
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "join": _joined,
        "length": lambda value: len(value) if isinstance(value, Mapping | list | tuple | str) else 0,
        "lower": lambda value: value.lower() if isinstance(value, str) else "",
        "maps": lambda value: [each for each in _rows(value) if isinstance(each, Mapping)],
        "part": lambda value: value if isinstance(value, Mapping) else {},
        "rows": _rows,
        "score": lambda value: "" if words.number(value) is None else f"{words.number(value):.1f}",
        "truncate": _cut,
        "age": lambda value: words.age(words.number(value)),
        "duration": lambda value: words.duration(words.number(value)),
        "grouped": lambda value: words.grouped(words.number(value)),
        "machine_moment": lambda value: words.machine_moment(words.number(value)),
        "moment": lambda value: words.moment(words.number(value)),
        "number": words.number,
        "plural": lambda value, one: words.plural(words.number(value) or 0, one),
        "segment": lambda text: quote(str(text), safe=""),
        "short": words.short,
        "size": lambda value: words.size(words.number(value)),
        "unix": words.unix,
    }
    made.globals |= {"static": address, "query": _query}
    return made


# What a document holds may be of any form: what makes no sense is shown as nothing, and takes no page with it.


def _joined(value: Any, between: str = "") -> str:
    return between.join(map(str, value)) if isinstance(value, list | tuple) else ""


def _rows(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _cut(value: Any, limit: int) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _shown(value: Any) -> Any:
    """The last thing that happens to a value before it is escaped: no control or invisible character leaves here."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        # A narrow space groups digits (words.grouped); str.isprintable knows no space but the plain one.
        return "\u202f".join(printable(piece, _LONGEST) for piece in value.split("\u202f"))
    return value


def _query(**parameters: object) -> str:
    """`?a=b&c=d` of those that are not empty; empty if none is."""
    given = {name: str(value) for name, value in parameters.items() if value not in ("", None)}
    return f"?{urlencode(given)}" if given else ""
