"""JSON (RFC 8259) as two readers cannot disagree about it.

Refused: all but UTF-8 without BOM; anything before or behind the value; a key that stands twice in one object; NaN
and Infinity; numbers that a double cannot hold exactly; lone surrogates; more than MAX_DEPTH levels; anything but an
object at the top.
"""

from __future__ import annotations

import json
from json.decoder import JSONDecodeError
from typing import Any, NoReturn

MAX_DEPTH = 12
"""A real token has five levels."""
_MAX_CONTAINERS = 1024
_MAX_DIGITS = 16
_MAX_INTEGER = 2**53
"""RFC 8259, section 6: beyond it implementations differ."""


class BadJson(ValueError):
    """What is wrong, as the end of a sentence that begins with the name of the text."""


def parse(data: bytes) -> dict[str, Any]:
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
    if len(text) > 2 * _MAX_DIGITS or not -_MAX_INTEGER <= value <= _MAX_INTEGER:
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
