"""The base of every value: strict, frozen, parsed once at the edge, and with one canonical byte form."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from shared.errors import Permanent

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


_MANY = 1000
_NAMED = 5
Place = Callable[[Sequence[int | str]], str]
"""Where in the user's file a field stands, to be written behind its name: ` (line 7)`."""


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _digest(text: str) -> str:
    if not is_digest(text):
        raise ValueError("a digest is 'sha256:' and 64 lower-case hexadecimal digits")
    return text


Digest = Annotated[
    str, AfterValidator(_digest), WithJsonSchema({"type": "string", "pattern": f"^{_DIGEST.pattern}$"})
]
"""`sha256:` and 64 lower-case hexadecimal digits (OCI image spec, descriptor.md#digests)."""


class Part(BaseModel):
    """A value that nothing changes after it was checked, and that never stands alone."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def read(cls, data: bytes | str, what: str, place: Place = lambda _: "") -> Self:
        """Parse JSON (RFC 8259); `what` names the document in the one sentence that a failure gives.

        Refused, because two readers would not agree on them: a key that stands twice in one object, NaN and Infinity.
        """
        try:
            value = cls.model_validate_json(data)
        except ValidationError as error:
            raise Permanent(sentence(error, what, place)) from error
        try:
            json.loads(data, object_pairs_hook=_forgotten)
        except _Twice as error:
            raise Permanent(f"{what} has the key '{error}' twice in one object; give it once.") from error
        return value

    @classmethod
    def check(cls, data: Any, what: str, place: Place = lambda _: "") -> Self:
        """Validate an already parsed JSON-like object with the same strictness as `read`."""
        try:
            text = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Permanent(f"{what} holds something that JSON cannot: {error}.") from error
        except RecursionError as error:
            raise Permanent(f"{what} is nested too deeply.") from error
        return cls.read(text, what, place)

    def canonical(self) -> bytes:
        """Sorted keys, no white space, UTF-8: equal values give equal bytes."""
        return canonical(self.model_dump(mode="json"))


class Value(Part):
    """A value with a name of its own: its digest."""

    @property
    def digest(self) -> str:
        """sha256 over the canonical bytes."""
        return sha256(self.canonical())


class _Twice(ValueError): ...


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json.loads: an object whose keys stand there once each."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = sorted(name for name, _ in pairs)
        raise _Twice(printable(next(a for a, b in pairwise(names) if a == b), 60))
    return found


def _forgotten(pairs: list[tuple[str, Any]]) -> None:
    """As `unique`, for whoever wants the check alone: a large document is not built a second time beside the value."""
    unique(pairs)


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and without white space; numbers must be finite."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sentence(error: ValidationError, what: str, place: Place = lambda _: "") -> str:
    """The mistakes of a failed validation as one sentence: what is missing, else the first, and where others are."""
    if error.error_count() > _MANY:  # naming one of them would mean making all of them
        return f"{what} is not valid: it has {error.error_count()} mistakes."
    mistakes = error.errors(include_url=False, include_context=False)
    missing = [each for each in mistakes if each["type"] == "missing"]
    if missing:
        first, *others = (where(each) for each in missing)
        also = f" (and {_few(others)})" if others else ""
        text = f"{what} is not valid: the field {first} is missing{also}"
        left = [each for each in mistakes if each["type"] != "missing"]
    else:
        text = f"{what} is not valid at {where(mistakes[0])}{place(mistakes[0]['loc'])}: {said(mistakes[0])}"
        left = mistakes[1:]
    more = f"; {len(left)} more to correct: {_few([where(each) for each in left])}" if left else ""
    return f"{text}{more}."


def where(mistake: ErrorDetails) -> str:
    return printable(".".join(str(part) for part in mistake["loc"]) or "the document itself", 120)


def _few(names: list[str]) -> str:
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:_NAMED]) + (" and others" if len(shown) > _NAMED else "")


def said(mistake: ErrorDetails) -> str:
    """Pydantic's words where they say it to somebody who does not know pydantic, else ours."""
    given = mistake["input"]
    match mistake["type"]:
        case "extra_forbidden":
            return "there is no such field; remove it, or correct its name"
        case "value_error":
            said = mistake["msg"].removeprefix("Value error, ")
        case _:
            said = mistake["msg"]
    match given:
        case dict() | list() | tuple():
            found = "a mapping" if isinstance(given, dict) else "a list"
        case None:
            found = "nothing"
        case _:
            found = printable(reprlib.repr(given[:100] if isinstance(given, str | bytes) else given), 80)
    return f"{said}, found {found}"


def printable(text: str, limit: int) -> str:
    """`text` without control or invisible characters, cut to `limit`: safe on a terminal and in a log line."""
    clean = text[: limit + 1]
    if not clean.isprintable():
        clean = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in clean)
    return clean if len(clean) <= limit else clean[:limit] + "…"
