"""What the code writes to the database and asks of it, read from the source.

A collection, or a field that is asked by, must be a literal where it is used: what cannot be read here is a mistake.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.terraform.harness import CHECKOUT

_WRITES = {"Put": 3, "Create": 3, "Increment": 4, "AtLeast": 4}
"""Constructors of `shared.ports.Write`, with the least number of their arguments."""
_NAMED = {"put_many": 0, "_first": 1}
"""Calls that write to the collection at this place of their arguments."""
_STORES = ("store", "documents", "self")
"""What a store is called where it is asked."""
_ASKS = (
    "where",
    "order_by",
    "order_by_key",
    "start_at",
    "start_after",
    "end_at",
    "end_before",
    "limit_to_last",
)


@dataclass(frozen=True, order=True)
class Query:
    """A question to one collection: by which fields it filters and sorts, and where it stands."""

    collection: str
    fields: tuple[str, ...]
    place: str


def sources() -> Iterator[Path]:
    """Every file that may speak to the database; emulators and twins do not."""
    for folder in ("functions", "shared"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            if not path.is_relative_to(CHECKOUT / "shared" / "emulators"):
                yield path


def collections() -> dict[str, str]:
    """Collection to a place that writes to it."""
    return {name: place for path in sources() for name, place in written(path.read_text(), _short(path))}


def written(source: str, place: str) -> Iterator[tuple[str, str]]:
    for call in _calls(source):
        name = _name(call)
        if len(call.args) >= _WRITES.get(name, 99):
            at: int | None = 0
        elif name == "collection" and place.startswith("shared/gcp/"):
            at = 0
        else:
            at = _NAMED.get(name)
        if at is None or len(call.args) <= at:
            continue
        for found in _literals(call.args[at]):
            yield found, f"{place}:{call.lineno}"


def queries() -> list[Query]:
    """Every question of the code: `Store.find`, and what an adapter asks of Firestore itself."""
    return sorted({one for path in sources() for one in asked(path.read_text(), _short(path))})


def asked(source: str, place: str) -> Iterator[Query]:
    for call in _calls(source):
        where = f"{place}:{call.lineno}"
        if _name(call) in ("within", "total") and _receiver(call) == "readings":
            yield _together(call, where)
        if _name(call) == "find" and len(call.args) == 3 and _receiver(call) in _STORES:
            for collection in _literals(call.args[0]) or ["?"]:
                by = [_literal(each.value) or "?" for each in call.keywords if each.arg == "by"]
                yield Query(collection, tuple(sorted((_literal(call.args[1]) or "?", *by))), where)
    if place.startswith("shared/gcp/"):
        yield from _chains(ast.parse(source), place)


def _together(call: ast.Call, where: str) -> Query:
    """What the console asks by several fields: `within(C, F, value, G, …, down=…)`, `total(C, {F: …}, G)`."""
    collection = _literal(call.args[0]) or "?"
    if _name(call) == "total":
        names = [key for key in getattr(call.args[1], "keys", ()) if key is not None]
        return Query(collection, tuple(_literal(each) or "?" for each in (*names, call.args[2])), where)
    down = next((each.value for each in call.keywords if each.arg == "down"), None)
    way = {True: " DESCENDING", False: " ASCENDING"}.get(getattr(down, "value", None), "?")
    return Query(collection, (_literal(call.args[1]) or "?", f"{_literal(call.args[3]) or '?'}{way}"), where)


def _chains(tree: ast.AST, place: str) -> Iterator[Query]:
    """`db.collection(C).where(filter=FieldFilter(F, …)).order_by(G)`: one question for each whole chain."""
    inner = {
        id(call.func.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _ASKS
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or _name(call) not in _ASKS or id(call) in inner:
            continue
        fields: list[str] = []
        link: ast.expr = call
        collection = "?"
        while isinstance(link, ast.Call) and isinstance(link.func, ast.Attribute):
            if link.func.attr in _ASKS:
                fields.append(_field(link))
            if link.func.attr in ("collection", "collection_group") and link.args:
                collection = _literal(link.args[0]) or "*"
            link = link.func.value
        yield Query(collection, tuple(sorted(set(fields))), f"{place}:{call.lineno}")


def _field(call: ast.Call) -> str:
    """The field that one link of a chain is about; `?` if it is no literal, `*` if the caller names it."""
    given = next(
        (each.value for each in call.keywords if each.arg == "filter"), call.args[0] if call.args else None
    )
    if isinstance(given, ast.Call) and given.args:
        given = given.args[0]
    if isinstance(given, ast.Name):
        return "*"
    return (_literal(given) if given is not None else None) or "?"


def _calls(source: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _receiver(call: ast.Call) -> str:
    """The last word before the call's own name."""
    value = call.func.value if isinstance(call.func, ast.Attribute) else None
    return value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _literals(node: ast.expr) -> list[str]:
    found = [_literal(node)]
    if isinstance(node, ast.IfExp):
        found = [_literal(node.body), _literal(node.orelse)]
    return [each for each in found if each]


def _short(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))
