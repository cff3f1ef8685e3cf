"""The base of every value: strict, frozen, parsed once at the edge, and with one canonical byte form."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema

from shared.errors import Permanent

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


_MANY = 1000


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
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
    def read(cls, data: bytes | str, what: str) -> Self:
        """Parse JSON (RFC 8259); `what` names the document in the one sentence that a failure gives.

        Refused, because two readers would not agree on them: a key that stands twice in one object, NaN and Infinity.
        """
        try:
            value = cls.model_validate_json(data)
        except ValidationError as error:
            raise Permanent(sentence(error, what)) from error
        try:
            json.loads(data, object_pairs_hook=_unique)
        except _Twice as error:
            raise Permanent(f"{what} has the key '{error}' twice in one object; give it once.") from error
        return value

    @classmethod
    def check(cls, data: Any, what: str) -> Self:
        """Validate an already parsed JSON-like object with the same strictness as `read`."""
        try:
            text = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Permanent(f"{what} holds something that JSON cannot: {error}.") from error
        except RecursionError as error:
            raise Permanent(f"{what} is nested too deeply.") from error
        return cls.read(text, what)

    def canonical(self) -> bytes:
        """Sorted keys, no white space, UTF-8: equal values give equal bytes."""
        return canonical(self.model_dump(mode="json"))


class Value(Part):
    """A value with a name of its own: its digest."""

    @property
    def digest(self) -> str:
        """sha256 over the canonical bytes."""
        return sha256(self.canonical())


class _Twice(Exception): ...


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = sorted(name for name, _ in pairs)
        raise _Twice(printable(next(a for a, b in pairwise(names) if a == b), 60))
    return found


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and without white space; numbers must be finite."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sentence(error: ValidationError, what: str) -> str:
    """The first mistake of a failed validation as one sentence, and how many more there are."""
    if error.error_count() > _MANY:  # naming one of them would mean making all of them
        return f"{what} is not valid: it has {error.error_count()} mistakes."
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the document itself"
    given = first.get("input")
    found = printable(reprlib.repr(given[:100] if isinstance(given, str | bytes) else given), 80)
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{what} is not valid at {printable(where, 120)}: {first['msg']}, found {found}{more}."


def printable(text: str, limit: int) -> str:
    """`text` without control or invisible characters, cut to `limit`: safe on a terminal and in a log line."""
    clean = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[: limit + 1])
    return clean if len(clean) <= limit else clean[:limit] + "…"
