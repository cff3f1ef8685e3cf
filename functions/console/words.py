"""Numbers and times as people read them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def number(value: Any) -> float | None:
    """A number out of a document; None if it is none, or none that can be counted with."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def part(document: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """A map out of a document; empty if there is none."""
    found = (document or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def listed(document: Mapping[str, Any] | None, name: str) -> list[Any]:
    """A list out of a document; empty if there is none."""
    found = (document or {}).get(name)
    return found if isinstance(found, list) else []


def duration(seconds: float | None) -> str:
    """`10.5 s`, `3 min 12 s`, `2 h 05 min`, `4 d 3 h`; empty for None."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def age(seconds: float | None) -> str:
    """One unit is enough: `12 s`, `3 min`, `2 h`, `4 d`."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    for limit, unit, name in ((90, 1, "s"), (90 * _MINUTE, _MINUTE, "min"), (2 * _DAY, _HOUR, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / _DAY:.0f} d"


def size(count: float | None) -> str:
    """Bytes, in decimal units."""
    if count is None:
        return ""
    for limit, unit, name in ((1e3, 1.0, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB"), (1e12, 1e9, "GB")):
        if count < limit:
            return f"{count / unit:.0f} {name}" if unit == 1.0 else f"{count / unit:.1f} {name}"
    return f"{count / 1e12:.1f} TB"


def moment(at: float | None) -> str:
    """`2026-11-22 10:12:03`, in UTC; empty for None and for what is no time."""
    return _utc(at, "%Y-%m-%d %H:%M:%S")


def machine_moment(at: float | None) -> str:
    """RFC 3339, for `<time datetime>`."""
    return _utc(at, "%Y-%m-%dT%H:%M:%SZ")


def unix(text: Any) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None if it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None


def short(digest: Any) -> str:
    """Enough of a digest to tell it from others: `8363c8605cbf`."""
    text = str(digest or "")
    kind, _, value = text.rpartition("sha256:")
    return f"{kind}{value[:12]}" if "sha256:" in text else text


def plural(count: float, one: str, many: str = "") -> str:
    return f"{count:,.0f} {one if count == 1 else many or one + 's'}".replace(",", "\u202f")


def grouped(count: float | None) -> str:
    """`10 000`, with a narrow space that breaks no line."""
    return "" if count is None else f"{count:,.0f}".replace(",", "\u202f")


def _utc(at: float | None, form: str) -> str:
    if at is None:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""
