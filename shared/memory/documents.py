"""What Firestore holds, merges and finds, for the store in memory (https://cloud.google.com/firestore/docs/concepts/data-types)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import Permanent
from shared.ports.store import Document

_MAX_DOCUMENT = 1_048_576
"""Bytes (https://cloud.google.com/firestore/quotas#collections_documents_and_fields)."""
_ABSENT = object()


def stored(fields: Mapping[str, Any]) -> Document:
    """A copy as the store would give it back; Permanent for what it could not hold."""
    document: Document = _copy(fields)
    size = _size(document)
    if size > _MAX_DOCUMENT:
        raise Permanent(f"A document has {size} bytes; the store takes {_MAX_DOCUMENT} bytes at most.")
    return document


def merge(document: Document, fields: Mapping[str, Any]) -> Document:
    """Maps are merged field by field; everything else, an empty map too, replaces what was there."""
    merged = dict(document)
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            before = merged.get(key)
            merged[key] = merge(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def lookup(document: Document, path: str) -> Any:
    """The value at `a.b`; something that equals nothing if there is none."""
    value: Any = document
    for name in path.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def same(a: Any, b: Any) -> bool:
    """Equality with booleans apart from numbers."""
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _copy(value: Any, in_list: bool = False) -> Any:
    match value:
        case bool() | None | float() | str() | bytes():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case list() | tuple() if not in_list:
            return [_copy(item, True) for item in value]
        case Mapping() if all(isinstance(key, str) and key for key in value):
            return {key: _copy(item) for key, item in value.items()}
    raise Permanent(f"A document holds a value that the store cannot take: {type(value).__name__}.")


def _size(value: Any) -> int:
    """https://cloud.google.com/firestore/docs/storage-size"""
    match value:
        case str():
            return len(value.encode()) + 1
        case bytes():
            return len(value)
        case list():
            return sum(map(_size, value))
        case dict():
            return sum(_size(key) + _size(item) for key, item in value.items()) + 32
        case bool() | None:
            return 1
    return 8
