"""JSON (RFC 8259) as two readers cannot disagree about it.

Refused: all but UTF-8 without BOM; anything before or behind the value; a key that stands twice in one object; NaN
and Infinity; numbers that a double cannot hold exactly; lone surrogates; more than MAX_DEPTH levels; anything but an
object at the top.

A text that is byte for byte what orjson writes for the value that it reads cannot have most of these, so it is taken at
once; every other one is read slowly, with each rule at its place. Real tokens are of the first kind.
"""

from __future__ import annotations

import json
from json.decoder import JSONDecodeError
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 254
"""What orjson writes at most. A real token has five levels."""
_MAX_CONTAINERS = 1024
_MAX_DIGITS = 16
_MAX_INTEGER = 2**53 - 1
"""RFC 8259, section 6: beyond it implementations differ."""
_MAX_FRACTION = 1e16
_EXPONENT = orjson.dumps(1e300).strip(b"0123456789")[-1:]
"""What orjson writes into every number of _MAX_FRACTION and more: the + of 1e+300."""


class BadJson(ValueError):
    """What is wrong, as the end of a sentence that begins with the name of the text."""


def parse(data: bytes) -> dict[str, Any]:
    """The object in `data`; BadJson with what is wrong."""
    found = at_once(data)
    return slowly(data) if found is None else found


def at_once(data: bytes) -> dict[str, Any] | None:
    """The object in `data` if it stands there in orjson's own spelling, else None.

    Equal bytes leave no room for a double key, blanks, something behind the end, another encoding or an escape; large
    numbers and deep nesting are left to the slow way by what orjson writes of them.
    """
    if data[:1] != b"{" or _EXPONENT in data:
        return None
    try:
        value: dict[str, Any] = orjson.loads(data)
        same = orjson.dumps(value, None, orjson.OPT_STRICT_INTEGER) == data
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return value if same else None


def slowly(data: bytes) -> dict[str, Any]:
    """The object in `data`; BadJson with what is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson("is not UTF-8") from error
    containers = text.count("{") + text.count("[")
    if containers > _MAX_CONTAINERS:
        raise BadJson(f"has more than {_MAX_CONTAINERS} brackets")
    if text[:1] != "{":
        raise BadJson("does not begin with an object")
    try:
        value, end = _DECODER.raw_decode(text)
    except JSONDecodeError as error:
        raise BadJson(f"is not JSON ({error.msg.lower()}, at character {error.pos})") from error
    except RecursionError as error:
        raise BadJson("is nested too deeply") from error
    if end != len(text):
        raise BadJson("has something behind its end")
    if containers > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise BadJson(f"is nested in more than {MAX_DEPTH} levels")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadJson("has half a character (a lone surrogate)") from error
    return value  # type: ignore[no-any-return]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("has a key twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS + 1 or not -_MAX_INTEGER <= (value := int(digits)) <= _MAX_INTEGER:
        raise BadJson("has a number that is too large to be read the same everywhere")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if len(text) > 2 * _MAX_DIGITS or not -_MAX_FRACTION < value < _MAX_FRACTION:
        raise BadJson("has a number that is too large to be read the same everywhere")
    return value


def _constant(name: str) -> NoReturn:
    raise BadJson(f"has {name}, which is no number in JSON")


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper(each, levels - 1) for each in value)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
